"""What pharmacies stated about their sales."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.catalogue.models import ListedDrug
from app.core.database import Base
from app.core.ids import new_id
from app.pharmacies.models import Pharmacy


class SalesStatement(Base):
    """What a pharmacy says it sold on a day, in full. Never changed, but for `in_force`, which a later statement takes.

    `division` is the pharmacy's at the time of receipt; `lines` counts all lines that were sent, of which the listed ones are
    kept; `stated_at` is the till's own time, if it told one; `content_digest` tells a repeat from another statement.
    """

    __tablename__ = "sales_statements"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id))
    day: Mapped[date] = mapped_column(Date)
    revision: Mapped[int] = mapped_column(SmallInteger)
    division: Mapped[str] = mapped_column(String(12))
    in_force: Mapped[bool]
    stated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    lines: Mapped[int] = mapped_column(SmallInteger)
    warnings: Mapped[list[dict[str, str]]] = mapped_column(JSONB)
    content_digest: Mapped[bytes] = mapped_column(LargeBinary)
    sent_by: Mapped[UUID | None]

    __table_args__ = (
        UniqueConstraint("pharmacy_id", "day", "revision"),
        Index(
            "uq_sales_statements_in_force",
            "pharmacy_id",
            "day",
            unique=True,
            postgresql_where=text("in_force"),
        ),
        Index(None, "division", "day", postgresql_ops={"division": "text_pattern_ops"}),
    )


class SalesItem(Base):
    """A line of a statement that resolved to a listed drug. `line` counts from 0 as sent; two lines may mean one drug."""

    __tablename__ = "sales_items"

    statement_id: Mapped[UUID] = mapped_column(ForeignKey(SalesStatement.id), primary_key=True)
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    drug_id: Mapped[UUID] = mapped_column(ForeignKey(ListedDrug.id), index=True)
    quantity: Mapped[int] = mapped_column(Integer)

    __table_args__ = (CheckConstraint("quantity >= 0", name="quantity_not_negative"),)
