"""Drug lists, their entries, and what products these are known by."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, DateTime, ForeignKey, Index, LargeBinary, String, UniqueConstraint
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
