"""Jobs in one process: enqueueing, batches, poison, outcomes, lanes, the dead, the schedule."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import jobs, leases
from app.core.database import Database
from app.core.errors import NotFound
from app.core.handlers import (
    Context,
    Dead,
    Done,
    GiveUp,
    Job,
    Outcome,
    Registry,
    Retry,
    RetryLater,
    backoff_seconds,
    describe,
    plain_error,
)
from app.core.jobs import Kind, dead_jobs, declare, enqueue, queue_states, retry_dead
from app.core.runner import Runner
from app.core.schedule import Every, tick

NOTED = Kind("tests.noted", max_attempts=3)
SENT = Kind("tests.sent", max_attempts=3)
POSTED = Kind("tests.posted", max_attempts=3, laned=True)
MOMENT = datetime(2026, 2, 15, 2, 0, tzinfo=UTC)


class StillClock:
    """Business time of a simulated day."""

    def now(self) -> datetime:
        return MOMENT


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (NOTED, SENT, POSTED):
        monkeypatch.setitem(jobs._declared, kind.name, kind)


@pytest.fixture
async def rows(database: Database) -> "Rows":
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE notes (number integer, at timestamptz)"))
    return Rows(database)


class Rows:
    """What the tests look up, and time that passes for waiting jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, query: str) -> list[Any]:
        async with self._database.transaction() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    async def notes(self) -> list[int]:
        return [number for (number,) in await self.all("SELECT number FROM notes ORDER BY number")]

    async def make_due(self) -> None:
        async with self._database.transaction() as session:
            await session.execute(text("UPDATE jobs SET run_at = clock_timestamp()"))


class Notes:
    """A transactional handler that notes numbers, and fails as it is told."""

    def __init__(self, poison: Mapping[int, Exception] | None = None) -> None:
        self.poison = dict(poison or {})
        self.calls: list[list[int]] = []

    async def __call__(self, session: AsyncSession, batch: Sequence[Job], /, *, now: datetime) -> None:
        numbers = [job.payload["number"] for job in batch]
        self.calls.append(numbers)
        for number in numbers:
            await session.execute(text("INSERT INTO notes VALUES (:number, :now)"), {"number": number, "now": now})
        for number in numbers:
            if number in self.poison:
                raise self.poison[number]


def runner(database: Database, handler: Any, kind: Kind = NOTED, **options: Any) -> Runner:
    registry = Registry()
    if kind is NOTED:
        registry.transactional(kind, handler, **options)
    else:
        registry.external(kind, handler, **options)
    return Runner(database, registry, clock=StillClock())


async def put(database: Database, numbers: Sequence[int], kind: Kind = NOTED, **options: Any) -> list[int]:
    async with database.transaction() as session:
        return await enqueue(session, kind, [{"number": number} for number in numbers], **options)


class TestEnqueue:
    async def test_writes_one_row_per_payload_in_their_order(self, session: AsyncSession) -> None:
        ids = await enqueue(session, "tests.noted", [{"number": n, "id": uuid4()} for n in range(50)])
        found = await session.execute(text("SELECT id, (payload ->> 'number')::int FROM jobs ORDER BY id"))
        assert [tuple(row) for row in found] == list(zip(ids, range(50), strict=True))

    async def test_refuses_a_kind_nobody_declared(self, session: AsyncSession) -> None:
        with pytest.raises(jobs.UnknownKind):
            await enqueue(session, "tests.misspelt", [{}])

    async def test_refuses_payloads_that_are_too_large_or_too_many(self, session: AsyncSession) -> None:
        with pytest.raises(jobs.JobTooLarge):
            await enqueue(session, NOTED, [{"ids": "x" * jobs.MAX_PAYLOAD_BYTES}])
        with pytest.raises(jobs.JobTooLarge):
            await enqueue(session, NOTED, [{}] * (jobs.MAX_JOBS_PER_CALL + 1))

    @pytest.mark.parametrize(("kind", "lane"), [(POSTED, None), (NOTED, "a"), (POSTED, ["a"]), (POSTED, ["a", None])])
    async def test_wants_one_lane_for_each_job_of_a_laned_kind_only(
        self, session: AsyncSession, kind: Kind, lane: Any
    ) -> None:
        with pytest.raises(ValueError, match="lane"):
            await enqueue(session, kind, [{}, {}], lane=lane)

    async def test_does_nothing_for_no_payloads(self, session: AsyncSession) -> None:
        assert await enqueue(session, NOTED, []) == []

    async def test_goes_by_the_databases_clock(self, database: Database, rows: Rows) -> None:
        await put(database, [1], delay_seconds=60)
        await put(database, [2], run_at=datetime.now(UTC) + timedelta(hours=1))
        await put(database, [3])
        assert await runner(database, Notes()).drain() == 1
        assert await rows.notes() == [3]

    def test_declares_a_kind_once(self) -> None:
        with pytest.raises(ValueError, match="twice"):
            declare("tests.noted")


