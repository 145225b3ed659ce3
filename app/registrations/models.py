"""Registrations and what was bought."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, LargeBinary, Numeric, SmallInteger, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.catalogue.models import ListedDrug
from app.core.database import Base, text_enum
from app.people.models import Person
from app.pharmacies.models import Pharmacy
from app.regimes.rules import RegimeKind
from app.registrations.chain import LinkKind


class Registration(Base):
    """One purchase of listed drugs by a buyer at a pharmacy at a time.

    `division` is the pharmacy's at the time of receipt. `content_digest` is a keyed hash of everything that was sent: it
    tells a repeat from a conflict without keeping the identity in plain text. The row holds the newest revision; `received_at` is
    the time of the first.
    """

    __tablename__ = "registrations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id))
    client_reference: Mapped[str] = mapped_column(String(64))
    content_digest: Mapped[bytes] = mapped_column(LargeBinary)
    revision: Mapped[int] = mapped_column(SmallInteger)
    division: Mapped[str] = mapped_column(String(12))
    regime: Mapped[RegimeKind] = mapped_column(text_enum(RegimeKind))
    buyer_id: Mapped[UUID] = mapped_column(ForeignKey(Person.id))
    patient_id: Mapped[UUID | None] = mapped_column(ForeignKey(Person.id))
    purchased_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    temperature_c: Mapped[Decimal | None] = mapped_column(Numeric(4, 2))
    patient_temperature_c: Mapped[Decimal | None] = mapped_column(Numeric(4, 2))
    symptoms: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    answers: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    checks: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    flags: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    warnings: Mapped[list[dict[str, str]] | None] = mapped_column(JSONB)
    sent_by: Mapped[UUID | None]
    sandbox: Mapped[bool] = mapped_column(server_default=text("false"))
    voided_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    void_reason: Mapped[str | None] = mapped_column(String(500))

    __table_args__ = (
        Index("uq_registrations_pharmacy_id_client_reference", "pharmacy_id", "client_reference", unique=True),
        Index(None, "pharmacy_id", "purchased_at"),
        Index(None, "buyer_id"),
        Index("ix_registrations_patient_id", "patient_id", postgresql_where=text("patient_id IS NOT NULL")),
        Index("ix_registrations_sandbox_received_at", "received_at", postgresql_where=text("sandbox")),
    )


class RegistrationItem(Base):
    """A line of a purchase that resolved to a listed drug; other lines are not kept. `line` counts from 0 as sent."""

    __tablename__ = "registration_items"

    registration_id: Mapped[UUID] = mapped_column(ForeignKey(Registration.id), primary_key=True)
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    drug_id: Mapped[UUID] = mapped_column(ForeignKey(ListedDrug.id), index=True)
    resolved_by: Mapped[str] = mapped_column(String(16))
    quantity: Mapped[int] = mapped_column(SmallInteger)
    gtin: Mapped[str | None] = mapped_column(String(14))
    approval_number: Mapped[str | None] = mapped_column(String(20))
    batch: Mapped[str | None] = mapped_column(String(40))
    trace_codes: Mapped[list[str] | None] = mapped_column(ARRAY(String(20)))


class RegistrationRevision(Base):
    """An earlier revision as it stood, and who replaced it when and why; never changed.

    `received_at` is when this revision came in. `identity_changed` says that its replacement presented another buyer or patient.
    `items` are the lines as they were kept.
    """

    __tablename__ = "registration_revisions"

    registration_id: Mapped[UUID] = mapped_column(ForeignKey(Registration.id), primary_key=True)
    revision: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    content_digest: Mapped[bytes] = mapped_column(LargeBinary)
    division: Mapped[str] = mapped_column(String(12))
    regime: Mapped[RegimeKind] = mapped_column(text_enum(RegimeKind))
    buyer_id: Mapped[UUID] = mapped_column(ForeignKey(Person.id), index=True)
    patient_id: Mapped[UUID | None] = mapped_column(ForeignKey(Person.id), index=True)
    purchased_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    temperature_c: Mapped[Decimal | None] = mapped_column(Numeric(4, 2))
    patient_temperature_c: Mapped[Decimal | None] = mapped_column(Numeric(4, 2))
    symptoms: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    answers: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    checks: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    flags: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    warnings: Mapped[list[dict[str, str]] | None] = mapped_column(JSONB)
    sent_by: Mapped[UUID | None]
    items: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    identity_changed: Mapped[bool]
    reason: Mapped[str] = mapped_column(String(500))
    replaced_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    replaced_by: Mapped[str] = mapped_column(String(100))
    replaced_by_id: Mapped[UUID | None]


class ReceiptHead(Base):
    """The last link of a pharmacy's chain. Whoever adds links holds this row, so a chain never forks."""

    __tablename__ = "receipt_heads"

    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class ReceiptLink(Base):
    """A link of a pharmacy's chain, as it was hashed; the one before has the number before.

    It points to the registration without a foreign key: the chain must stay whole when a registration's time is up and it is
    purged. Then the seed goes too, and with it the last way to try what was committed to: neither it nor the master key alone
    gives the salt.
    """

    __tablename__ = "receipt_links"

    pharmacy_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[LinkKind] = mapped_column(text_enum(LinkKind))
    registration_id: Mapped[UUID] = mapped_column(index=True)
    client_reference: Mapped[str] = mapped_column(String(64))
    revision: Mapped[int] = mapped_column(SmallInteger)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    commitment: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    key_id: Mapped[int] = mapped_column(SmallInteger)
    salt_seed: Mapped[bytes | None] = mapped_column(LargeBinary)
