"""Matches between registrations and cases."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, SmallInteger, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.cases.models import Case
from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.matching.passes import Strength
from app.matching.rules import Act, MatchRole, MatchStatus
from app.registrations.models import Registration


class Match(Base):
    """A registration and a case that concern, or may concern, the same person.

    `division` is the pharmacy's. `rule` is the pass that found it, with its version. `turn` counts how often it began or ceased to
    count: it is odd while the match counts, and tells an alert about a restored match from the one about its first appearance.
    `pair` is the fingerprint of the two people, of whom reviewers speak.
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
    pair: Mapped[bytes | None] = mapped_column(LargeBinary)
    division: Mapped[str] = mapped_column(String(12))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("uq_matches_registration_id_case_id_role", "registration_id", "case_id", "role", unique=True),
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
        Index("ix_matches_pair", "pair"),
        Index("ix_matches_possible", "id", postgresql_where=text("status = 'possible'")),
    )


class Review(Base):
    """What a reviewer said of two people, on seeing one of their matches; numbered from 1 for each pair, never changed.

    `strength` is that of the match which was judged: a stronger one is a new fact.
    """

    __tablename__ = "match_reviews"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    pair: Mapped[bytes] = mapped_column(LargeBinary)
    number: Mapped[int] = mapped_column(SmallInteger)
    match_id: Mapped[UUID] = mapped_column(ForeignKey(Match.id), index=True)
    act: Mapped[Act] = mapped_column(text_enum(Act))
    strength: Mapped[Strength] = mapped_column(text_enum(Strength))
    reason: Mapped[str] = mapped_column(String(500))
    account_id: Mapped[UUID | None]
    account_name: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (Index("uq_match_reviews_pair_number", "pair", "number", unique=True),)
