"""A match as an epidemiologist sees it."""

from datetime import date, datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from pydantic import Field

from app.cases.rules import Classification
from app.core.schemas import Code, DivisionCode, Filter, Model, Out, Reason
from app.matching.passes import Strength
from app.matching.rules import Act, MatchRole, MatchStatus

PassName = Literal["document", "phone_name", "near_document", "name_birth_city", "phone_sound", "phone_shape"]
"""The passes (`passes.py`), by name."""


class EvidenceOut(Out):
    """How each field compares: `equal`, `near` (one slip apart, or alike in sound or shape), `differs`, or `absent` where one
    side lacks it or it was not compared.
    """

    document: str
    phone: str
    name: str
    birth_date: str


class ReviewOut(Out):
    """What a reviewer said of the two people, who it was and why. It holds for all their matches."""

    act: Act
    reason: str
    account_name: str
    at: datetime
    match_id: UUID


class MatchOut(Out):
    """A registration and a case that concern, or may concern, the same person.

    `rule` is the pass that found it and its version; `person_id` is whom the pharmacy registered, `case_person_id` whom the authority
    listed: both can be revealed for a purpose. `reviews` are all that was ever said of these two, the first one first.
    """

    id: UUID
    registration_id: UUID
    case_id: UUID
    pharmacy_id: UUID
    division: str
    disease: str
    authority: str
    case_number: str
    classification: Classification
    onset_on: date | None
    person_id: UUID
    case_person_id: UUID
    role: MatchRole
    strength: Strength
    status: MatchStatus
    evidence: EvidenceOut
    rule: str
    purchased_at: datetime
    received_at: datetime
    created_at: datetime
    changed_at: datetime
    reviews: list[ReviewOut]


class ReviewIn(Model):
    """Why two people are one, or two, or to be looked at again. Kept in plain text; it must name nobody."""

    reason: Reason


class Order(StrEnum):
    """In which order matches are listed."""

    NEWEST = "newest"
    OLDEST = "oldest"


class MatchFilter(Filter):
    """Which matches to show; all conditions must hold."""

    division: DivisionCode | None = Field(default=None, description="The pharmacy's, and those below it")
    status: MatchStatus | None = None
    strength: Strength | None = None
    found_by: PassName | None = Field(default=None, description="The pass, whatever its version")
    disease: Code | None = None
    case: UUID | None = None
    registration: UUID | None = None
    pharmacy: UUID | None = None
    order: Order = Field(default=Order.NEWEST, description="`oldest` first is how a queue is worked through")
