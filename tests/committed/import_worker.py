"""A worker process for the test of crashes: `python -m tests.committed.import_worker URL` works on imports."""

import asyncio
import sys

from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Pace
from app.core.sealing import Keyring
from app.imports import jobs
from app.imports.importers import Importers
from app.registrations.imports import RegistrationImporter
from app.worker import run_worker
from tests.conftest import SettableClock

KEYRING = Keyring({1: bytes(range(32))})
PACE = Pace(lease_seconds=1.0, heartbeat_seconds=0.3, poll_seconds=0.2, grace_seconds=5)


async def main(url: str) -> None:
    """Work until a signal comes."""
    database = Database(url)
    registry = Registry()
    jobs.register(registry, keyring=KEYRING, importers=Importers(RegistrationImporter(KEYRING)))
    await run_worker(database, registry, clock=SettableClock(), pace=PACE)
    await database.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
