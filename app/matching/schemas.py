"""A match as an epidemiologist sees it."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.core.schemas import Code, DivisionCode, Filter, Out
from app.matching.rules import MatchRole, MatchStatus, Strength


class EvidenceOut(Out):
    """How each field compares: `equal`, `differs`, or `absent` where one side lacks it or it was not compared."""

    document: str
    phone: str
    name: str
    birth_date: str


class MatchOut(Out):
    """A registration and a case that concern the same person."""

    id: UUID
    registration_id: UUID
    case_id: UUID
    pharmacy_id: UUID
    division: str
    disease: str
    role: MatchRole
    strength: Strength
    status: MatchStatus
    evidence: EvidenceOut
    rule: str
    purchased_at: datetime
    received_at: datetime
    created_at: datetime
    changed_at: datetime


class MatchFilter(Filter):
    """Which matches to show; all conditions must hold."""

    division: DivisionCode | None = Field(default=None, description="The pharmacy's, and those below it")
    status: MatchStatus | None = None
    strength: Strength | None = None
    disease: Code | None = None
    case: UUID | None = None
    registration: UUID | None = None
    pharmacy: UUID | None = None
