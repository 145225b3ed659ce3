"""Jobs a second through the real loop: in batches against one by one, in the same run.

    python -m benchmarks.jobs

Uses SENTINEL_DATABASE_URL's server, or an embedded PostgreSQL of its own. Prints one line per way of working and the
ratio. The handler does nothing, so what is measured is the kernel: claim, transaction, removal, commits to disk.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import asyncpg
import click
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import SystemClock
from app.core.database import Database
from app.core.embedded import running
from app.core.handlers import Job, Registry
from app.core.ids import new_id
from app.core.jobs import Kind, declare, enqueue, queue_states
from app.core.runner import Runner
from app.metadata import migrate

BATCH = 200
BATCHED_JOBS = 60_000
SINGLE_JOBS = 1_000
LEAST_RATIO = 20.0

TRIVIAL = declare("benchmark.measured")


async def nothing(session: AsyncSession, jobs: Sequence[Job], /, *, now: datetime) -> None:
    """Do nothing, successfully."""


async def work_off(database: Database, kind: Kind, count: int, batch: int) -> float:
    """Enqueue `count` jobs, run the loop until they are gone and return jobs per second, enqueueing not counted."""
    for first in range(0, count, 5_000):
        async with database.transaction() as session:
            await enqueue(session, kind, [{"id": number} for number in range(first, min(first + 5_000, count))])
    registry = Registry()
    registry.transactional(kind, nothing, batch=batch)
    runner = Runner(database, registry, clock=SystemClock())
    begin = time.perf_counter()
    loop = asyncio.create_task(runner.run())
    waiting = count
    while waiting:
        await asyncio.sleep(0.02)
        async with database.transaction() as session:
            (state,) = await queue_states(session, [kind.name])
        waiting = state.ready + state.running
    seconds = time.perf_counter() - begin
    runner.stop()
    await loop
    return count / seconds


async def measure(server_url: str) -> float:
    """Print both figures and return their ratio."""
    name = f"benchmark_{new_id().hex}"
    admin = await asyncpg.connect(server_url)
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    try:
        await migrate(url)
        database = Database(url)
        one_by_one = await work_off(database, TRIVIAL, SINGLE_JOBS, 1)
        batched = await work_off(database, TRIVIAL, BATCHED_JOBS, BATCH)
        await database.dispose()
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()
    click.echo(f"one by one      {one_by_one:10,.0f} jobs/s")
    click.echo(f"batches of {BATCH}  {batched:10,.0f} jobs/s")
    click.echo(f"ratio           {batched / one_by_one:10.1f} (at least {LEAST_RATIO:.0f})")
    return batched / one_by_one


def main() -> int:
    """Measure, and fail if the ratio is below what the kernel promises."""
    with ExitStack() as stack:
        url = os.environ.get("SENTINEL_DATABASE_URL")
        if not url:
            url = stack.enter_context(running(Path(stack.enter_context(tempfile.TemporaryDirectory())), erase=True))
        return 0 if asyncio.run(measure(url)) >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
