"""Delivering: load in a short transaction, sign, send with none open, record the attempts under their leases."""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import SYSTEM
from app.core import handlers
from app.core.clock import SystemClock
from app.core.database import driver
from app.core.handlers import Context, Done, Job, Registry, Retry
from app.core.ids import new_ids
from app.core.sealing import Keyring, KeyUnknown, SealBroken
from app.webhooks.messages import body_of, data_for
from app.webhooks.publishing import DELIVER
from app.webhooks.queries import Parcel, database_time, load_parcels, lock_subscriptions
from app.webhooks.rules import (
    DeliveryState,
    Detail,
    DisabledReason,
    Failure,
    Judgement,
    Outcome,
    gives_up,
    judge,
    next_attempt_in,
)
from app.webhooks.sender import HostBusy, Sender
from app.webhooks.signing import parse_secret, signed_headers

_BUSY_SECONDS = 5.0
# Signatures and attempts bear the machine's time, whatever the business clock says: subscribers compare with their own.
_MACHINE = SystemClock()
_chance = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Report:
    """What a handler tells its recorder about one delivery; `outcome` is None if nothing was sent."""

    delivery_id: UUID
    subscription_id: UUID
    round: int
    started_at: datetime
    outcome: Outcome | None
    judgement: Judgement | None
    state: DeliveryState
    failure: Failure | None
    retry_seconds: float | None
    keeps_excerpt: bool


def register(registry: Registry, *, keyring: Keyring, sender: Sender) -> None:
    """Let a worker deliver: up to 256 deliveries at once, 32 to one subscription over all workers.

    A group of one subscription's deliveries is recorded in one transaction, which is what makes it fast; a worker that dies
    repeats at most those.
    """

    async def deliver(jobs: Sequence[Job], context: Context) -> Mapping[int, handlers.Outcome]:
        async with context.database.transaction() as session:
            parcels = await load_parcels(session, [UUID(job.payload["delivery"]) for job in jobs])
        ended = await asyncio.gather(*(_deliver_one(job, parcels, keyring, sender) for job in jobs))
        return {job.id: outcome for job, outcome in zip(jobs, ended, strict=True)}

    registry.external(DELIVER, deliver, record=record, batch=32, concurrency=256, per_lane=32)


async def _deliver_one(job: Job, parcels: Mapping[UUID, Parcel], keyring: Keyring, sender: Sender) -> handlers.Outcome:
    parcel = parcels.get(UUID(job.payload["delivery"]))
    if parcel is None or parcel.state is not DeliveryState.PENDING or parcel.round != job.payload["round"]:
        return Done()  # delivered, ended, or taken over by a later round
    if parcel.subscription.deleted_at is not None:
        return Done(_unsent(parcel, DeliveryState.CANCELLED, None))
    if not parcel.subscription.enabled:
        return Done(_unsent(parcel, DeliveryState.FAILED, Failure.SUBSCRIPTION_DISABLED))
    started_at = _MACHINE.now()
    try:
        body, headers = _signed(parcel, keyring, timestamp=int(started_at.timestamp()))
    except (SealBroken, KeyUnknown) as error:
        # A key is missing from this worker's keyring, or a row was tampered with. Nothing was tried: operators see the
        # class in the log, and the delivery waits for them.
        return Retry(type(error).__name__)
    try:
        outcome = await sender.post(parcel.subscription.url, headers=headers, body=body)
    except HostBusy:
        return Retry("HostBusy", after_seconds=_BUSY_SECONDS * (1 + _chance.random()))
    return _judged(parcel, outcome, started_at)


def _signed(parcel: Parcel, keyring: Keyring, *, timestamp: int) -> tuple[bytes, dict[str, str]]:
    """Build the body and sign it with every secret in force; identities exist here, in memory, and nowhere else."""
    event, subscription = parcel.event, parcel.subscription
    identified = None
    if subscription.detail is Detail.IDENTIFIED and event.identified is not None:
        identified = json.loads(keyring.open(event.identified, table="events", row=event.id, column="identified"))
    body = body_of(event.kind, event.at, data_for(subscription.detail, event.thin, event.pseudonymous, identified))
    # Both columns are sealed as `secret`: a rotation moves the current one without opening it.
    secrets = [
        parse_secret(keyring.open(sealed, table="subscriptions", row=subscription.id, column="secret").decode())
        for sealed in (subscription.secret, parcel.previous_secret)
        if sealed is not None
    ]
    return body, signed_headers(secrets, message_id=str(event.id), timestamp=timestamp, body=body)


def _judged(parcel: Parcel, outcome: Outcome, started_at: datetime) -> handlers.Outcome:
    judgement = judge(outcome)
    wait = None
    if judgement is Judgement.RETRY:
        wait = next_attempt_in(parcel.attempts_made + 1, jitter=_chance.random(), asked=outcome.retry_after)
    state = DeliveryState.PENDING if wait is not None else DeliveryState.FAILED
    report = Report(
        delivery_id=parcel.delivery_id,
        subscription_id=parcel.subscription.id,
        round=parcel.round,
        started_at=started_at,
        outcome=outcome,
        judgement=judgement,
        state=DeliveryState.DELIVERED if judgement is Judgement.DELIVERED else state,
        failure=outcome.failure,
        retry_seconds=None if wait is None else wait.total_seconds(),
        keeps_excerpt=parcel.subscription.detail is not Detail.IDENTIFIED,
    )
    if wait is None:
        return Done(report)
    return Retry(str(outcome.failure), after_seconds=wait.total_seconds(), result=report)