class TestABatch:
    async def test_is_one_call_and_leaves_no_rows(self, database: Database, rows: Rows) -> None:
        await put(database, range(30))
        handler = Notes()
        assert await runner(database, handler).drain() == 30
        assert handler.calls == [list(range(30))]
        assert await rows.all("SELECT id FROM jobs") == []
        assert await rows.all("SELECT DISTINCT at FROM notes") == [(MOMENT,)]

    async def test_loses_only_its_poison(self, database: Database, rows: Rows) -> None:
        await put(database, range(64))
        handler = Notes({17: ZeroDivisionError("synthetic name 13800000000")})
        await runner(database, handler).drain()
        assert await rows.notes() == [n for n in range(64) if n != 17]
        assert len(handler.calls) == 13, "halving, not one by one"
        assert await rows.all("SELECT payload ->> 'number', state, attempts, last_error FROM jobs") == [
            ("17", "ready", 1, "ZeroDivisionError")
        ]
        assert await rows.all("SELECT id FROM jobs WHERE run_at > clock_timestamp()"), "it has to wait"

    async def test_survives_a_failed_statement(self, database: Database, rows: Rows) -> None:
        async def divide(session: AsyncSession, batch: Sequence[Job], /, *, now: datetime) -> None:
            for job in batch:
                await session.execute(text("INSERT INTO notes VALUES (1 / :n)"), {"n": job.payload["number"]})

        await put(database, [2, 0, 1])
        await runner(database, divide).drain()
        assert await rows.notes() == [0, 1]
        assert await rows.all("SELECT last_error FROM jobs") == [("DBAPIError 22012",)]

    async def test_kills_a_job_after_its_last_attempt(self, database: Database, rows: Rows) -> None:
        (number,) = await put(database, [5])
        work = runner(database, Notes({5: KeyError("x")}))
        for _ in range(4):
            await work.drain()
            await rows.make_due()
        async with database.transaction() as session:
            (dead,) = await dead_jobs(session, kind="tests.noted")
            assert (dead.id, dead.attempts, dead.last_error) == (number, 3, "KeyError")
        assert await rows.notes() == []

    async def test_kills_at_once_what_the_handler_gives_up(self, database: Database, rows: Rows) -> None:
        await put(database, [5, 6])
        await runner(database, Notes({5: GiveUp()})).drain()
        assert await rows.all("SELECT payload ->> 'number', state FROM jobs") == [("5", "dead")]

    async def test_waits_as_long_as_the_handler_says(self, database: Database, rows: Rows) -> None:
        await put(database, [5])
        await runner(database, Notes({5: RetryLater(500)})).drain()
        ((seconds,),) = await rows.all("SELECT extract(epoch FROM run_at - clock_timestamp()) FROM jobs")
        assert 495 < seconds <= 500

    async def test_is_rolled_back_where_the_lease_was_lost(self, database: Database, rows: Rows) -> None:
        await put(database, range(4))

        async def robbed(session: AsyncSession, batch: Sequence[Job], /, *, now: datetime) -> None:
            if len(batch) == 4:  # somebody else holds number 2 from now on
                async with database.transaction() as other:
                    await other.execute(
                        text("UPDATE jobs SET lease_token = gen_random_uuid() WHERE payload ->> 'number' = '2'")
                    )
            await notes(session, batch, now=now)

        notes = Notes()
        await runner(database, robbed).drain()
        assert notes.calls == [[0, 1, 2, 3], [0, 1, 3]]

    async def test_is_handed_back_whole_when_the_database_goes_away(self, database: Database, rows: Rows) -> None:
        await put(database, range(8))
        handler = Notes({3: ConnectionResetError()})
        await runner(database, handler).drain()
        assert handler.calls == [list(range(8))], "nobody looks for a culprit"
        assert await rows.all("SELECT DISTINCT state, attempts, last_error FROM jobs") == [
            ("ready", 1, "ConnectionLost")
        ]
        waits = "SELECT DISTINCT run_at - created_at >= interval '0.1 s' FROM jobs"
        assert await rows.all(waits) == [(True,)]

    async def test_takes_alone_a_job_whose_worker_vanished_twice(self, database: Database, rows: Rows) -> None:
        await put(database, range(6))
        async with database.transaction() as session:
            for _ in range(2):
                await leases.claim(session, NOTED.name, limit=2, lease_seconds=-1)
                assert await leases.reclaim(session) == [NOTED.name] * 2
        handler = Notes()
        await runner(database, handler).drain()
        assert handler.calls == [[0], [1], [2, 3, 4, 5]]

    async def test_is_dead_when_workers_vanish_on_every_attempt(self, database: Database, rows: Rows) -> None:
        await put(database, [1])
        async with database.transaction() as session:
            for _ in range(3):
                await leases.claim(session, NOTED.name, limit=1, lease_seconds=-1)
                await leases.reclaim(session)
            (dead,) = await dead_jobs(session)
        assert dead.last_error == "LeaseExpired"

    @pytest.mark.parametrize(("limit", "parts"), [(5, [5, 5, 3, 2, 1, 0]), (16, [8, 4, 2, 2, 0]), (40, [8, 4, 4, 0])])
    async def test_is_shared_by_those_who_work_side_by_side(
        self, database: Database, rows: Rows, limit: int, parts: list[int]
    ) -> None:
        await put(database, range(16))
        async with database.transaction() as session:
            taken = [await leases.claim(session, NOTED.name, limit=limit, lease_seconds=30, sharers=2) for _ in parts]
        assert [len(jobs) for jobs in taken] == parts
        assert [job.payload["number"] for jobs in taken for job in jobs] == [*range(16)]

    async def test_is_shared_by_the_loops_of_a_process(self, database: Database, rows: Rows) -> None:
        await put(database, range(6))
        handler = Notes()
        await runner(database, handler, batch=4, concurrency=2).drain()
        assert handler.calls == [[0, 1, 2], [3, 4], [5]]


