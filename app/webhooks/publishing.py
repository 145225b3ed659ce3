"""Handing events over: rows and jobs in the transaction of what caused them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core import jobs
from app.core.database import driver
from app.core.ids import new_id, new_ids
from app.core.sealing import Keyring
from app.webhooks.kinds import EventKind

DELIVER: Final = jobs.declare("webhooks.deliver", max_attempts=10_000, laned=True)
"""One delivery; its lane is the subscription. The schedule of attempts is the delivery's own (`rules.RETRY_SCHEDULE`): the
kernel's count also grows when a worker dies or a host is busy, and must not end a delivery for that."""

_PUBLISH_LOCK: Final = 0x5E17_0800


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as its sender hands it over.

    `at` is when it happened (business time); `subject` names the thing it is about, such as `("alert", id)`. `thin` holds
    ids and counts; `pseudonymous` and `identified` hold what those levels see in addition; JSON values and UUIDs. No
    identity may stand in the first two: they are stored as they are.
    """

    kind: EventKind
    at: datetime
    division: str
    subject: tuple[str, UUID]
    thin: Mapping[str, Any]
    pseudonymous: Mapping[str, Any] = field(default_factory=dict)
    identified: Mapping[str, Any] | None = field(default=None, repr=False)
    disease: str | None = None


_RECIPIENTS = """
SELECT event.position - 1 AS event, subscription.id AS subscription_id
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS event (kind, division, disease, position)
JOIN subscriptions AS subscription
  ON subscription.enabled AND subscription.deleted_at IS NULL
 AND event.kind = ANY (subscription.kinds)
 AND starts_with(event.division, coalesce(subscription.division, ''))
 AND (cardinality(subscription.divisions) = 0
      OR EXISTS (SELECT FROM unnest(subscription.divisions) AS wanted (code) WHERE starts_with(event.division, wanted.code)))
 AND (event.disease IS NULL OR cardinality(subscription.diseases) = 0 OR event.disease = ANY (subscription.diseases))
ORDER BY event.position, subscription.id
"""

_INSERT_EVENTS = """
INSERT INTO events (id, kind, at, division, disease, subject_type, subject_id, thin, pseudonymous, identified,
                    subscription_id)
SELECT new.id, new.kind, new.at, new.division, new.disease, new.subject_type, new.subject_id, new.thin::jsonb,
       new.pseudonymous::jsonb, new.identified, $11::uuid
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[],
            $9::text[], $10::bytea[]) WITH ORDINALITY
     AS new (id, kind, at, division, disease, subject_type, subject_id, thin, pseudonymous, identified, position)
ORDER BY new.position
"""

_INSERT_DELIVERIES = """
INSERT INTO deliveries (id, event_id, subscription_id, state, next_attempt_at, created_at)
SELECT new.id, new.event_id, new.subscription_id, 'pending', clock_timestamp(), clock_timestamp()
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS new (id, event_id, subscription_id)
"""


async def publish(session: AsyncSession, events: Sequence[NewEvent], *, keyring: Keyring) -> list[UUID]:
    """Write events, their deliveries and the jobs that send them; return the events' ids, in order.

    A subscription gets an event of one of its kinds from within its divisions (and those of its owner), about one of its
    diseases or about none. Call it as the last step of the transaction and take no lock afterwards: publishers wait for
    each other until they commit, which makes the sequence of events the order in which readers see them.
    """
    if not events:
        return []
    connection = await driver(session)
    rows = await connection.fetch(
        _RECIPIENTS,
        [event.kind.name for event in events],
        [event.division for event in events],
        [event.disease for event in events],
    )
    ids = new_ids(len(events))
    await _write(connection, ids, events, keyring, only_for=None)
    await _dispatch(session, [(ids[row["event"]], row["subscription_id"]) for row in rows])
    return ids


async def publish_to(session: AsyncSession, event: NewEvent, subscription_id: UUID, *, keyring: Keyring) -> UUID:
    """Write an event for one subscription alone, whatever it subscribed to, and return its delivery's id."""
    event_id = new_id()
    await _write(await driver(session), [event_id], [event], keyring, only_for=subscription_id)
    (delivery_id,) = await _dispatch(session, [(event_id, subscription_id)])
    return delivery_id


async def enqueue_round(session: AsyncSession, delivery_id: UUID, subscription_id: UUID, number: int) -> None:
    """Enqueue the job of one round of a delivery."""
    payload = {"delivery": delivery_id, "round": number}
    await jobs.enqueue(session, DELIVER, [payload], lane=str(subscription_id))


async def _write(
    connection: Any, ids: Sequence[UUID], events: Sequence[NewEvent], keyring: Keyring, *, only_for: UUID | None
) -> None:
    sealed = [
        None
        if event.identified is None
        else keyring.seal(_json(event.identified).encode(), table="events", row=event_id, column="identified")
        for event_id, event in zip(ids, events, strict=True)
    ]
    # The lock is held until the commit is visible, so whoever gets it next takes higher numbers and is seen later.
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _PUBLISH_LOCK)
    await connection.execute(
        _INSERT_EVENTS,
        list(ids),
        [event.kind.name for event in events],
        [event.at for event in events],
        [event.division for event in events],
        [event.disease for event in events],
        [event.subject[0] for event in events],
        [event.subject[1] for event in events],
        [_json(event.thin) for event in events],
        [_json(event.pseudonymous) for event in events],
        sealed,
        only_for,
    )


async def _dispatch(session: AsyncSession, pairs: Sequence[tuple[UUID, UUID]]) -> list[UUID]:
    """Write a delivery and its job for each (event, subscription), in bounded statements."""
    connection = await driver(session)
    delivery_ids = new_ids(len(pairs))
    for start in range(0, len(pairs), jobs.MAX_JOBS_PER_CALL):
        some = pairs[start : start + jobs.MAX_JOBS_PER_CALL]
        some_ids = delivery_ids[start : start + jobs.MAX_JOBS_PER_CALL]
        await connection.execute(
            _INSERT_DELIVERIES, some_ids, [event for event, _ in some], [subscriber for _, subscriber in some]
        )
        await jobs.enqueue(
            session,
            DELIVER,
            [{"delivery": delivery_id, "round": 1} for delivery_id in some_ids],
            lane=[str(subscriber) for _, subscriber in some],
        )
    return delivery_ids


def _as_text(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} in an event")


# Made once: `json.dumps` with arguments makes an encoder for each value.
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_as_text).encode