def _unsent(parcel: Parcel, state: DeliveryState, failure: Failure | None) -> Report:
    return Report(
        delivery_id=parcel.delivery_id,
        subscription_id=parcel.subscription.id,
        round=parcel.round,
        started_at=_MACHINE.now(),
        outcome=None,
        judgement=None,
        state=state,
        failure=failure,
        retry_seconds=None,
        keeps_excerpt=False,
    )


# A delivery that was resent by hand meanwhile belongs to its new round: an old round's failure does not touch it, an old
# round's success is a success all the same.
_UPDATE_DELIVERIES = """
UPDATE deliveries AS delivery
SET state = new.state, failure = new.failure,
    attempts_made = delivery.attempts_made + new.tried,
    next_attempt_at = CASE WHEN new.state = 'pending' THEN clock_timestamp() + make_interval(secs => new.seconds) END,
    delivered_at = CASE WHEN new.state = 'delivered' THEN clock_timestamp() END
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::float8[], $6::integer[])
     AS new (id, round, state, failure, seconds, tried)
WHERE delivery.id = new.id AND delivery.state = 'pending'
  AND (delivery.round = new.round OR new.state = 'delivered')
"""

_INSERT_ATTEMPTS = """
WITH counted AS (
    UPDATE deliveries AS delivery SET attempts_total = attempts_total + 1
    FROM unnest($2::uuid[]) AS tried (id) WHERE delivery.id = tried.id
    RETURNING delivery.id, delivery.attempts_total
)
INSERT INTO attempts (id, delivery_id, number, started_at, duration_ms, status_code, failure, excerpt)
SELECT new.id, counted.id, counted.attempts_total, new.started_at, new.duration_ms, new.status_code, new.failure, new.excerpt
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::integer[], $5::integer[], $6::text[], $7::text[])
     AS new (id, delivery_id, started_at, duration_ms, status_code, failure, excerpt)
JOIN counted ON counted.id = new.delivery_id
"""


async def record(session: AsyncSession, finished: Sequence[tuple[Job, handlers.Outcome]], /, *, now: datetime) -> None:
    """Keep the attempts, move the deliveries on, and note how their subscriptions fare."""
    reports: list[Report] = [outcome.result for _, outcome in finished if isinstance(outcome.result, Report)]
    if not reports:
        return
    # Subscriptions before deliveries: the same order as officials' verbs, so that nobody waits in a circle.
    held = await lock_subscriptions(session, list({report.subscription_id for report in reports}))
    await _keep_attempts(session, [report for report in reports if report.outcome is not None])
    connection = await driver(session)
    await connection.execute(
        _UPDATE_DELIVERIES,
        [report.delivery_id for report in reports],
        [report.round for report in reports],
        [report.state.value for report in reports],
        [report.failure.value if report.failure else None for report in reports],
        [report.retry_seconds or 0.0 for report in reports],
        [0 if report.outcome is None else 1 for report in reports],
    )
    machine_now = await database_time(session)
    for subscription_id, row in held.items():
        judgements = {report.judgement for report in reports if report.subscription_id == subscription_id}
        await _note_health(session, subscription_id, row, judgements - {None}, machine_now=machine_now, now=now)


async def _keep_attempts(session: AsyncSession, reports: Sequence[Report]) -> None:
    if not reports:
        return
    outcomes = [report.outcome for report in reports if report.outcome is not None]
    connection = await driver(session)
    await connection.execute(
        _INSERT_ATTEMPTS,
        new_ids(len(reports)),
        [report.delivery_id for report in reports],
        [report.started_at for report in reports],
        [outcome.duration_ms for outcome in outcomes],
        [outcome.status for outcome in outcomes],
        [outcome.failure.value if outcome.failure else None for outcome in outcomes],
        [outcome.excerpt if report.keeps_excerpt else None for report, outcome in zip(reports, outcomes, strict=True)],
    )


async def _note_health(
    session: AsyncSession,
    subscription_id: UUID,
    row: Any,
    judgements: set[Judgement | None],
    *,
    machine_now: datetime,
    now: datetime,
) -> None:
    """Remember since when nothing succeeds; disable what is gone or has failed for too long."""
    connection = await driver(session)
    if not judgements or not row["enabled"]:
        return
    if Judgement.DELIVERED in judgements:
        if row["failing_since"] is not None:
            await connection.execute("UPDATE subscriptions SET failing_since = NULL WHERE id = $1", subscription_id)
        reason = DisabledReason.GONE if Judgement.GONE in judgements else None
    else:
        since = row["failing_since"] or machine_now
        if row["failing_since"] is None:
            await connection.execute(
                "UPDATE subscriptions SET failing_since = $2 WHERE id = $1", subscription_id, since
            )
        failing = DisabledReason.FAILING if gives_up(since, now=machine_now) else None
        reason = DisabledReason.GONE if Judgement.GONE in judgements else failing
    if reason is None:
        return
    await connection.execute(
        "UPDATE subscriptions SET enabled = false, disabled_reason = $2 WHERE id = $1", subscription_id, reason.value
    )
    await audit.record(
        session,
        actor=SYSTEM,
        now=now,
        action="subscription.disabled",
        subject=("subscription", subscription_id),
        detail={"reason": reason.value},
    )