class TestWhatGivesWay:
    async def take(self, database: Database) -> list[int]:
        async with database.transaction() as session:
            waits = await leases.under_way(session, [SENT.name, "tests.nobody"])
            patience = leases.PATIENCE_SECONDS if waits else 0
            taken = await leases.claim(session, NOTED.name, limit=10, lease_seconds=30, due_for_seconds=patience)
            await session.rollback()
        return [job.payload["number"] for job in taken]

    async def test_waits_for_what_is_due_or_under_way(self, database: Database, rows: Rows) -> None:
        await put(database, [1])
        assert await self.take(database) == [1]
        await put(database, [2], SENT)
        assert await self.take(database) == []
        async with database.transaction() as session:
            assert await leases.claim(session, SENT.name, limit=1, lease_seconds=30)
        assert await self.take(database) == []

    async def test_does_not_wait_for_what_comes_later_or_never(self, database: Database, rows: Rows) -> None:
        await put(database, [1])
        await put(database, [2], SENT, delay_seconds=60)
        assert await self.take(database) == [1]
        async with database.transaction() as session:
            await session.execute(text("UPDATE jobs SET state = 'dead', run_at = now() WHERE kind = 'tests.sent'"))
        assert await self.take(database) == [1]

    async def test_does_not_wait_for_ever(self, database: Database, rows: Rows) -> None:
        await put(database, [1, 2])
        await put(database, [3], SENT)
        async with database.transaction() as session:
            waited = {"seconds": leases.PATIENCE_SECONDS}
            await session.execute(
                text(
                    "UPDATE jobs SET run_at = run_at - make_interval(secs => :seconds) WHERE payload ->> 'number' = '1'"
                ),
                waited,
            )
        assert await self.take(database) == [1]

    async def test_is_worked_on_after_the_others(self, database: Database, rows: Rows) -> None:
        registry, notes, urgent = Registry(), Notes(), Notes()
        registry.transactional(NOTED, notes, gives_way_to=[SENT])
        registry.transactional(SENT, urgent)
        await put(database, [1])
        await put(database, [2], SENT)
        assert await Runner(database, registry, clock=StillClock()).drain() == 2
        assert (notes.calls, urgent.calls) == ([[1]], [[2]])
        at = "SELECT array_agg(number ORDER BY ctid) FROM notes"
        assert await rows.all(at) == [([2, 1],)]


