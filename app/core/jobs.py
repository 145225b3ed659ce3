"""Jobs: what is done later, kept as a row beside the fact that causes it.

`enqueue` writes the row in the caller's transaction, so the fact and its follow-up commit together or not at all.
`core.handlers` says which code works on a kind, `core.leases` how a worker takes rows and gives them back,
`core.execution` what happens when the work fails, `core.runner` is the loop. A finished job is deleted; one that failed for good stays as `dead` until somebody calls
`retry_dead`. Payloads hold ids and codes only: identities stay sealed in their own tables.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, Integer, String, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, after_commit, driver, text_enum
from app.core.wakes import CHANNEL, wake

MAX_JOBS_PER_CALL = 10_000
MAX_PAYLOAD_BYTES = 65_536
MAX_ERROR_CHARACTERS = 120
COUNT_LIMIT = 100_000


class JobState(StrEnum):
    """Where a job stands. Finished jobs have no state: their row is gone."""

    READY = "ready"
    RUNNING = "running"
    DEAD = "dead"


class JobRow(Base):
    """A job as it is kept. `attempts` counts how often a worker has taken it."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    lane: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[JobState] = mapped_column(text_enum(JobState), server_default=JobState.READY.value)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    run_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=text("clock_timestamp()"))
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer)
    lease_token: Mapped[UUID | None] = mapped_column(Uuid)
    lease_until: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    last_error: Mapped[str | None] = mapped_column(String(MAX_ERROR_CHARACTERS))
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=text("clock_timestamp()"))

    # One partial index per question that workers ask, so that a claim reads its batch and nothing else however many
    # jobs wait. `lease_until` is in none of them: a heartbeat then updates in place (HOT).
    __table_args__ = (
        Index("ix_jobs_ready", "kind", "run_at", "id", postgresql_where=text("state = 'ready' AND lane IS NULL")),
        Index(
            "ix_jobs_ready_in_lane",
            "kind",
            "lane",
            "run_at",
            "id",
            postgresql_where=text("state = 'ready' AND lane IS NOT NULL"),
        ),
        Index("ix_jobs_running", "kind", "lane", postgresql_where=text("state = 'running'")),
        Index("ix_jobs_dead", "kind", "id", postgresql_where=text("state = 'dead'")),
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job, declared once beside the code that enqueues it.

    A `laned` kind names a lane for each job (a subscription, say): at most a few jobs of one lane run at a time, so
    a slow lane does not hold up the others.
    """

    name: str
    max_attempts: int = 10
    laned: bool = False


class UnknownKind(LookupError):
    """A job was enqueued under a name that no chapter has declared; nobody would ever work on it."""


class JobTooLarge(ValueError):
    """A payload is larger than a row of ids can be; enqueue several jobs, or store the data in a table of its own."""


_declared: dict[str, Kind] = {}


def declare(name: str, *, max_attempts: int = 10, laned: bool = False) -> Kind:
    """Declare a kind of job, `noun.past_participle`; call it at module level, beside the code that enqueues.

    Raises:
        ValueError: the name is taken, too long, or the attempts are fewer than one.
    """
    if name in _declared or not 1 <= len(name) <= 64 or max_attempts < 1:
        raise ValueError(f"job kind {name!r} is declared twice, or its name or attempts are out of bounds")
    kind = Kind(name, max_attempts, laned)
    _declared[name] = kind
    return kind


def declared_kinds() -> Mapping[str, Kind]:
    """Return all kinds that the imported chapters have declared, by name."""
    return dict(_declared)


_ENQUEUE = """
WITH added AS (
    INSERT INTO jobs (kind, lane, payload, max_attempts, run_at)
    SELECT $1, new.lane, new.payload::jsonb, $2,
           coalesce($3::timestamptz, clock_timestamp()) + make_interval(secs => $4::float8)
    FROM unnest($5::text[], $6::text[]) WITH ORDINALITY AS new (payload, lane, position)
    ORDER BY new.position
    RETURNING id
)
SELECT array_agg(id ORDER BY id) FROM added
"""


async def enqueue(
    session: AsyncSession,
    kind: Kind | str,
    payloads: Sequence[Mapping[str, Any]],
    *,
    lane: str | Sequence[str] | None = None,
    run_at: datetime | None = None,
    delay_seconds: float = 0.0,
) -> list[int]:
    """Write one job per payload in the caller's transaction and return their ids, in the payloads' order.

    One statement for all of them; workers are woken once the transaction has committed. `lane` is one for all or one per
    payload. `run_at` is an instant of the *database's* clock (default: at once) to which `delay_seconds` is added.
    UUIDs in a payload are stored as text.

    Raises:
        UnknownKind: no chapter has declared the kind.
        JobTooLarge: a payload is longer than 64 KiB as JSON, or there are more than 10,000 of them.
        ValueError: lanes and payloads differ in number, or the kind's lanes are missing or not wanted.
    """
    known = _declared.get(kind if isinstance(kind, str) else kind.name)
    if known is None:
        raise UnknownKind(str(kind))
    if not payloads:
        return []
    if len(payloads) > MAX_JOBS_PER_CALL:
        raise JobTooLarge(f"{len(payloads)} jobs of kind {known.name} at once")
    lanes = [lane] * len(payloads) if lane is None or isinstance(lane, str) else list(lane)
    if len(lanes) != len(payloads) or any((name is not None) != known.laned for name in lanes):
        raise ValueError(f"jobs of kind {known.name} need {'one lane each' if known.laned else 'no lane'}")
    bodies = [json.dumps(payload, default=_as_text, separators=(",", ":")) for payload in payloads]
    if max(map(len, bodies)) > MAX_PAYLOAD_BYTES:  # json.dumps escapes all but ASCII, so characters are bytes
        raise JobTooLarge(f"a payload of kind {known.name}")
    connection = await driver(session)
    ids: list[int] = await connection.fetchval(
        _ENQUEUE, known.name, known.max_attempts, run_at, delay_seconds, bodies, lanes
    )
    if run_at is None and delay_seconds <= 0:
        after_commit(session, partial(wake, kind=known.name))
    return ids


def _as_text(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a job's payload")


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that failed for good and waits for somebody to look at it; without its payload."""

    id: int
    kind: str
    lane: str | None
    attempts: int
    last_error: str | None
    created_at: datetime


async def dead_jobs(
    session: AsyncSession, *, kind: str | None = None, after: int = 0, limit: int = 100
) -> list[DeadJob]:
    """Return dead jobs with an id above `after`, oldest first, at most 1,000 at a time."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT id, kind, lane, attempts, last_error, created_at FROM jobs"
        " WHERE state = 'dead' AND ($1::text IS NULL OR kind = $1) AND id > $2 ORDER BY id LIMIT $3",
        kind,
        after,
        min(limit, 1_000),
    )
    return [DeadJob(**dict(row)) for row in rows]


async def retry_dead(session: AsyncSession, *, ids: Sequence[int] | None = None, kind: str | None = None) -> int:
    """Make dead jobs ready again with all their attempts, and return how many; at most 10,000 at a time.

    Exactly one of `ids` and `kind` says which.

    Raises:
        ValueError: none or both are given.
    """
    if (ids is None) == (kind is None):
        raise ValueError("retry dead jobs either by ids or by kind")
    connection = await driver(session)
    woken: int = await connection.fetchval(
        f"""
        WITH chosen AS (
            SELECT id FROM jobs WHERE state = 'dead' AND (id = ANY($1::bigint[]) OR kind = $2)
            ORDER BY id LIMIT {MAX_JOBS_PER_CALL} FOR UPDATE SKIP LOCKED
        ), woken AS (
            UPDATE jobs SET state = 'ready', attempts = 0, run_at = clock_timestamp(), last_error = NULL
            FROM chosen WHERE jobs.id = chosen.id RETURNING kind
        ), told AS (SELECT pg_notify('{CHANNEL}', kind) FROM (SELECT DISTINCT kind FROM woken) AS kinds)
        SELECT (SELECT count(*) FROM woken) FROM (SELECT count(*) FROM told) AS all_told
        """,
        None if ids is None else list(ids),
        kind,
    )
    return woken


@dataclass(frozen=True, slots=True)
class QueueState:
    """How much of one kind is waiting. Counts stop at 100,000, so that looking costs the same however long the queue.

    `oldest_seconds` is how long the job that has been due longest has been due; 0 when none is.
    """

    kind: str
    ready: int
    running: int
    dead: int
    oldest_seconds: float


_QUEUE_STATES = f"""
SELECT kind,
       (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE jobs.kind = k.kind AND state = 'ready' AND lane IS NULL
                              LIMIT {COUNT_LIMIT}) AS free)
     + (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE jobs.kind = k.kind AND state = 'ready' AND lane IS NOT NULL
                              LIMIT {COUNT_LIMIT}) AS laned) AS ready,
       (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE jobs.kind = k.kind AND state = 'running'
                              LIMIT {COUNT_LIMIT}) AS taken) AS running,
       (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE jobs.kind = k.kind AND state = 'dead'
                              LIMIT {COUNT_LIMIT}) AS lost) AS dead,
       greatest(0, extract(epoch FROM clock_timestamp() - least(
           (SELECT run_at FROM jobs WHERE jobs.kind = k.kind AND state = 'ready' AND lane IS NULL
            ORDER BY run_at LIMIT 1),
           (SELECT min(run_at) FROM (SELECT run_at FROM jobs WHERE jobs.kind = k.kind AND state = 'ready'
                                     AND lane IS NOT NULL LIMIT {COUNT_LIMIT}) AS laned)
       ))::float8) AS oldest_seconds
FROM unnest($1::text[]) AS k (kind)
ORDER BY kind
"""


async def queue_states(session: AsyncSession, kinds: Sequence[str] | None = None) -> list[QueueState]:
    """Return the state of the queue, one row per kind (default: all declared kinds), for `/metrics` and operators."""
    connection = await driver(session)
    rows = await connection.fetch(_QUEUE_STATES, sorted(_declared) if kinds is None else list(kinds))
    return [QueueState(row[0], row[1], row[2], row[3], row[4] or 0.0) for row in rows]
