"""Drug lists, their entries, and what products these are known by."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.catalogue.vocabulary import AliasKind, DrugKind
from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.divisions.models import Division


class DrugList(Base):
    """One version of one list. It holds in `division` and below from `valid_from` until the day before `valid_to`.

    A list is known by its `code`; a later version ends the one before. `published_size` says how many names the notice has,
    so that a list known only in part says so; `shipped` marks what came with the package; `digest` is the SHA-256 of the
    content, by which the same list loaded again is recognised.
    """

    __tablename__ = "drug_lists"
    __table_args__ = (
        UniqueConstraint("code", "version"),
        CheckConstraint("valid_to >= valid_from", name="period"),
        CheckConstraint("version > 0", name="version_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    name: Mapped[str] = mapped_column(String(100))
    division: Mapped[str] = mapped_column(ForeignKey(Division.code), index=True)
    valid_from: Mapped[date] = mapped_column(Date)
    valid_to: Mapped[date | None] = mapped_column(Date)
    published_size: Mapped[int | None]
    source: Mapped[str] = mapped_column(String(500))
    shipped: Mapped[bool]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    loaded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ListedDrug(Base):
    """One entry of a list, in the list's own words. `confirmed` says that a source or an authority vouches for it."""

    __tablename__ = "listed_drugs"
    __table_args__ = (UniqueConstraint("list_id", "wording"), UniqueConstraint("list_id", "position"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    list_id: Mapped[UUID] = mapped_column(ForeignKey(DrugList.id))
    position: Mapped[int]
    wording: Mapped[str] = mapped_column(String(100))
    kind: Mapped[DrugKind] = mapped_column(text_enum(DrugKind))
    name_en: Mapped[str] = mapped_column(String(200))
    syndrome: Mapped[str] = mapped_column(String(64))
    confirmed: Mapped[bool]
    source_url: Mapped[str | None] = mapped_column(String(500))


class DrugAlias(Base):
    """A code or name by which products of a listed drug are known, in the form of `rules.normal_alias`."""

    __tablename__ = "drug_aliases"
    __table_args__ = (Index("ix_drug_aliases_kind_value", "kind", "value"),)

    drug_id: Mapped[UUID] = mapped_column(ForeignKey(ListedDrug.id), primary_key=True)
    kind: Mapped[AliasKind] = mapped_column(text_enum(AliasKind), primary_key=True)
    value: Mapped[str] = mapped_column(String(100), primary_key=True)


class DrugLimit(Base):
    """How much of an entry one purchase may hold, and one buyer may buy within so many days, before somebody is told.

    It goes by the list's code and the entry's wording, so it outlives the version of the list for which it was set.
    """

    __tablename__ = "drug_limits"
    __table_args__ = (
        CheckConstraint("(most_per_buyer IS NULL) = (within_days IS NULL)", name="buyer_has_days"),
        CheckConstraint("most_per_purchase > 0 AND most_per_buyer > 0 AND within_days > 0", name="positive"),
    )

    list_code: Mapped[str] = mapped_column(String(64), primary_key=True)
    wording: Mapped[str] = mapped_column(String(100), primary_key=True)
    most_per_purchase: Mapped[int | None]
    most_per_buyer: Mapped[int | None]
    within_days: Mapped[int | None]
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class UnresolvedSightings(Base):
    """What one transaction of tills did not find in the catalogue, as arrays of one length; waits to be folded.

    Nothing links it to a purchase. Pharmacies are told later in the book, so no key points to them from here.
    """

    __tablename__ = "unresolved_sightings"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kinds: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    codes: Mapped[list[str]] = mapped_column(ARRAY(String(100)))
    pharmacies: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    divisions: Mapped[list[str]] = mapped_column(ARRAY(String(12)))
    days: Mapped[list[date]] = mapped_column(ARRAY(Date))
    drugs: Mapped[list[UUID | None]] = mapped_column(ARRAY(Uuid))
    resemble: Mapped[list[bool]] = mapped_column(ARRAY(Boolean))
    times: Mapped[list[int]] = mapped_column(ARRAY(Integer))


class UnresolvedProduct(Base):
    """A code or name that a pharmacy sent and no list knew, in the form of `rules.normal_alias`.

    `drug_id` is what such a line was last found to be by another mark; `resembles` says that a listed name stands in this
    one. `division` is the pharmacy's; days are those of the purchases.
    """

    __tablename__ = "unresolved_products"

    kind: Mapped[AliasKind] = mapped_column(text_enum(AliasKind), primary_key=True)
    value: Mapped[str] = mapped_column(String(100), primary_key=True)
    pharmacy_id: Mapped[UUID] = mapped_column(primary_key=True)
    division: Mapped[str] = mapped_column(String(12))
    drug_id: Mapped[UUID | None] = mapped_column(ForeignKey(ListedDrug.id))
    resembles: Mapped[bool]
    times: Mapped[int]
    first_seen_on: Mapped[date] = mapped_column(Date)
    last_seen_on: Mapped[date] = mapped_column(Date)

    __table_args__ = (
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
        Index(None, "pharmacy_id", "last_seen_on"),
        Index(None, "last_seen_on"),
    )
