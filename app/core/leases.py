"""Leases: how a worker takes jobs, keeps them while it works, and gives them back.

Taking a job writes a token and a time into its row. Every later statement names the token, so a worker that was too
slow and lost its lease changes nothing any more. All times are the database's (`clock_timestamp()`): workers' clocks, and
the business clock of a simulation, have no say in who holds what.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.handlers import Dead, Done, Job, Outcome, Retry, backoff_seconds, plain_error

LEASE_EXPIRED = "LeaseExpired"
CONNECTION_LOST = "ConnectionLost"
SUSPECT_ATTEMPTS = 2
"""A job whose worker or connection vanished this often may be the cause, so from then on it is taken alone."""

PATIENCE_SECONDS = 30.0
"""How long jobs that give way to other kinds let these pass; as long as the longest list may take, and short of anybody's noticing."""

RECLAIMED_AT_ONCE = 1_000


class LeaseLost(Exception):
    """Another worker may hold these jobs by now; whatever was done for them must be rolled back."""

    def __init__(self, held: frozenset[int]) -> None:
        super().__init__()
        self.held = held


# A plan made while the table was empty would read all of it once a million jobs wait, and only index scans mark the
# entries of finished jobs as dead so that the next claim skips them. Hence these settings, for this transaction only.
_INDEXES_ONLY = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),"
    " set_config('plan_cache_mode', 'force_generic_plan', true)"
)
_ONE_CLAIM_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('jobs.claim:' || $1, 0))"

_TAKE = """
UPDATE jobs SET state = 'running', attempts = attempts + 1, lease_token = $3,
                lease_until = clock_timestamp() + make_interval(secs => $4::float8)
WHERE id = ANY(ARRAY(SELECT id FROM chosen))
RETURNING id, kind, lane, payload::text, attempts, max_attempts, created_at, run_at
"""

_CLAIM = (
    """
WITH due AS MATERIALIZED (
    SELECT id, run_at, attempts >= $5 AND coalesce(last_error = ANY($6::text[]), false) AS suspect
    FROM jobs
    WHERE kind = $1 AND state = 'ready' AND lane IS NULL
      AND run_at <= (SELECT clock_timestamp() - make_interval(secs => $7::float8))
    ORDER BY run_at, id
    LIMIT CASE WHEN $8::int = 1 THEN $2::bigint ELSE (
        SELECT least($2::bigint, greatest(ceil($2::bigint / 10.0), ceil(count(*) / $8::float8)))::bigint
        FROM (
            SELECT FROM jobs WHERE kind = $1 AND state = 'ready' AND lane IS NULL
              AND run_at <= (SELECT clock_timestamp() - make_interval(secs => $7::float8))
            LIMIT $2::bigint * $8::int
        ) AS waiting
    ) END
    FOR UPDATE SKIP LOCKED
), first AS (
    SELECT id, suspect FROM due ORDER BY run_at, id LIMIT 1
), chosen AS (
    SELECT due.id FROM due, first WHERE CASE WHEN first.suspect THEN due.id = first.id ELSE NOT due.suspect END
)
"""
    + _TAKE
)

_UNDER_WAY = """
SELECT EXISTS (
    SELECT FROM unnest($1::text[]) AS k (kind)
    WHERE EXISTS (SELECT FROM jobs WHERE jobs.kind = k.kind AND state = 'running')
    OR EXISTS (SELECT FROM jobs WHERE jobs.kind = k.kind AND state = 'ready' AND lane IS NULL
               AND run_at <= (SELECT clock_timestamp()))
)
"""

# Walks from lane to lane instead of from job to job: a million jobs of one slow lane cost one step.
_CLAIM_LANES = (
    """
WITH RECURSIVE lanes (lane) AS (
    (SELECT lane FROM jobs WHERE kind = $1 AND state = 'ready' AND lane IS NOT NULL AND lane > $5
     ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT next.lane FROM jobs AS next
            WHERE next.kind = $1 AND next.state = 'ready' AND next.lane IS NOT NULL AND next.lane > lanes.lane
            ORDER BY next.lane LIMIT 1)
    FROM lanes WHERE lanes.lane IS NOT NULL
), chosen AS MATERIALIZED (
    SELECT job.id
    FROM lanes
    CROSS JOIN LATERAL (
        SELECT $6 - count(*) AS room
        FROM (SELECT FROM jobs WHERE kind = $1 AND state = 'running' AND lane = lanes.lane LIMIT $6) AS taken
    ) AS lane_room
    CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE kind = $1 AND state = 'ready' AND lane IS NOT NULL AND lane = lanes.lane
        AND run_at <= (SELECT clock_timestamp())
        ORDER BY run_at, id LIMIT lane_room.room FOR UPDATE SKIP LOCKED
    ) AS job
    WHERE lanes.lane IS NOT NULL AND lane_room.room > 0
    LIMIT $2
)
"""
    + _TAKE
)


