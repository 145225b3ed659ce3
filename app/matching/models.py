"""Matches between registrations and cases."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, SmallInteger, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.cases.models import Case
from app.core.database import Base, text_enum
from app.matching.rules import MatchRole, MatchStatus, Strength
from app.registrations.models import Registration


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
