"""Cases and how they were classified."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.cases.rules import Classification
from app.core.database import Base, text_enum
from app.divisions.models import Division
from app.people.models import Person


class Case(Base):
    """A person on an authority's list for one disease. `received_at` and `updated_at` are the server's times."""

    __tablename__ = "cases"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    authority: Mapped[str] = mapped_column(String(64))
    case_number: Mapped[str] = mapped_column(String(64))
    disease: Mapped[str] = mapped_column(String(64))
    person_id: Mapped[UUID] = mapped_column(ForeignKey(Person.id), index=True)
    classification: Mapped[Classification] = mapped_column(text_enum(Classification))
    onset_on: Mapped[date | None]
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    division: Mapped[str] = mapped_column(ForeignKey(Division.code))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("uq_cases_authority_case_number", "authority", "case_number", unique=True),
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
        CheckConstraint("(classification = 'confirmed') = (confirmed_at IS NOT NULL)", name="confirmed_when"),
    )


class CaseClassification(Base):
    """One classification of a case, numbered from 1; never changed. `reason` is null where a list brought it."""

    __tablename__ = "case_classifications"

    case_id: Mapped[UUID] = mapped_column(ForeignKey(Case.id), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    classification: Mapped[Classification] = mapped_column(text_enum(Classification))
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None] = mapped_column(String(500))
    recorded_by: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
