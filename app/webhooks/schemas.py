"""Subscriptions, deliveries and events as a caller writes and reads them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from app.core.schemas import Code, DivisionCode, LongText, Model, Out
from app.webhooks.addresses import MAX_URL_LENGTH
from app.webhooks.rules import DeliveryState, Detail, DisabledReason, Failure, Scheme

Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_LENGTH)]
KindName = Annotated[str, StringConstraints(pattern=r"^[a-z_]+\.[a-z_]+$", max_length=64)]
Kinds = Annotated[list[KindName], Field(min_length=1, max_length=32)]
Divisions = Annotated[list[DivisionCode], Field(max_length=100)]
Diseases = Annotated[list[Code], Field(max_length=100)]


class SubscriptionIn(Model):
    """An endpoint, and what it is to be told."""

    url: Url = Field(
        description="https to a public address; plain http only to networks that the operators have opened"
    )
    kinds: Kinds = Field(description="Kinds of event, such as `case.matched`")
    divisions: Divisions = Field(default_factory=list, description="Within your own; empty: all of your own")
    diseases: Diseases = Field(default_factory=list, description="Empty: all. Events about no disease are always sent")
    detail: Detail = Field(default=Detail.THIN, description="`identified` needs the permission to see identities")
    description: LongText | None = None
    scheme: Scheme = Field(default=Scheme.V1, description="`v1`: HMAC-SHA256; `v1a`: Ed25519, you get the public key")


class SubscriptionPatch(Model):
    """What is to change; a member that is absent or null stays as it is."""

    url: Url | None = None
    kinds: Kinds | None = None
    divisions: Divisions | None = None
    diseases: Diseases | None = None
    detail: Detail | None = None
    description: LongText | None = None
    enabled: bool | None = Field(default=None, description="true also ends an automatic disabling")


class SubscriptionOut(Out):
    """A subscription, without its secret."""

    id: UUID
    url: str
    kinds: list[str]
    divisions: list[str]
    diseases: list[str]
    detail: Detail
    description: str | None
    scheme: Scheme
    public_key: str | None = Field(description="`whpk_…` of a `v1a` subscription")
    previous_secret_until: datetime | None = Field(
        description="Until then the secret before the last rotation signs too"
    )
    enabled: bool
    disabled_reason: DisabledReason | None
    failing_since: datetime | None = Field(description="First failed attempt since the last success")
    created_at: datetime


class SecretOut(Out):
    """A subscription's new secret. It is shown this once."""

    subscription: SubscriptionOut
    secret: str | None = Field(description="`whsec_…`; null for `v1a`, which is verified with the public key")


class SubscriptionCreated(SubscriptionOut):
    """A new subscription with its secret, which is shown this once."""

    secret: str | None = Field(description="`whsec_…`; null for `v1a`, which is verified with the public key")


class DeliveryOut(Out):
    """An event on its way to one subscriber."""

    id: UUID
    event_id: UUID = Field(description="The `webhook-id` of every attempt")
    subscription_id: UUID
    kind: str
    state: DeliveryState
    failure: Failure | None = Field(description="Of the last attempt")
    attempt_count: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime


class AttemptOut(Out):
    """One try, and what came back."""

    number: int
    started_at: datetime
    duration_ms: int
    status_code: int | None
    failure: Failure | None
    excerpt: str | None = Field(description="Beginning of the answer, 1 KiB at most; not kept for `identified`")


class DeliveryDetailOut(DeliveryOut):
    """A delivery with every attempt."""

    attempts: list[AttemptOut]


class EventFilter(Model):
    """Where to read on, and how much to see."""

    after: int = Field(default=0, ge=0, le=2**63 - 1, description="`next_cursor` of the page before")
    limit: int = Field(default=100, ge=1, le=500)
    detail: Literal[Detail.THIN, Detail.PSEUDONYMOUS] = Detail.THIN


class EventOut(Out):
    """An event; `id` is the `webhook-id` under which it was delivered."""

    id: UUID
    type: str
    timestamp: datetime
    division: str
    disease: str | None
    data: dict[str, Any]


class EventPage(Out):
    """Events in the order of their commits. `next_cursor` is always there: ask again with it for what comes later."""

    items: list[EventOut]
    next_cursor: str
