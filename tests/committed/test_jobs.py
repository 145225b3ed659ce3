"""Jobs with real commits: several workers, processes that are killed, a server that crashes, leases that are lost."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import jobs, leases
from app.core.clock import SystemClock
from app.core.cluster import Cluster
from app.core.database import Database
from app.core.embedded import running
from app.core.handlers import Context, Done, Job, Outcome, Registry, Retry
from app.core.jobs import Kind, enqueue
from app.core.runner import Pace, Runner
from app.core.schedule import Every, tick
from app.metadata import migrate
from tests.committed.job_worker import EFFECTED, PACE, TICKED, effect

POSTED = Kind("tests.posted", laned=True)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (EFFECTED, TICKED, POSTED):
        monkeypatch.setitem(jobs._declared, kind.name, kind)


@pytest.fixture
async def effects(committed: Database) -> Database:
    await scalar(committed, "CREATE TABLE effects (job_id bigint, worker integer)")
    return committed


async def scalar(database: Database, query: str) -> Any:
    async with database.transaction() as session:
        result = await session.execute(text(query))
        return result.scalar() if result.returns_rows else None


async def put(database: Database, count: int, kind: Kind = EFFECTED, **options: Any) -> list[int]:
    async with database.transaction() as session:
        return await enqueue(session, kind, [{"number": number} for number in range(count)], **options)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Wait for a condition; a database that is down does not fulfil it."""
    end = time.monotonic() + seconds
    while True:
        with suppress(DBAPIError, OSError):
            if await condition():
                return
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.05)


async def no_jobs(database: Database, kind: Kind = EFFECTED) -> bool:
    return bool(await scalar(database, f"SELECT NOT EXISTS (SELECT FROM jobs WHERE kind = '{kind.name}')"))


async def effects_of(database: Database, ids: Sequence[int]) -> Counter[int]:
    async with database.transaction() as session:
        rows = await session.execute(text("SELECT job_id FROM effects WHERE job_id = ANY(:ids)"), {"ids": list(ids)})
        return Counter(row[0] for row in rows)


@asynccontextmanager
async def working(database: Database, registry: Registry, pace: Pace = PACE) -> AsyncIterator[Runner]:
    runner = Runner(database, registry, clock=SystemClock(), pace=pace)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        runner.stop()
        await task


def effecting(**options: Any) -> Registry:
    registry = Registry()
    registry.transactional(EFFECTED, effect, **options)
    return registry


async def worker_process(url: str) -> asyncio.subprocess.Process:
    root = Path(__file__).parents[2]
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.committed.job_worker", url, cwd=root)


class TestEnqueueing:
    async def test_is_taken_back_with_its_transaction_even_as_the_first_statement(self, committed: Database) -> None:
        async def enqueue_and_fail() -> None:
            async with committed.transaction() as session:
                await enqueue(session, EFFECTED, [{}])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await enqueue_and_fail()
        assert await no_jobs(committed)

    async def test_wakes_a_worker_at_once(self, effects: Database) -> None:
        idle = Pace(poll_seconds=3_600)
        async with working(effects, effecting(), idle):
            await until(lambda: listening(effects))
            await asyncio.sleep(0.3)
            await put(effects, 1)
            await until(lambda: no_jobs(effects))

    async def test_is_found_without_a_notification(self, effects: Database) -> None:
        async with working(effects, effecting()):
            await until(lambda: listening(effects))
            await scalar(effects, "INSERT INTO jobs (kind, payload, max_attempts) VALUES ('tests.effected', '{}', 1)")
            await until(lambda: no_jobs(effects))

    async def test_wakes_who_gave_way_when_the_others_are_done(self, effects: Database) -> None:
        async def slow(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
            await asyncio.sleep(0.3)

        registry = effecting(gives_way_to=[TICKED])
        registry.transactional(TICKED, slow)
        await put(effects, 1, TICKED)
        await put(effects, 1)
        async with working(effects, registry, Pace(poll_seconds=3_600)):
            await until(lambda: no_jobs(effects))


async def listening(database: Database) -> bool:
    return bool(
        await scalar(
            database,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database())",
        )
    )