class TestAnExternalHandler:
    async def test_ends_each_job_as_it_says(self, database: Database, rows: Rows) -> None:
        recorded: list[tuple[int, type[Outcome]]] = []

        async def send(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            assert context.clock.now() == MOMENT
            answers: list[Outcome] = [Done("204"), Retry("http_503", after_seconds=300), Dead("http_410")]
            return {job.id: answer for job, answer in zip(batch, answers, strict=False)}

        async def record(session: AsyncSession, ended: Sequence[tuple[Job, Outcome]], /, *, now: datetime) -> None:
            recorded.extend((job.payload["number"], type(outcome)) for job, outcome in ended)
            await session.execute(text("INSERT INTO notes VALUES (:n, :now)"), {"n": len(ended), "now": now})

        await put(database, range(4), SENT)
        await runner(database, send, SENT, record=record).drain()
        assert recorded == [(0, Done), (1, Retry), (2, Dead), (3, Retry)]
        assert await rows.notes() == [4]
        assert await rows.all("SELECT payload ->> 'number', state, last_error FROM jobs ORDER BY id") == [
            ("1", "ready", "http_503"),
            ("2", "dead", "http_410"),
            ("3", "ready", "NoOutcome"),
        ]

    async def test_is_told_when_a_retry_was_the_last(self, database: Database, rows: Rows) -> None:
        seen: list[Outcome] = []

        async def send(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            return {job.id: Retry("http_503", after_seconds=0, result=job.attempt) for job in batch}

        async def record(session: AsyncSession, ended: Sequence[tuple[Job, Outcome]], /, *, now: datetime) -> None:
            seen.extend(outcome for _, outcome in ended)

        await put(database, [1], SENT)
        await runner(database, send, SENT, record=record).drain()
        assert seen == [Retry("http_503", 0, 1), Retry("http_503", 0, 2), Dead("http_503", 3)]

    async def test_is_not_heard_after_its_lease(self, database: Database, rows: Rows) -> None:
        recorded: list[int] = []

        async def send(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            async with context.database.transaction() as session:
                await session.execute(
                    text("UPDATE jobs SET lease_token = gen_random_uuid() WHERE id = :id"), {"id": batch[0].id}
                )
            return {job.id: Done() for job in batch}

        async def record(session: AsyncSession, ended: Sequence[tuple[Job, Outcome]], /, *, now: datetime) -> None:
            recorded.extend(job.payload["number"] for job, _ in ended)

        await put(database, [1, 2], SENT)
        await runner(database, send, SENT, record=record).drain()
        assert recorded == [2]
        assert await rows.all("SELECT payload ->> 'number', state FROM jobs") == [("1", "running")]

    async def test_may_raise_and_is_retried(self, database: Database, rows: Rows) -> None:
        async def send(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            raise NotFound("not for the log")

        await put(database, [1], SENT)
        await runner(database, send, SENT).drain()
        assert await rows.all("SELECT state, last_error FROM jobs") == [("ready", "NotFound not_found")]

    async def test_has_its_neighbours_recorded_when_one_cannot_be(self, database: Database, rows: Rows) -> None:
        async def send(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            return {job.id: Done() for job in batch}

        async def record(session: AsyncSession, ended: Sequence[tuple[Job, Outcome]], /, *, now: datetime) -> None:
            for job, _ in ended:
                await session.execute(text("INSERT INTO notes VALUES (1 / :n)"), {"n": job.payload["number"]})

        await put(database, [1, 0, 2], SENT)
        await runner(database, send, SENT, record=record).drain()
        assert len(await rows.notes()) == 2
        assert await rows.all("SELECT payload ->> 'number', state FROM jobs") == [("0", "ready")]


class TestALane:
    async def claim(self, session: AsyncSession, limit: int, after: str = "") -> list[str | None]:
        taken = await leases.claim_in_lanes(
            session, POSTED.name, limit=limit, lease_seconds=30, per_lane=2, after_lane=after
        )
        return sorted(str(job.lane) for job in taken)

    async def test_has_a_bounded_number_of_running_jobs(self, session: AsyncSession) -> None:
        await enqueue(session, POSTED, [{}] * 50, lane="slow")
        await enqueue(session, POSTED, [{}] * 3, lane="quick")
        assert await self.claim(session, 10) == ["quick", "quick", "slow", "slow"]
        assert await self.claim(session, 10) == [], "both are full, by whomever"
        await session.execute(text("DELETE FROM jobs WHERE state = 'running' AND lane = 'quick'"))
        assert await self.claim(session, 10) == ["quick"]

    async def test_takes_turns_with_the_others(self, session: AsyncSession) -> None:
        await enqueue(session, POSTED, [{}] * 9, lane=["a", "b", "c"] * 3)
        assert await self.claim(session, 2, after="b") == ["c", "c"]
        assert await self.claim(session, 4, after="c") == ["a", "a", "b", "b"]

    async def test_is_one_group_for_the_handler(self, database: Database) -> None:
        groups: list[list[str | None]] = []

        async def post(batch: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
            groups.append([job.lane for job in batch])
            return {job.id: Done() for job in batch}

        await put(database, range(6), POSTED, lane=["a", "b"] * 3)
        await runner(database, post, POSTED, per_lane=8).drain()
        assert sorted(groups) == [["a"] * 3, ["b"] * 3]


class TestTheDead:
    async def test_are_counted_and_come_back_when_asked(self, database: Database, rows: Rows) -> None:
        await put(database, range(5))
        handler = Notes({1: GiveUp(), 3: GiveUp()})
        await runner(database, handler).drain()
        await put(database, [9], delay_seconds=60)
        async with database.transaction() as session:
            (state,) = await queue_states(session, [NOTED.name])
            assert (state.ready, state.running, state.dead, state.oldest_seconds) == (1, 0, 2, 0.0)
            assert await retry_dead(session, kind=NOTED.name) == 2
        handler.poison.clear()
        await runner(database, handler).drain()
        assert await rows.notes() == [0, 1, 2, 3, 4]

    async def test_come_back_by_id_alone_or_by_kind(self, session: AsyncSession) -> None:
        with pytest.raises(ValueError, match="either"):
            await retry_dead(session)
        assert await retry_dead(session, ids=[1]) == 0


class TestTheSchedule:
    async def test_creates_a_tick_once_and_never_behind_one_that_waits(self, session: AsyncSession) -> None:
        entry = Every("hourly", NOTED, 3_600, offset_seconds=60)
        assert await tick(session, [entry]) == ["hourly"]
        assert await tick(session, [entry]) == []
        await session.execute(text("DELETE FROM schedule_ticks"))
        assert await tick(session, [entry]) == [], "its job still waits"
        await session.execute(text("DELETE FROM jobs"))
        assert await tick(session, [entry]) == ["hourly"]
        (payload,) = (await session.execute(text("SELECT payload FROM jobs"))).scalars()
        at = datetime.fromisoformat(payload["tick_at"])
        assert at <= datetime.now(UTC) < at + timedelta(hours=1)
        assert at.timestamp() % 3_600 == 60

    async def test_does_not_make_up_for_missed_ticks(self, session: AsyncSession) -> None:
        await session.execute(
            text("INSERT INTO schedule_ticks VALUES ('hourly', date_trunc('hour', clock_timestamp()) - interval '9 h')")
        )
        await tick(session, [Every("hourly", NOTED, 3_600)])
        assert (await session.execute(text("SELECT count(*) FROM jobs"))).scalar_one() == 1

    def test_has_no_two_entries_of_one_name(self) -> None:
        registry = Registry()
        registry.every(60, "hourly", NOTED)
        with pytest.raises(ValueError, match="hourly"):
            registry.every(60, "hourly", SENT)


class TestTheRegistry:
    def test_refuses_a_second_handler_and_names_kinds_without_one(self) -> None:
        registry = Registry()
        registry.transactional(NOTED, Notes())
        with pytest.raises(ValueError, match="two handlers"):
            registry.transactional(NOTED, Notes())
        assert "tests.sent" in registry.unhandled()
        assert "tests.noted" not in registry.unhandled()


class TestADelay:
    @given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
    def test_is_bounded_and_never_shorter_after_more_attempts(self, attempt: int, jitter: float) -> None:
        assert 1 <= backoff_seconds(attempt, jitter) <= 3_600 * 1.25
        assert backoff_seconds(attempt + 1, 0) >= backoff_seconds(attempt, 0)


class TestAnErrorInTheTable:
    @pytest.mark.parametrize("words", ["Key (name)=(张三)", "phone 13800000000", "a\nb", "", "document 44030919900101"])
    def test_is_withheld_if_it_might_quote_data(self, words: str) -> None:
        assert plain_error(words) == "withheld"

    def test_is_the_class_and_the_codes(self) -> None:
        assert describe(ValueError("13800000000")) == "ValueError"
        assert plain_error("http_503") == "http_503"

    async def test_names_the_constraint_but_not_the_row(self, session: AsyncSession) -> None:
        with pytest.raises(IntegrityError) as caught:
            async with session.begin_nested():
                await session.execute(
                    text("INSERT INTO jobs (kind, payload, max_attempts, state) VALUES ('x', '{}', 1, 'y')")
                )
        assert describe(caught.value) == "IntegrityError 23514 ck_jobs_jobstate"
