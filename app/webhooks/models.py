"""What is kept: who subscribed to what, events in the order of their commits, deliveries and every attempt at one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.models import Account
from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.webhooks.addresses import MAX_URL_LENGTH
from app.webhooks.rules import DeliveryState, Detail, DisabledReason, Failure, Scheme

_NONE = text("'{}'")


class Subscription(Base):
    """An endpoint of somebody's, and what it is to be told.

    `division` is its owner's when it was made: it bounds what is sent, whatever `divisions` asks for, and says whose
    officials see it (None: the whole country). Empty `divisions` and `diseases` mean all. Secrets are sealed; the previous
    one signs as well until `previous_secret_until`. A deleted one keeps its row, without its secrets, for the record.
    """

    __tablename__ = "subscriptions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id), index=True)
    division: Mapped[str | None] = mapped_column(String(12))
    url: Mapped[str] = mapped_column(String(MAX_URL_LENGTH))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(String(64)))
    divisions: Mapped[list[str]] = mapped_column(ARRAY(String(12)), server_default=_NONE)
    diseases: Mapped[list[str]] = mapped_column(ARRAY(String(64)), server_default=_NONE)
    detail: Mapped[Detail] = mapped_column(text_enum(Detail))
    description: Mapped[str | None] = mapped_column(String(500))
    scheme: Mapped[Scheme] = mapped_column(text_enum(Scheme))
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    public_key: Mapped[str | None] = mapped_column(String(64))
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[DisabledReason | None] = mapped_column(text_enum(DisabledReason))
    # Of the first failed attempt since the last success; by the database's clock, like every time of a delivery.
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("cardinality(kinds) > 0", name="kinds"),
        CheckConstraint("enabled = (disabled_reason IS NULL)", name="disabled_reason_given"),
        CheckConstraint("deleted_at IS NOT NULL OR secret IS NOT NULL", name="secret_held"),
    )


class Event(Base):
    """One thing that happened, as it is told. `sequence` is the order of commits, without promise of being gapless.

    `thin`, `pseudonymous` and `identified` each add members to the one before; the last is sealed. An event with a
    `subscription_id` is for that subscription alone (a test).
    """

    __tablename__ = "events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    sequence: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    kind: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    division: Mapped[str] = mapped_column(String(12))
    disease: Mapped[str | None] = mapped_column(String(64))
    subject_type: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[UUID]
    thin: Mapped[dict[str, Any]] = mapped_column(JSONB)
    pseudonymous: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    identified: Mapped[bytes | None] = mapped_column(LargeBinary)
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey(Subscription.id), index=True)


class Delivery(Base):
    """One event on its way to one subscriber.

    `round` counts how often it was sent anew by hand: a job of an earlier round finds that it is out of date and ends.
    `attempts_made` counts within the round, `attempts_total` for ever. Times are the database's.
    """

    __tablename__ = "deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    event_id: Mapped[UUID] = mapped_column(ForeignKey(Event.id))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey(Subscription.id))
    state: Mapped[DeliveryState] = mapped_column(text_enum(DeliveryState))
    failure: Mapped[Failure | None] = mapped_column(text_enum(Failure))
    round: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    attempts_made: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    attempts_total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_attempt_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        UniqueConstraint("event_id", "subscription_id"),
        Index("ix_deliveries_subscription_id_id", "subscription_id", "id"),
        CheckConstraint("(state = 'pending') = (next_attempt_at IS NOT NULL)", name="next_attempt_known"),
        CheckConstraint("(state = 'delivered') = (delivered_at IS NOT NULL)", name="delivered_known"),
    )


class Attempt(Base):
    """One try at a delivery, and what came back. Rows are added, never changed."""

    __tablename__ = "attempts"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey(Delivery.id))
    number: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    duration_ms: Mapped[int] = mapped_column(Integer)
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    failure: Mapped[Failure | None] = mapped_column(text_enum(Failure))
    # The beginning of the answer. None for identified subscriptions: a subscriber may echo what it was sent.
    excerpt: Mapped[str | None] = mapped_column(String(1024))

    __table_args__ = (UniqueConstraint("delivery_id", "number"),)