class TestSeveralWorkers:
    async def test_do_each_job_once(self, effects: Database) -> None:
        ids = await put(effects, 1_000)
        async with (
            working(effects, effecting(batch=20, concurrency=2)),
            working(effects, effecting(batch=20, concurrency=2)),
        ):
            await until(lambda: no_jobs(effects))
        assert await effects_of(effects, ids) == Counter(ids)
        assert await scalar(effects, "SELECT count(DISTINCT worker) FROM effects") > 1

    async def test_pass_over_what_another_is_just_taking(self, effects: Database) -> None:
        ids = await put(effects, 10)
        async with effects.transaction() as first, effects.transaction() as second:
            ours = await leases.claim(first, EFFECTED.name, limit=6, lease_seconds=30)
            async with asyncio.timeout(20):
                theirs = await leases.claim(second, EFFECTED.name, limit=6, lease_seconds=30)
        assert [job.id for job in [*ours, *theirs]] == ids

    async def test_create_each_tick_once(self, effects: Database) -> None:
        schedule = [Every("hourly", TICKED, 3_600), Every("daily", TICKED, 86_400)]

        async def once() -> list[str]:
            async with effects.transaction() as session:
                return await tick(session, schedule)

        created = [name for names in await asyncio.gather(*(once() for _ in range(8))) for name in names]
        assert sorted(created) == ["daily", "hourly"]
        assert await scalar(effects, "SELECT count(*) FROM jobs") == 2

    async def test_keep_to_the_bound_of_a_lane_together(self, effects: Database) -> None:
        running_now, most = Counter[str | None](), Counter[str | None]()

        async def post(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            lane = batch[0].lane
            running_now[lane] += len(batch)
            most[lane] = max(most[lane], running_now[lane])
            await asyncio.sleep(0.01)
            running_now[lane] -= len(batch)
            return {job.id: Done() for job in batch}

        def posting() -> Registry:
            registry = Registry()
            registry.external(POSTED, post, batch=2, per_lane=3, concurrency=64)
            return registry

        await put(effects, 300, POSTED, lane=["a", "b", "c"] * 100)
        async with working(effects, posting()), working(effects, posting()):
            await until(lambda: no_jobs(effects, POSTED))
        assert set(most) == {"a", "b", "c"}
        assert max(most.values()) <= 3


class TestASlowLane:
    async def test_does_not_hold_up_the_others(self, effects: Database) -> None:
        released = asyncio.Event()

        async def post(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            if batch[0].lane == "slow":
                await released.wait()
            return {job.id: Done() for job in batch}

        registry = Registry()
        registry.external(POSTED, post, concurrency=32, per_lane=4)
        await put(effects, 500, POSTED, lane="slow")
        await put(effects, 500, POSTED, lane=["quick", "other"] * 250)

        async def only_slow_ones_left() -> bool:
            return bool(await scalar(effects, "SELECT bool_and(lane = 'slow') FROM jobs"))

        async with working(effects, registry):
            await until(only_slow_ones_left)
            assert await scalar(effects, "SELECT count(*) FROM jobs") == 500
            released.set()
            await until(lambda: no_jobs(effects, POSTED))


class TestALease:
    async def test_is_kept_alive_for_as_long_as_the_work_takes(self, effects: Database) -> None:
        calls = 0

        async def slow(session: AsyncSession, batch: Sequence[Job], /, *, now: datetime) -> None:
            nonlocal calls
            calls += 1
            await asyncio.sleep(3)

        registry = Registry()
        registry.transactional(EFFECTED, slow)
        pace = Pace(lease_seconds=2, heartbeat_seconds=0.1, poll_seconds=0.1)
        await put(effects, 1)
        async with working(effects, registry, pace), working(effects, registry, pace):
            await until(lambda: no_jobs(effects))
        assert calls == 1

    async def test_that_ran_out_takes_the_effects_with_it(self, effects: Database) -> None:
        async def stalled(session: AsyncSession, batch: Sequence[Job], /, *, now: datetime) -> None:
            await effect(session, batch, now=now)
            await asyncio.sleep(1)

        registry = Registry()
        registry.transactional(EFFECTED, stalled)
        without_heartbeat = Pace(lease_seconds=0.2, heartbeat_seconds=60, poll_seconds=60)
        ids = await put(effects, 10)
        async with working(effects, registry, without_heartbeat):
            await until(lambda: taken(effects))
            await asyncio.sleep(0.3)
            async with working(effects, effecting()):
                await until(lambda: no_jobs(effects))
        assert await effects_of(effects, ids) == Counter(ids)


async def taken(database: Database) -> bool:
    return bool(await scalar(database, "SELECT EXISTS (SELECT FROM jobs WHERE state = 'running')"))


class TestStopping:
    async def test_hands_back_what_does_not_end_within_the_grace(self, effects: Database) -> None:
        async def endless(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            await asyncio.sleep(3_600)
            return {job.id: Retry("never") for job in batch}

        registry = Registry()
        registry.external(POSTED, endless)
        await put(effects, 3, POSTED, lane="a")
        async with working(effects, registry, Pace(grace_seconds=0.2)):
            await until(lambda: taken(effects))
        assert await scalar(effects, "SELECT array_agg(DISTINCT state || attempts) FROM jobs") == ["ready0"]

    async def test_on_sigterm_leaves_nothing_leased(self, effects: Database) -> None:
        ids = await put(effects, 4_000)
        process = await worker_process(effects.url)
        await until(lambda: taken(effects))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert await scalar(effects, "SELECT count(*) FROM jobs WHERE state <> 'ready'") == 0
        done = await effects_of(effects, ids)
        left = await scalar(effects, "SELECT count(*) FROM jobs WHERE kind = 'tests.effected'")
        assert max(done.values()) == 1
        assert len(done) + left == len(ids)


class TestACrash:
    async def test_of_workers_loses_and_doubles_nothing(self, effects: Database) -> None:
        ids = await put(effects, 1_500)
        for _ in range(3):
            process = await worker_process(effects.url)
            await until(lambda: taken(effects))
            await asyncio.sleep(0.2)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with working(effects, effecting(batch=50)):
            await until(lambda: no_jobs(effects))
        assert await effects_of(effects, ids) == Counter(ids)

    async def test_of_the_server_loses_and_doubles_nothing(self, tmp_path: Path) -> None:
        with running(tmp_path, erase=True) as url:
            await migrate(url)
            database = Database(url)
            await scalar(database, "CREATE TABLE effects (job_id bigint, worker integer)")
            ids = await put(database, 2_000)
            async with working(database, effecting(batch=20, concurrency=2)):
                for left in (1_500, 800):
                    await until(lambda left=left: fewer_than(database, left))
                    await kill_server(database, tmp_path)
                await until(lambda: no_jobs(database))
            assert await effects_of(database, ids) == Counter(ids)
            await database.dispose()


async def fewer_than(database: Database, left: int) -> bool:
    return bool(await scalar(database, "SELECT count(*) FROM jobs") < left)


async def kill_server(database: Database, data_dir: Path) -> None:
    """SIGKILL the postmaster and its children, as a power cut would."""
    postmaster = int((Cluster(data_dir / "postgres").data / "postmaster.pid").read_text().split()[0])
    async with database.transaction() as session:
        children = list((await session.execute(text("SELECT pid FROM pg_stat_activity"))).scalars())
        for pid in (postmaster, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await session.invalidate()
