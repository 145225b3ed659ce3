"""What follows a case list – matches, alerts, events, and rewards after them – against the bare join of the keyed columns."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import asyncpg

import app.alerts.service
import app.flow
from app.core.clock import SystemClock
from app.core.database import Database
from app.core.handlers import Registry
from app.core.jobs import declared_kinds, queue_states
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.flow import Flow
from app.rewards.service import DUE as REWARDS_DUE
from benchmarks.spent import Meter, Spent

# Every way in which hashes join two people, and nothing else: no window, no lock, no judgement, nothing opened.
_JOIN = """
CREATE TEMPORARY TABLE joined AS
WITH listed AS (
    SELECT c.id AS case_id, p.* FROM cases c JOIN people p ON p.id = c.person_id
), same AS (
    SELECT listed.case_id, there.id FROM listed JOIN people there ON there.document_hash = listed.document_hash
    UNION
    SELECT listed.case_id, there.id
    FROM listed JOIN people there ON there.phone_hash = listed.phone_hash AND there.name_hash = listed.name_hash
    UNION
    SELECT listed.case_id, there.id FROM listed JOIN people there ON there.name_birth_hash = listed.name_birth_hash
    UNION
    SELECT listed.case_id, theirs.person_id
    FROM listed JOIN document_marks mine ON mine.person_id = listed.id JOIN document_marks theirs ON theirs.hash = mine.hash
)
SELECT r.id AS registration_id, same.case_id, 'buyer' AS role FROM same JOIN registrations r ON r.buyer_id = same.id
UNION ALL
SELECT r.id, same.case_id, 'patient' FROM same JOIN registrations r ON r.patient_id = same.id
"""


async def bare_join(url: str, meter: Meter, rounds: int = 3) -> Spent:
    """Return what the join costs: the median of some rounds after one that warms up."""
    connection = await asyncpg.connect(url)
    took = []
    try:
        await connection.execute("SET jit = off")
        for _ in range(rounds + 1):
            with meter.measure() as spent:
                await connection.execute(_JOIN)
            took.append(spent)
            await connection.execute("DROP TABLE joined")
    finally:
        await connection.close()
    return sorted(took[1:], key=lambda one: one.wall)[rounds // 2]


class Stages:
    """Adds up what each step of the tail costs."""

    STEPS = (
        (app.flow, "rematch"),
        (app.flow, "raise_alerts"),
        (app.alerts.service, "publish"),
        (app.flow, "evaluate_cases"),
    )

    def __init__(self, meter: Meter) -> None:
        """Nothing has been measured yet."""
        self.spent: defaultdict[str, Spent] = defaultdict(Spent)
        self._meter = meter

    def timed(self, name: str, step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return the step, which adds to its sum whenever it is taken."""

        async def run(*args: Any, **kwargs: Any) -> Any:
            with self._meter.measure() as spent:
                result = await step(*args, **kwargs)
            self.spent[name] += spent
            return result

        return run

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Measure each step while the block runs."""
        with ExitStack() as stack:
            for module, name in self.STEPS:
                stack.enter_context(patch.object(module, name, self.timed(name, getattr(module, name))))
            yield


async def follow(database: Database, keyring: Keyring, meter: Meter) -> tuple[Spent, Spent]:
    """Let a worker's own loop do what the upload has enqueued; return what it cost until all matches were stored and all events
    written, and until the rewards were worked out as well.
    """
    runner = _runner(database, keyring)
    urgent = sorted(declared_kinds().keys() - {REWARDS_DUE.name})
    with meter.measure() as everything:
        loop = asyncio.create_task(runner.run())
        with meter.measure() as told:
            await _done(database, loop, urgent)
        await _done(database, loop, [REWARDS_DUE.name])
    runner.stop()
    await loop
    return told, everything


async def _done(database: Database, loop: asyncio.Task[None], kinds: Sequence[str]) -> None:
    """Wait until no job of these kinds is left."""
    waiting = 1
    while waiting and not loop.done():
        await asyncio.sleep(0.02)
        async with database.transaction() as session:
            states = await queue_states(session, kinds)
        waiting = sum(state.ready + state.running for state in states)
        if dead := sum(state.dead for state in states):
            raise RuntimeError(f"{dead} jobs failed")


async def stages_of(database: Database, keyring: Keyring, meter: Meter) -> Mapping[str, Spent]:
    """Do the same one step after the other; return what each sort of step cost."""
    stages = Stages(meter)
    with stages.watching(), meter.measure() as spent:
        await _runner(database, keyring).drain()
    return {"one after the other": spent, **stages.spent}


def _runner(database: Database, keyring: Keyring) -> Runner:
    registry = Registry()
    Flow(keyring).register(registry)
    return Runner(database, registry, clock=SystemClock())
