"""Doing the work: one batch of jobs through its handler, and what happens when that fails.

A batch that fails is halved until the job that cannot be done stands alone, so it never takes its neighbours down.
A database that went away is nobody's fault: the work is handed back, or its result kept in memory, until it answers.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import leases
from app.core.clock import Clock
from app.core.database import Database
from app.core.handlers import (
    Context,
    Dead,
    External,
    GiveUp,
    Job,
    Outcome,
    Retry,
    RetryLater,
    Transactional,
    describe,
)
from app.core.log import logger

T = TypeVar("T")
log = logger("jobs")

_chance = random.SystemRandom()

CONFLICT_RETRIES = 3
SHORTEST_TIMEOUT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 2.0

_GONE = ("08", "53", "57P01", "57P02", "57P03")  # connection, resources, shutdown, crash, starting up
_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock


def sqlstate(error: BaseException) -> str:
    """Return PostgreSQL's five-character code behind an exception, or an empty string."""
    origin = getattr(error, "orig", None) or error
    for source in (origin, getattr(origin, "__cause__", None)):
        code = getattr(source, "sqlstate", None)
        if isinstance(code, str):
            return code
    return ""


def database_gone(error: BaseException) -> bool:
    """Say whether the database, rather than the work, is what failed."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, ConnectionError | PoolTimeoutError | asyncpg.InterfaceError):
        return True
    if isinstance(error, DBAPIError) and isinstance(getattr(error.orig, "__cause__", None), asyncpg.InterfaceError):
        return True
    return sqlstate(error).startswith(_GONE)


def database_error(error: BaseException) -> bool:
    """Say whether an exception comes from the database or the way to it, whatever the reason."""
    return database_gone(error) or isinstance(
        error, DBAPIError | asyncpg.PostgresError | asyncpg.InterfaceError | OSError
    )


class Pause:
    """Waits that double up to two seconds, while the database does not answer."""

    def __init__(self) -> None:
        self._seconds = 0.05

    async def wait(self) -> None:
        """Sleep between half and all of the present pause, and double it."""
        await asyncio.sleep(self._seconds * _chance.uniform(0.5, 1.0))
        self._seconds = min(self._seconds * 2, LONGEST_PAUSE_SECONDS)


class Execution:
    """Runs handlers over claimed jobs. `in_hand` are the jobs whose leases this process must keep alive."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.context = Context(database, clock)
        self.in_hand: dict[int, Job] = {}

    def take(self, jobs: Sequence[Job]) -> None:
        """Count jobs among those in hand."""
        self.in_hand.update((job.id, job) for job in jobs)

    def let_go(self, jobs: Sequence[Job]) -> None:
        """Forget jobs that have ended, unless they have come back under a newer lease."""
        for job in jobs:
            if self.in_hand.get(job.id) is job:
                del self.in_hand[job.id]

    async def persist(self, action: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Run an action in a transaction of its own, again and again until the database has taken it."""
        pause = Pause()
        while True:
            try:
                async with self.database.transaction() as session:
                    return await action(session)
            except Exception as error:
                if not (database_gone(error) or sqlstate(error) in _CONFLICTS):
                    raise
            await pause.wait()

    async def transactional(self, work: Transactional, jobs: Sequence[Job]) -> None:
        """Do a claimed batch: effects and removal together, halving what fails."""
        pending = [list(jobs)]
        conflicts = 0
        while pending:
            batch = pending.pop()
            seconds = max(SHORTEST_TIMEOUT_SECONDS, work.timeout_seconds * len(batch) / len(jobs))
            try:
                await self._do(work, batch, seconds)
            except leases.LeaseLost as lost:
                log.warning("lease lost", extra={"kind": work.kind.name, "jobs": len(batch) - len(lost.held)})
                self.let_go([job for job in batch if job.id not in lost.held])
                if lost.held:
                    pending.append([job for job in batch if job.id in lost.held])
                continue
            except Exception as error:
                if database_gone(error):
                    await self._hand_back([*batch, *(job for rest in pending for job in rest)], error)
                    return
                if sqlstate(error) in _CONFLICTS and conflicts < CONFLICT_RETRIES:
                    conflicts += 1
                    await asyncio.sleep(_chance.uniform(0.01, 0.05) * conflicts)
                    pending.append(batch)
                elif len(batch) > 1:
                    middle = len(batch) // 2
                    pending += [batch[middle:], batch[:middle]]
                else:
                    await self._fail(batch[0], error)
                    self.let_go(batch)
                continue
            self.let_go(batch)

    async def _do(self, work: Transactional, batch: Sequence[Job], seconds: float) -> None:
        async with asyncio.timeout(seconds), self.database.transaction() as session:
            await work.handler(session, batch, now=self.clock.now())
            await leases.finish(session, batch)

    async def _hand_back(self, jobs: Sequence[Job], error: Exception) -> None:
        log.warning("database gone, handing back", extra={"jobs": len(jobs), "error": describe(error)})
        await self.persist(lambda session: leases.hand_back(session, jobs, error=leases.CONNECTION_LOST, counted=True))
        self.let_go(jobs)

    async def _fail(self, job: Job, error: Exception) -> None:
        outcome: Outcome
        if isinstance(error, RetryLater):
            outcome = Retry(describe(error), error.after_seconds)
        elif isinstance(error, GiveUp):
            outcome = Dead(describe(error))
        else:
            outcome = Retry(describe(error))
        await self.end(None, [(job, outcome)], cause=error)

    async def external(self, work: External, group: Sequence[Job]) -> list[tuple[Job, Outcome]]:
        """Hand a group to its handler, with no transaction open, and return what became of each job."""
        unanswered: Outcome = Retry("NoOutcome")
        try:
            async with asyncio.timeout(work.timeout_seconds):
                outcomes = dict(await work.handler(group, self.context))
        except Exception as error:
            outcomes = {}
            unanswered = Retry(describe(error))
            log.warning(
                "handler raised",
                extra={"kind": work.kind.name, "error": describe(error)},
                exc_info=not database_gone(error),
            )
        return [(job, outcomes.get(job.id, unanswered)) for job in group]

    async def end(
        self, work: External | None, ended: Sequence[tuple[Job, Outcome]], *, cause: Exception | None = None
    ) -> None:
        """End jobs with their outcomes under their leases, the recorder's rows in the same transaction.

        Outcomes of jobs whose lease was lost are dropped. A recorder that fails is retried with halves; a job that it
        cannot record even alone is retried as a whole.
        """
        pending = [list(ended)]
        while pending:
            batch = pending.pop()
            try:
                for job, outcome in await self.persist(partial(self._end, work=work, batch=batch)):
                    self._report(job, outcome, cause)
            except Exception as error:
                if len(batch) > 1:
                    middle = len(batch) // 2
                    pending += [batch[middle:], batch[:middle]]
                    continue
                cause, again = error, [(batch[0][0], Retry(describe(error)))]
                for job, outcome in await self.persist(partial(self._end, work=None, batch=again)):
                    self._report(job, outcome, cause)
            self.let_go([job for job, _ in batch])

    async def _end(
        self, session: AsyncSession, *, work: External | None, batch: Sequence[tuple[Job, Outcome]]
    ) -> list[tuple[Job, Outcome]]:
        held = {job.id for job in await leases.held(session, [job for job, _ in batch])}
        final = [(job, leases.final(job, outcome)) for job, outcome in batch if job.id in held]
        if final and work is not None and work.record is not None:
            await work.record(session, final, now=self.clock.now())
        if final:
            await leases.settle(session, final, jitter=_chance.random)
        return final

    def _report(self, job: Job, outcome: Outcome, cause: Exception | None) -> None:
        if isinstance(outcome, Retry | Dead):
            log.log(
                40 if isinstance(outcome, Dead) else 20,
                "job dead" if isinstance(outcome, Dead) else "job to be retried",
                extra={"kind": job.kind, "job": job.id, "attempt": job.attempt, "error": outcome.error},
                exc_info=cause,
            )
