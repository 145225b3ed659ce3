"""Who works on which kind of job, and what a handler may answer.

There are two sorts of handler. A *transactional* one is given a session: what it writes and the removal of its jobs
commit together, so its effect happens exactly once. An *external* one is given no transaction, because it talks to
somebody else over the network: it is repeated after a crash (at least once), and what it learnt is written together
with the end of its jobs, under their lease. All handlers stand in one `Registry`, filled in `app/worker.py`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import AppError
from app.core.jobs import MAX_ERROR_CHARACTERS, Kind, declared_kinds
from app.core.schedule import Every

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Job:
    """A job in a worker's hands. `attempt` is 1 the first time; `lease_token` proves that it is still this worker's."""

    id: int
    kind: str
    lane: str | None
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    lease_token: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """The job is finished. `result` is for the handler's own recorder."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The job is to be tried again after `after_seconds`, or by the usual backoff; after its last attempt it is dead."""

    error: str
    after_seconds: float | None = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class Dead:
    """The job has failed for good, or its last attempt has."""

    error: str
    result: Any = None


Outcome = Done | Retry | Dead


class RetryLater(Exception):
    """Raised by a transactional handler: nothing is wrong, but these jobs are to wait `after_seconds`."""

    def __init__(self, after_seconds: float, reason: str = "") -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class GiveUp(Exception):
    """Raised by a transactional handler: trying again cannot help. The job is dead at once."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an external handler may use: short transactions of its own (none open during network use), and the time."""

    database: Database
    clock: Clock


class TransactionalHandler(Protocol):
    """Does the work of all jobs in the session's transaction; set-based, for one job or hundreds. Never commits."""

    async def __call__(self, session: AsyncSession, jobs: Sequence[Job], /, *, now: datetime) -> None: ...


class Recorder(Protocol):
    """Writes an external handler's results in the transaction that ends their jobs; `Retry` and `Dead` are final here.

    It sees only jobs whose lease still holds. If it raises, none of the batch is ended and the jobs are retried.
    """

    async def __call__(
        self, session: AsyncSession, finished: Sequence[tuple[Job, Outcome]], /, *, now: datetime
    ) -> None: ...


ExternalHandler = Callable[[Sequence[Job], Context], Awaitable[Mapping[int, Outcome]]]


@dataclass(frozen=True, slots=True)
class Transactional:
    """A transactional handler: up to `concurrency` batches of up to `batch` jobs at a time in one process, which share what is due.

    While jobs of the kinds in `gives_way_to` are due or under way anywhere, its own wait, up to `leases.PATIENCE_SECONDS`.
    """

    kind: Kind
    handler: TransactionalHandler
    batch: int
    concurrency: int
    timeout_seconds: float
    gives_way_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class External:
    """An external handler: up to `concurrency` jobs at a time in one process, handed over in groups of up to `batch`.

    The jobs of a group share their lane; over all processes, at most `per_lane` jobs of a lane run at a time.
    """

    kind: Kind
    handler: ExternalHandler
    record: Recorder | None
    batch: int
    concurrency: int
    per_lane: int
    timeout_seconds: float


@dataclass(slots=True)
class Registry:
    """All handlers and the schedule of one worker."""

    transactional_work: dict[str, Transactional] = field(default_factory=dict)
    external_work: dict[str, External] = field(default_factory=dict)
    schedule: list[Every] = field(default_factory=list)

    def transactional(
        self,
        kind: Kind,
        handler: TransactionalHandler,
        *,
        batch: int = 200,
        concurrency: int = 1,
        timeout_seconds: float = 60.0,
        gives_way_to: Sequence[Kind] = (),
    ) -> None:
        """Register a transactional handler; what is less urgent than other kinds gives way to them for a while.

        Raises:
            ValueError: the kind has a handler already, or has lanes.
        """
        self._claim_name(kind)
        if kind.laned:
            raise ValueError(f"{kind.name}: lanes are for external handlers")
        others = tuple(other.name for other in gives_way_to)
        self.transactional_work[kind.name] = Transactional(kind, handler, batch, concurrency, timeout_seconds, others)

    def external(
        self,
        kind: Kind,
        handler: ExternalHandler,
        *,
        record: Recorder | None = None,
        batch: int = 16,
        concurrency: int = 256,
        per_lane: int = 8,
        timeout_seconds: float = 120.0,
    ) -> None:
        """Register an external handler, with the recorder of its results.

        Raises:
            ValueError: the kind has a handler already.
        """
        self._claim_name(kind)
        self.external_work[kind.name] = External(kind, handler, record, batch, concurrency, per_lane, timeout_seconds)

    def every(self, seconds: int, name: str, kind: Kind, *, offset_seconds: int = 0) -> None:
        """Enqueue a job of `kind` each period, once however many workers run; see `schedule.Every`.

        Raises:
            ValueError: the name is taken, or the period is shorter than a second.
        """
        if any(entry.name == name for entry in self.schedule):
            raise ValueError(f"two schedules are named {name}")
        self.schedule.append(Every(name, kind, seconds, offset_seconds))

    def unhandled(self) -> list[str]:
        """Return the declared kinds for which nothing is registered."""
        return sorted(set(declared_kinds()) - set(self.transactional_work) - set(self.external_work))

    def _claim_name(self, kind: Kind) -> None:
        if kind.name in self.transactional_work or kind.name in self.external_work:
            raise ValueError(f"{kind.name} has two handlers")


def backoff_seconds(attempt: int, jitter: float) -> float:
    """Return how long to wait after the given attempt (1, 2, …) failed, in seconds.

    Doubles from one second up to an hour; `jitter` in [0, 1) adds up to a quarter, so that jobs which failed together
    do not come back together.
    """
    doubled = FIRST_DELAY_SECONDS * 2.0 ** min(attempt - 1, 30)
    return min(doubled, LONGEST_DELAY_SECONDS) * (1 + jitter / 4)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*( [A-Za-z0-9_.:-]+)*")
_LONG_NUMBER = re.compile(r"\d{7}")


def plain_error(words: str) -> str:
    """Return the words, cut to the column, if they are codes and class names; what might quote data is withheld.

    Runs of seven digits are withheld too: they are how documents and phone numbers look.
    """
    cut = words[:MAX_ERROR_CHARACTERS].rstrip()
    return cut if _PLAIN.fullmatch(cut) and not _LONG_NUMBER.search(cut) else "withheld"


def describe(error: BaseException) -> str:
    """Return an exception's class and code, never its text: PostgreSQL's messages quote rows."""
    if isinstance(error, AppError):
        return plain_error(f"{type(error).__name__} {error.code}")
    origin = getattr(error, "orig", None) or error
    words = [type(error).__name__]
    for source in (origin, getattr(origin, "__cause__", None)):
        for attribute in ("sqlstate", "constraint_name"):
            value = getattr(source, attribute, None)
            if isinstance(value, str) and value:
                words.append(value)
    return plain_error(" ".join(dict.fromkeys(words)))
