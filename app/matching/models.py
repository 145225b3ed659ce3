"""Matches between registrations and cases."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, SmallInteger, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.cases.models import Case
from app.core.database import Base, text_enum
from app.registrations.models import Registration


class MatchRole(StrEnum):
    """As whom the case appears in the registration."""

    BUYER = "buyer"
    PATIENT = "patient"


class Strength(StrEnum):
    """How much a match is worth."""

    CERTAIN = "certain"
    """The same document."""
    STRONG = "strong"
    """The same phone and the same name."""


class MatchStatus(StrEnum):
    """Where a match stands."""

    COUNTED = "counted"
    """It holds and counts at once."""
    WITHDRAWN = "withdrawn"
    """The facts no longer bear it out; it counts again when they do."""


class Match(Base):
    """A registration and a case that concern the same person.

    `division` is the pharmacy's. `turn` counts how often the status has changed: it tells an alert about a restored match from
    the one about its first appearance.
    """

    __tablename__ = "matches"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    registration_id: Mapped[UUID] = mapped_column(ForeignKey(Registration.id))
    case_id: Mapped[UUID] = mapped_column(ForeignKey(Case.id), index=True)
    role: Mapped[MatchRole] = mapped_column(text_enum(MatchRole))
    strength: Mapped[Strength] = mapped_column(text_enum(Strength))
    status: Mapped[MatchStatus] = mapped_column(text_enum(MatchStatus))
    turn: Mapped[int] = mapped_column(SmallInteger)
    evidence: Mapped[dict[str, Any]] = mapped_column(JSONB)
    rule: Mapped[str] = mapped_column(String(32))
    division: Mapped[str] = mapped_column(String(12))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("uq_matches_registration_id_case_id_role", "registration_id", "case_id", "role", unique=True),
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
    )
