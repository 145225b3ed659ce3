"""What can be done with subscriptions and deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor, Permission
from app.core.errors import AppError, FieldError, InvalidRequest, OutOfDivision
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.divisions.queries import DIVISIONS
from app.divisions.rules import within
from app.webhooks.addresses import AddressPolicy, refuse_url
from app.webhooks.kinds import TESTED, declared_kinds
from app.webhooks.models import Delivery, Subscription
from app.webhooks.publishing import NewEvent, enqueue_round, publish_to
from app.webhooks.queries import database_time, get_delivery, get_subscription
from app.webhooks.rules import ROTATION_OVERLAP, DeliveryState, Detail, DisabledReason, Scheme
from app.webhooks.schemas import SubscriptionIn, SubscriptionPatch
from app.webhooks.signing import PrivateKey, SigningSecret, new_private_key, new_shared_secret

MAX_SUBSCRIPTIONS: Final = 100
"""Of one account; each multiplies what every event costs."""


class IdentifiedNotAllowed(AppError):
    """The subscription tells identities (`detail` is `identified`), and the caller's role may not see them."""

    status, code, title = 403, "identified_not_allowed", "This role may not see identities"


class SubscriptionDisabled(AppError):
    """Nothing is sent to a disabled subscription; enable it first."""

    status, code, title = 409, "subscription_disabled", "The subscription is disabled"


class TooManySubscriptions(AppError):
    """The account has as many subscriptions as one may have; delete one that is not needed any more."""

    status, code, title = 409, "too_many_subscriptions", "Too many subscriptions"


@dataclass(frozen=True, slots=True)
class WithSecret:
    """A subscription and its new secret, which is shown this once; None for `v1a`."""

    subscription: Subscription
    secret: str | None


async def create_subscription(
    session: AsyncSession,
    wanted: SubscriptionIn,
    *,
    actor: Actor,
    now: datetime,
    keyring: Keyring,
    policy: AddressPolicy,
) -> WithSecret:
    """Subscribe an endpoint to kinds of event within the actor's division.

    Raises:
        InvalidRequest: the URL, a kind or a division will not do; each with a pointer.
        OutOfDivision: a division lies outside the actor's.
        IdentifiedNotAllowed, TooManySubscriptions.
    """
    assert actor.account_id is not None  # routes are guarded by keys, and keys belong to accounts
    if wanted.detail is Detail.IDENTIFIED:
        _insist_on_identified(actor)
    await _check(session, wanted, scope=actor.division, policy=policy)
    held = select(func.count()).where(Subscription.owner_id == actor.account_id, Subscription.deleted_at.is_(None))
    if (await session.execute(held)).scalar_one() >= MAX_SUBSCRIPTIONS:
        raise TooManySubscriptions(f"At most {MAX_SUBSCRIPTIONS}")
    subscription = Subscription(
        id=new_id(),
        owner_id=actor.account_id,
        division=actor.division,
        url=wanted.url,
        kinds=sorted(set(wanted.kinds)),
        divisions=_narrowed(wanted.divisions, actor.division),
        diseases=sorted(set(wanted.diseases)),
        detail=wanted.detail,
        description=wanted.description,
        scheme=wanted.scheme,
        enabled=True,
        created_at=now,
    )
    secret = _give_secret(subscription, keyring)
    session.add(subscription)
    await session.flush()
    await _note(
        session, subscription, "subscription.created", actor=actor, now=now, detail={"detail": wanted.detail.value}
    )
    return WithSecret(subscription, secret)


async def change_subscription(
    session: AsyncSession,
    subscription_id: UUID,
    wanted: SubscriptionPatch,
    *,
    actor: Actor,
    now: datetime,
    policy: AddressPolicy,
) -> Subscription:
    """Change what a subscription is told, where, and whether; enabling it forgets its failures.

    Raises:
        NotFound, InvalidRequest, OutOfDivision, IdentifiedNotAllowed: as for creating.
    """
    subscription = await _managed(session, subscription_id, actor)
    if wanted.detail is Detail.IDENTIFIED:
        _insist_on_identified(actor)
    await _check(session, wanted, scope=subscription.division, policy=policy)
    given = wanted.model_dump(exclude_none=True)
    enabled = given.pop("enabled", None)
    for name, value in given.items():
        if name == "divisions":
            value = _narrowed(value, subscription.division)
        setattr(subscription, name, sorted(set(value)) if isinstance(value, list) else value)
    if enabled is not None and enabled is not subscription.enabled:
        subscription.enabled = enabled
        subscription.disabled_reason = None if enabled else DisabledReason.OWNER
        subscription.failing_since = None
        given["enabled"] = enabled
    await session.flush()
    # Names of what changed, not values: a URL may hold a token.
    await _note(session, subscription, "subscription.changed", actor=actor, now=now, detail={"changed": sorted(given)})
    return subscription


async def delete_subscription(session: AsyncSession, subscription_id: UUID, *, actor: Actor, now: datetime) -> None:
    """End a subscription for good: its secrets are erased, what is still pending will be cancelled.

    Raises:
        NotFound, IdentifiedNotAllowed.
    """
    subscription = await _managed(session, subscription_id, actor)
    subscription.deleted_at = now
    subscription.secret = subscription.previous_secret = subscription.previous_secret_until = None
    await session.flush()
    await _note(session, subscription, "subscription.deleted", actor=actor, now=now)


