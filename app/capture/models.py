"""What cases told of their purchases; when pharmacies reported, and when they did not."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, DateTime, ForeignKey, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.capture.rhythms import SilenceEnd
from app.capture.rules import Ground, PurchaseStatus
from app.cases.models import Case
from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.pharmacies.models import Pharmacy
from app.registrations.models import Registration


class DeclaredPurchase(Base):
    """A purchase that a case told an interviewer of, and what is known of it now.

    `division` is the pharmacy's, or what was told where the pharmacy is not known; `drug_key` is the drug's name as two tellings
    compare, empty where none was told. `turn` counts how often the status has changed: it tells an alert about a miss from one
    about an earlier miss of the same purchase.
    """

    __tablename__ = "declared_purchases"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    case_id: Mapped[UUID] = mapped_column(ForeignKey(Case.id))
    pharmacy_id: Mapped[UUID | None] = mapped_column(ForeignKey(Pharmacy.id))
    division: Mapped[str] = mapped_column(String(12))
    purchased_on: Mapped[date] = mapped_column(Date)
    tolerance_days: Mapped[int] = mapped_column(SmallInteger)
    drug: Mapped[str | None] = mapped_column(String(100))
    drug_key: Mapped[str] = mapped_column(String(200))
    declared_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    declared_by: Mapped[str] = mapped_column(String(100))
    status: Mapped[PurchaseStatus] = mapped_column(text_enum(PurchaseStatus))
    ground: Mapped[Ground] = mapped_column(text_enum(Ground))
    registration_id: Mapped[UUID | None] = mapped_column(ForeignKey(Registration.id))
    turn: Mapped[int] = mapped_column(SmallInteger)
    judged_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    retracted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    retracted_by: Mapped[str | None] = mapped_column(String(100))
    retract_reason: Mapped[str | None] = mapped_column(String(500))

    __table_args__ = (
        Index(
            "uq_declared_purchases_told",
            *("case_id", "pharmacy_id", "division", "purchased_on", "drug_key"),
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("retracted_at IS NULL"),
        ),
        Index(None, "case_id"),
        Index(None, "registration_id"),
        Index(None, "pharmacy_id"),
        Index(None, "division", "purchased_on", postgresql_ops={"division": "text_pattern_ops"}),
        CheckConstraint("(status = 'covered') = (registration_id IS NOT NULL)", name="covered_by"),
        CheckConstraint("(retracted_at IS NULL) = (retract_reason IS NULL)", name="retracted_why"),
    )


class ReportingDay(Base):
    """A day in China on which a registration of a pharmacy was received. Sales statements are dated by themselves."""

    __tablename__ = "reporting_days"

    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)

    __table_args__ = (Index(None, "day"),)


class PharmacySilence(Base):
    """A time in which a pharmacy that usually reports did not: at most one at a time, from the day after `last_on`.

    `expected` and `limit` are the reports that had not come when it was found, and from how many on that was no chance.
    """

    __tablename__ = "pharmacy_silences"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id))
    division: Mapped[str] = mapped_column(String(12))
    last_on: Mapped[date] = mapped_column(Date)
    expected: Mapped[float]
    limit: Mapped[float]
    found_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_by: Mapped[SilenceEnd | None] = mapped_column(text_enum(SilenceEnd))

    __table_args__ = (
        Index("uq_pharmacy_silences_open", "pharmacy_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index(None, "pharmacy_id"),
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_why"),
    )
