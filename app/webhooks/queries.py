"""Looking up subscriptions, events, deliveries and attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.errors import NotFound
from app.webhooks.models import Attempt, Delivery, Event, Subscription
from app.webhooks.rules import DeliveryState


async def database_time(session: AsyncSession) -> datetime:
    """Return the database's clock, by which attempts, overlaps and patience are measured."""
    now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return now


async def get_subscription(
    session: AsyncSession, subscription_id: UUID, *, scope: str | None, for_update: bool = False
) -> Subscription:
    """Return a subscription of the caller's division or one below it.

    Raises:
        NotFound: there is none, it was deleted, or it lies outside.
    """
    query = select(Subscription).where(Subscription.id == subscription_id, Subscription.deleted_at.is_(None))
    if scope is not None:
        query = query.where(Subscription.division.startswith(scope))
    if for_update:
        # Not FOR UPDATE: publishers only refer to the row, and need not wait for a change of its URL.
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise NotFound
    return found


async def list_subscriptions(
    session: AsyncSession, *, scope: str | None, limit: int, after: UUID | None
) -> Sequence[Subscription]:
    """Return the subscriptions of a division and those below it, oldest first."""
    query = select(Subscription).where(Subscription.deleted_at.is_(None)).order_by(Subscription.id).limit(limit)
    if scope is not None:
        query = query.where(Subscription.division.startswith(scope))
    if after is not None:
        query = query.where(Subscription.id > after)
    return (await session.execute(query)).scalars().all()


async def get_delivery(
    session: AsyncSession, delivery_id: UUID, *, scope: str | None, for_update: bool = False
) -> tuple[Delivery, Event, Subscription]:
    """Return a delivery with its event and its subscription; locked together with the subscription if it is to change.

    Raises:
        NotFound: there is none, its subscription was deleted or lies outside the caller's division.
    """
    delivery = await session.get(Delivery, delivery_id)
    if delivery is None:
        raise NotFound
    subscription = await get_subscription(session, delivery.subscription_id, scope=scope, for_update=for_update)
    if for_update:
        await session.refresh(delivery, with_for_update=True)
    event = await session.get(Event, delivery.event_id)
    assert event is not None  # the foreign key says so
    return delivery, event, subscription


async def list_deliveries(
    session: AsyncSession, subscription_id: UUID, *, state: DeliveryState | None, limit: int, before: UUID | None
) -> Sequence[tuple[Delivery, str]]:
    """Return a subscription's deliveries, newest first, each with the kind of its event."""
    query = (
        select(Delivery, Event.kind)
        .join(Event, Event.id == Delivery.event_id)
        .where(Delivery.subscription_id == subscription_id)
        .order_by(Delivery.id.desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(Delivery.state == state)
    if before is not None:
        query = query.where(Delivery.id < before)
    return [(delivery, kind) for delivery, kind in await session.execute(query)]


async def attempts_of(session: AsyncSession, delivery_id: UUID) -> Sequence[Attempt]:
    """Return every attempt at a delivery, in order."""
    query = select(Attempt).where(Attempt.delivery_id == delivery_id).order_by(Attempt.number)
    return (await session.execute(query)).scalars().all()


async def list_events(session: AsyncSession, *, scope: str | None, after: int, limit: int) -> Sequence[Event]:
    """Return events behind a position, in the order of their commits; whoever reads on misses none and gets none twice.

    Test events are left out: they are for one subscription alone.
    """
    query = (
        select(Event)
        .where(Event.sequence > after, Event.subscription_id.is_(None))
        .order_by(Event.sequence)
        .limit(limit)
    )
    if scope is not None:
        query = query.where(Event.division.startswith(scope))
    return (await session.execute(query)).scalars().all()


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that is needed to send one delivery; `previous_secret` is None once it has had its time."""

    delivery_id: UUID
    round: int
    state: DeliveryState
    attempts_made: int
    event: Event
    subscription: Subscription
    previous_secret: bytes | None


async def load_parcels(session: AsyncSession, delivery_ids: Sequence[UUID]) -> dict[UUID, Parcel]:
    """Return what is needed to send these deliveries, by id, in one statement."""
    rows = await session.execute(
        select(
            Delivery.id,
            Delivery.round,
            Delivery.state,
            Delivery.attempts_made,
            Event,
            Subscription,
            Subscription.previous_secret_until > func.clock_timestamp(),
        )
        .join(Event, Event.id == Delivery.event_id)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .where(Delivery.id.in_(delivery_ids))
    )
    return {
        delivery_id: Parcel(
            delivery_id, number, state, made, event, subscription, subscription.previous_secret if overlaps else None
        )
        for delivery_id, number, state, made, event, subscription, overlaps in rows
    }


async def lock_subscriptions(session: AsyncSession, subscription_ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Lock subscriptions against other recorders and officials, in one order; return their failing_since by id."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT id, enabled, failing_since FROM subscriptions WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
        list(subscription_ids),
    )
    return {row["id"]: row for row in rows}
