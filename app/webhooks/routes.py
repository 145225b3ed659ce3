"""Subscriptions, deliveries, and the same events by polling."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Response, status

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.errors import AppError
from app.core.http import Built, Keys, Now, Router, Transaction
from app.core.pagination import Page, Paging
from app.webhooks import queries, service
from app.webhooks.addresses import AddressPolicy
from app.webhooks.messages import data_for
from app.webhooks.models import Delivery
from app.webhooks.rules import DeliveryState
from app.webhooks.schemas import (
    AttemptOut,
    DeliveryDetailOut,
    DeliveryOut,
    EventFilter,
    EventOut,
    EventPage,
    SecretOut,
    SubscriptionCreated,
    SubscriptionIn,
    SubscriptionOut,
    SubscriptionPatch,
)

router = Router(prefix="/v1", tags=["webhooks"])

Manager = Annotated[Actor, Depends(requires(Permission.MANAGE_SUBSCRIPTIONS))]
Reader = Annotated[Actor, Depends(requires(Permission.READ_EVENTS))]


def _policy(built: Built) -> AddressPolicy:
    return AddressPolicy(built.settings.webhook_allowed_networks)


Policy = Annotated[AddressPolicy, Depends(_policy)]


def _conflict(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    return {409: {"description": "; ".join(error.title for error in errors)}}


@router.get("/subscriptions")
async def list_subscriptions(session: Transaction, actor: Manager, paging: Paging) -> Page[SubscriptionOut]:
    """List the subscriptions of your division and those below it, oldest first."""
    rows = await queries.list_subscriptions(
        session, scope=actor.division, limit=paging.wanted, after=paging.after(UUID)
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=[SubscriptionOut.model_validate(row) for row in shown], next_cursor=cursor)


@router.post("/subscriptions", status_code=status.HTTP_201_CREATED, responses=_conflict(service.TooManySubscriptions))
async def create_subscription(
    session: Transaction, actor: Manager, now: Now, keyring: Keys, policy: Policy, wanted: SubscriptionIn
) -> SubscriptionCreated:
    """Subscribe an endpoint. The secret is in this answer and in no other."""
    made = await service.create_subscription(session, wanted, actor=actor, now=now, keyring=keyring, policy=policy)
    return SubscriptionCreated(**SubscriptionOut.model_validate(made.subscription).model_dump(), secret=made.secret)


@router.get("/subscriptions/{subscription_id}")
async def get_subscription(session: Transaction, actor: Manager, subscription_id: UUID) -> SubscriptionOut:
    """Show one subscription."""
    found = await queries.get_subscription(session, subscription_id, scope=actor.division)
    return SubscriptionOut.model_validate(found)


@router.patch("/subscriptions/{subscription_id}")
async def change_subscription(
    session: Transaction, actor: Manager, now: Now, policy: Policy, subscription_id: UUID, wanted: SubscriptionPatch
) -> SubscriptionOut:
    """Change a subscription, disable it, or enable it again."""
    changed = await service.change_subscription(session, subscription_id, wanted, actor=actor, now=now, policy=policy)
    return SubscriptionOut.model_validate(changed)


@router.delete("/subscriptions/{subscription_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_subscription(session: Transaction, actor: Manager, now: Now, subscription_id: UUID) -> None:
    """End a subscription for good; deliveries that are still pending are cancelled."""
    await service.delete_subscription(session, subscription_id, actor=actor, now=now)


@router.post("/subscriptions/{subscription_id}/rotate-secret")
async def rotate_secret(
    session: Transaction, actor: Manager, now: Now, keyring: Keys, subscription_id: UUID
) -> SecretOut:
    """Make a new secret. For 24 hours every event is signed with the old one too."""
    made = await service.rotate_secret(session, subscription_id, actor=actor, now=now, keyring=keyring)
    return SecretOut(subscription=SubscriptionOut.model_validate(made.subscription), secret=made.secret)


@router.post(
    "/subscriptions/{subscription_id}/test",
    status_code=status.HTTP_202_ACCEPTED,
    responses=_conflict(service.SubscriptionDisabled),
)
async def send_test_event(
    session: Transaction, actor: Manager, now: Now, keyring: Keys, subscription_id: UUID
) -> DeliveryDetailOut:
    """Send an event `subscription.tested` to this endpoint; look at the delivery to see what came of it."""
    delivery_id = await service.send_test_event(session, subscription_id, actor=actor, now=now, keyring=keyring)
    return await _detail(session, actor, delivery_id)


@router.get("/subscriptions/{subscription_id}/deliveries")
async def list_deliveries(
    session: Transaction,
    actor: Manager,
    subscription_id: UUID,
    paging: Paging,
    state: DeliveryState | None = None,
) -> Page[DeliveryOut]:
    """List a subscription's deliveries, newest first."""
    await queries.get_subscription(session, subscription_id, scope=actor.division)
    rows = await queries.list_deliveries(
        session,
        subscription_id,
        state=state,
        limit=paging.wanted,
        before=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row[0].id,))
    return Page(items=[DeliveryOut(**_members(delivery, kind)) for delivery, kind in shown], next_cursor=cursor)


@router.get("/deliveries/{delivery_id}")
async def get_delivery(session: Transaction, actor: Manager, delivery_id: UUID) -> DeliveryDetailOut:
    """Show a delivery with every attempt."""
    return await _detail(session, actor, delivery_id)


@router.post(
    "/deliveries/{delivery_id}/resend",
    status_code=status.HTTP_202_ACCEPTED,
    responses=_conflict(service.SubscriptionDisabled),
)
async def resend_delivery(session: Transaction, actor: Manager, now: Now, delivery_id: UUID) -> DeliveryDetailOut:
    """Send a delivery again at once: same id, same body, new signature."""
    await service.resend_delivery(session, delivery_id, actor=actor, now=now)
    return await _detail(session, actor, delivery_id)


@router.get("/events")
async def list_events(
    session: Transaction,
    actor: Reader,
    filters: Annotated[EventFilter, Query()],
    request: Request,
    response: Response,
) -> EventPage:
    """List events of your division behind a position, in a stable and complete order; ask again with `next_cursor`."""
    rows = await queries.list_events(session, scope=actor.division, after=filters.after, limit=filters.limit)
    cursor = str(rows[-1].sequence if rows else filters.after)
    if len(rows) == filters.limit:
        next_url = request.url.include_query_params(after=cursor).replace(scheme="", netloc="")
        response.headers["Link"] = f'<{next_url}>; rel="next"'
    items = [
        EventOut(
            id=row.id,
            type=row.kind,
            timestamp=row.at,
            division=row.division,
            disease=row.disease,
            data=data_for(filters.detail, row.thin, row.pseudonymous, None),
        )
        for row in rows
    ]
    return EventPage(items=items, next_cursor=cursor)


async def _detail(session: Transaction, actor: Actor, delivery_id: UUID) -> DeliveryDetailOut:
    delivery, event, _ = await queries.get_delivery(session, delivery_id, scope=actor.division)
    attempts = await queries.attempts_of(session, delivery_id)
    return DeliveryDetailOut(
        **_members(delivery, event.kind), attempts=[AttemptOut.model_validate(row) for row in attempts]
    )


def _members(delivery: Delivery, kind: str) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "subscription_id": delivery.subscription_id,
        "kind": kind,
        "state": delivery.state,
        "failure": delivery.failure,
        "attempt_count": delivery.attempts_total,
        "next_attempt_at": delivery.next_attempt_at,
        "delivered_at": delivery.delivered_at,
        "created_at": delivery.created_at,
    }