async def under_way(session: AsyncSession, kinds: Sequence[str]) -> bool:
    """Say whether a job of these kinds, none of which has lanes, is due or in a worker's hands."""
    connection = await driver(session)
    await connection.execute(_INDEXES_ONLY)
    answer: bool = await connection.fetchval(_UNDER_WAY, list(kinds))
    return answer


async def claim(
    session: AsyncSession,
    kind: str,
    *,
    limit: int,
    lease_seconds: float,
    due_for_seconds: float = 0.0,
    sharers: int = 1,
) -> list[Job]:
    """Take up to `limit` due jobs of a kind without lanes, longest due first, under one new token.

    Jobs that others are just taking are passed over, and those that have not been due for so long. A suspect (see
    `SUSPECT_ATTEMPTS`) comes alone. Where `sharers` work side by side each takes its part of what is due, no more, but a tenth
    of `limit`: the last batches grow small, and all come to the end together.
    """
    connection = await driver(session)
    await connection.execute(_INDEXES_ONLY)
    token = uuid4()
    vanished = [LEASE_EXPIRED, CONNECTION_LOST]
    rows = await connection.fetch(
        _CLAIM, kind, limit, token, lease_seconds, SUSPECT_ATTEMPTS, vanished, due_for_seconds, sharers
    )
    return _jobs(rows, token)


async def claim_in_lanes(
    session: AsyncSession, kind: str, *, limit: int, lease_seconds: float, per_lane: int, after_lane: str
) -> list[Job]:
    """Take up to `limit` due jobs of a laned kind, lane by lane in turn, beginning behind `after_lane`.

    No lane gets more than `per_lane` running jobs, over all workers: claims of one kind wait for each other.
    """
    connection = await driver(session)
    await connection.execute(_INDEXES_ONLY)
    await connection.execute(_ONE_CLAIM_AT_A_TIME, kind)
    token = uuid4()
    rows = list(await connection.fetch(_CLAIM_LANES, kind, limit, token, lease_seconds, after_lane, per_lane))
    if len(rows) < limit and after_lane:
        rows += await connection.fetch(_CLAIM_LANES, kind, limit - len(rows), token, lease_seconds, "", per_lane)
    return _jobs(rows, token)


def _jobs(rows: Sequence[Any], token: UUID) -> list[Job]:
    ordered = sorted(rows, key=lambda row: (row["run_at"], row["id"]))
    return [
        Job(
            id=row["id"],
            kind=row["kind"],
            lane=row["lane"],
            payload=json.loads(row["payload"]),
            attempt=row["attempts"],
            max_attempts=row["max_attempts"],
            lease_token=token,
            created_at=row["created_at"],
        )
        for row in ordered
    ]


async def extend(session: AsyncSession, jobs: Sequence[Job], *, lease_seconds: float) -> int:
    """Prolong the leases that still hold and return their number. Jobs just being ended are passed over."""
    connection = await driver(session)
    status: str = await connection.execute(
        "UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => $3::float8) WHERE id = ANY(ARRAY("
        "SELECT id FROM jobs WHERE id = ANY($1::bigint[]) AND lease_token = ANY($2::uuid[])"
        " ORDER BY id FOR UPDATE SKIP LOCKED))",
        [job.id for job in jobs],
        list({job.lease_token for job in jobs}),
        lease_seconds,
    )
    return int(status.rpartition(" ")[2])


async def finish(session: AsyncSession, jobs: Sequence[Job]) -> None:
    """Remove finished jobs of one token, as the last statement of the transaction that holds their effects.

    Raises:
        LeaseLost: not all are still held; roll back. Its `held` are those that were.
    """
    connection = await driver(session)
    rows = await connection.fetch(
        "DELETE FROM jobs WHERE id = ANY($1::bigint[]) AND lease_token = $2 RETURNING id",
        [job.id for job in jobs],
        jobs[0].lease_token,
    )
    if len(rows) != len(jobs):
        raise LeaseLost(frozenset(row["id"] for row in rows))