async def rotate_secret(
    session: AsyncSession, subscription_id: UUID, *, actor: Actor, now: datetime, keyring: Keyring
) -> WithSecret:
    """Give a subscription a new secret; the old one signs as well for 24 hours, one that is older still no more.

    Raises:
        NotFound, IdentifiedNotAllowed.
    """
    subscription = await _managed(session, subscription_id, actor)
    subscription.previous_secret = subscription.secret
    subscription.previous_secret_until = await database_time(session) + ROTATION_OVERLAP
    secret = _give_secret(subscription, keyring)
    await session.flush()
    await _note(session, subscription, "subscription.secret_rotated", actor=actor, now=now)
    return WithSecret(subscription, secret)


async def send_test_event(
    session: AsyncSession, subscription_id: UUID, *, actor: Actor, now: datetime, keyring: Keyring
) -> UUID:
    """Send an event `subscription.tested` to this subscription alone; return its delivery's id.

    Raises:
        NotFound, IdentifiedNotAllowed, SubscriptionDisabled.
    """
    subscription = await _managed(session, subscription_id, actor)
    if not subscription.enabled:
        raise SubscriptionDisabled
    await _note(session, subscription, "subscription.tested", actor=actor, now=now)
    event = NewEvent(
        kind=TESTED,
        at=now,
        division=(subscription.divisions or [subscription.division or ""])[0],
        subject=("subscription", subscription.id),
        thin={"subscription_id": str(subscription.id)},
    )
    return await publish_to(session, event, subscription.id, keyring=keyring)


async def resend_delivery(session: AsyncSession, delivery_id: UUID, *, actor: Actor, now: datetime) -> Delivery:
    """Send a delivery again at once, with the whole schedule before it, whatever became of it.

    Raises:
        NotFound, IdentifiedNotAllowed, SubscriptionDisabled.
    """
    delivery, _, subscription = await get_delivery(session, delivery_id, scope=actor.division, for_update=True)
    if subscription.detail is Detail.IDENTIFIED:
        _insist_on_identified(actor)
    if not subscription.enabled:
        raise SubscriptionDisabled
    delivery.round += 1
    delivery.attempts_made = 0
    delivery.state = DeliveryState.PENDING
    delivery.failure = delivery.delivered_at = None
    delivery.next_attempt_at = await database_time(session)
    await session.flush()
    await enqueue_round(session, delivery.id, subscription.id, delivery.round)
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="delivery.resent",
        subject=("delivery", delivery.id),
        division=subscription.division,
    )
    return delivery


async def _managed(session: AsyncSession, subscription_id: UUID, actor: Actor) -> Subscription:
    """Return the subscription, locked; whoever may not see identities may not redirect them either."""
    subscription = await get_subscription(session, subscription_id, scope=actor.division, for_update=True)
    if subscription.detail is Detail.IDENTIFIED:
        _insist_on_identified(actor)
    return subscription


def _insist_on_identified(actor: Actor) -> None:
    if not actor.may(Permission.SUBSCRIBE_IDENTIFIED):
        raise IdentifiedNotAllowed


def _narrowed(divisions: Sequence[str], scope: str | None) -> list[str]:
    """Sorted and once each; none means all of the scope."""
    return sorted(set(divisions)) or ([] if scope is None else [scope])


async def _check(
    session: AsyncSession, wanted: SubscriptionIn | SubscriptionPatch, *, scope: str | None, policy: AddressPolicy
) -> None:
    found: list[FieldError] = []
    refusal = None if wanted.url is None else refuse_url(wanted.url, policy)
    if refusal is not None:
        found.append(FieldError("/url", refusal.code, refusal.detail))
    kinds = declared_kinds().keys() - {TESTED.name}
    for index, kind in enumerate(wanted.kinds or ()):
        if kind not in kinds:
            found.append(FieldError(f"/kinds/{index}", "unknown_kind", f"One of {', '.join(sorted(kinds))}"))
    if wanted.divisions:
        gazetteer = await DIVISIONS.get(session)
        for index, code in enumerate(wanted.divisions):
            if not gazetteer.known(code):
                found.append(FieldError(f"/divisions/{index}", "division_unknown", "There is no such division"))
    if found:
        raise InvalidRequest(errors=found)
    if not all(within(code, scope) for code in wanted.divisions or ()):
        raise OutOfDivision


def _give_secret(subscription: Subscription, keyring: Keyring) -> str | None:
    """Seal a new secret into the subscription; return what its owner is shown."""
    secret: SigningSecret = new_private_key() if subscription.scheme is Scheme.V1A else new_shared_secret()
    subscription.secret = keyring.seal(
        secret.text().encode(), table="subscriptions", row=subscription.id, column="secret"
    )
    if isinstance(secret, PrivateKey):
        subscription.public_key = secret.public_key.text()
        return None
    return secret.text()


async def _note(
    session: AsyncSession,
    subscription: Subscription,
    action: str,
    *,
    actor: Actor,
    now: datetime,
    detail: dict[str, object] | None = None,
) -> None:
    await audit.record(
        session,
        actor=actor,
        now=now,
        action=action,
        subject=("subscription", subscription.id),
        division=subscription.division,
        detail=detail,
    )
