"""A worker process for the tests of crashes: `python -m tests.committed.job_worker URL`.

Its handler writes a row per job and dawdles, so that a signal hits it in the middle of its work.
"""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.core import jobs
from app.core.clock import SystemClock
from app.core.database import Database, driver
from app.core.handlers import Job, Registry
from app.core.jobs import Kind
from app.core.runner import Pace
from app.worker import run_worker

EFFECTED = Kind("tests.effected", max_attempts=10)
TICKED = Kind("tests.ticked")
PACE = Pace(lease_seconds=1.5, heartbeat_seconds=0.3, poll_seconds=0.2, grace_seconds=5)


async def effect(session: AsyncSession, batch: Sequence[Job], /, *, now: datetime) -> None:
    """Write one row per job, slowly; nothing but the kernel keeps a row from being written twice."""
    connection = await driver(session)
    await connection.execute(
        "INSERT INTO effects (job_id, worker) SELECT id, pg_backend_pid() FROM unnest($1::bigint[]) AS id",
        [job.id for job in batch],
    )
    await asyncio.sleep(0.02)


def registry() -> Registry:
    """Return the handlers of the crash tests."""
    made = Registry()
    made.transactional(EFFECTED, effect, batch=20, concurrency=2)
    made.transactional(TICKED, effect)
    made.every(1, "tests.every_second", TICKED)
    return made


async def main(url: str) -> None:
    """Work until a signal comes."""
    for kind in (EFFECTED, TICKED):
        jobs._declared[kind.name] = kind
    database = Database(url)
    await run_worker(database, registry(), clock=SystemClock(), pace=PACE)
    await database.dispose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