async def held(session: AsyncSession, jobs: Sequence[Job]) -> list[Job]:
    """Return those of the jobs whose lease still holds, and lock them until the transaction ends."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT id, lease_token FROM jobs WHERE id = ANY($1::bigint[]) AND state = 'running' ORDER BY id FOR UPDATE",
        [job.id for job in jobs],
    )
    tokens = {row["id"]: row["lease_token"] for row in rows}
    return [job for job in jobs if tokens.get(job.id) == job.lease_token]


def final(job: Job, outcome: Outcome) -> Outcome:
    """Return the outcome as it will be kept: a retry after the last attempt is a death, and errors are codes."""
    if isinstance(outcome, Done):
        return outcome
    error = plain_error(outcome.error)
    if isinstance(outcome, Dead) or job.attempt >= job.max_attempts:
        return Dead(error, outcome.result)
    return Retry(error, outcome.after_seconds, outcome.result)


async def settle(session: AsyncSession, ended: Sequence[tuple[Job, Outcome]], *, jitter: Callable[[], float]) -> None:
    """End jobs that `held` has locked, each as its `final` outcome says: removed, due again later, or dead."""
    connection = await driver(session)
    by_kind: dict[type[Outcome], list[tuple[Job, Any]]] = defaultdict(list)
    for job, outcome in ended:
        by_kind[type(outcome)].append((job, outcome))
    if finished := by_kind[Done]:
        await connection.execute("DELETE FROM jobs WHERE id = ANY($1::bigint[])", [job.id for job, _ in finished])
    if again := by_kind[Retry]:
        await connection.execute(
            """
            UPDATE jobs SET state = 'ready', lease_token = NULL, lease_until = NULL, last_error = next.error,
                            run_at = clock_timestamp() + make_interval(secs => next.seconds)
            FROM unnest($1::bigint[], $2::float8[], $3::text[]) AS next (id, seconds, error)
            WHERE jobs.id = next.id
            """,
            [job.id for job, _ in again],
            [
                backoff_seconds(job.attempt, jitter()) if o.after_seconds is None else o.after_seconds
                for job, o in again
            ],
            [o.error for _, o in again],
        )
    if dead := by_kind[Dead]:
        await connection.execute(
            """
            UPDATE jobs SET state = 'dead', lease_token = NULL, lease_until = NULL, last_error = lost.error
            FROM unnest($1::bigint[], $2::text[]) AS lost (id, error) WHERE jobs.id = lost.id
            """,
            [job.id for job, _ in dead],
            [o.error for _, o in dead],
        )


async def hand_back(session: AsyncSession, jobs: Sequence[Job], *, error: str | None, counted: bool) -> None:
    """Make jobs that are still held ready for any worker, or dead if that was their last attempt.

    `counted` is false for work that is not to blame for being broken off: the attempt is then taken off again, and the
    job is due as before. Otherwise it waits, 0.1 s the first time and four times as long each time, up to a minute.
    """
    connection = await driver(session)
    await connection.execute(
        """
        UPDATE jobs SET state = CASE WHEN $3 AND attempts >= max_attempts THEN 'dead' ELSE 'ready' END,
                        attempts = attempts - CASE WHEN $3 THEN 0 ELSE 1 END,
                        run_at = CASE WHEN $3 THEN clock_timestamp()
                                 + make_interval(secs => least(60, 0.1 * 4 ^ least(attempts - 1, 6))::float8) ELSE run_at END,
                        lease_token = NULL, lease_until = NULL, last_error = coalesce($4, last_error)
        WHERE id = ANY($1::bigint[]) AND lease_token = ANY($2::uuid[])
        """,
        [job.id for job in jobs],
        list({job.lease_token for job in jobs}),
        counted,
        error,
    )


async def reclaim(session: AsyncSession) -> list[str]:
    """Take back jobs whose lease has run out (their worker vanished) and return their kinds.

    The lost attempt counts: a job that kills its worker each time ends as dead instead of killing workers for ever.
    """
    connection = await driver(session)
    await connection.execute(_INDEXES_ONLY)
    rows = await connection.fetch(
        """
        UPDATE jobs SET state = CASE WHEN attempts >= max_attempts THEN 'dead' ELSE 'ready' END,
                        lease_token = NULL, lease_until = NULL, last_error = $1
        WHERE id = ANY(ARRAY(SELECT id FROM jobs WHERE state = 'running' AND lease_until < (SELECT clock_timestamp())
                             LIMIT $2 FOR UPDATE SKIP LOCKED))
        RETURNING kind
        """,
        LEASE_EXPIRED,
        RECLAIMED_AT_ONCE,
    )
    return [row["kind"] for row in rows]


async def due_kinds(session: AsyncSession, kinds: Sequence[str]) -> list[str]:
    """Return those of the kinds that have a due job, whichever lane it is in."""
    connection = await driver(session)
    await connection.execute(_INDEXES_ONLY)
    rows = await connection.fetch(
        """
        SELECT kind FROM unnest($1::text[]) AS k (kind)
        WHERE EXISTS (SELECT FROM jobs WHERE jobs.kind = k.kind AND state = 'ready' AND lane IS NULL
                      AND run_at <= (SELECT clock_timestamp()))
        OR EXISTS (SELECT FROM jobs WHERE jobs.kind = k.kind AND state = 'ready' AND lane IS NOT NULL)
        """,
        list(kinds),
    )
    return [row["kind"] for row in rows]
