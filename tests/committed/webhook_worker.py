"""A worker process for the test of crashes: `python -m tests.committed.webhook_worker URL` delivers to the loopback."""

import asyncio
import sys

from app.core.clock import SystemClock
from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Pace
from app.core.sealing import Keyring
from app.webhooks.jobs import register
from app.webhooks.sender import Sender
from app.worker import run_worker
from tests.factories.webhooks import LOOPBACK

KEYRING = Keyring({1: bytes(range(32))})
PACE = Pace(lease_seconds=1.5, heartbeat_seconds=0.3, poll_seconds=0.2, grace_seconds=5)


async def main(url: str) -> None:
    """Deliver until a signal comes."""
    database = Database(url)
    async with Sender(LOOPBACK) as sender:
        registry = Registry()
        register(registry, keyring=KEYRING, sender=sender)
        await run_worker(database, registry, clock=SystemClock(), pace=PACE)
    await database.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
