"""When a registration and a case concern the same person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from app.cases.rules import Classification
from app.core.clock import china_day
from app.people.documents import DocumentType


class MatchRole(StrEnum):
    """As whom the case appears in the registration."""

    BUYER = "buyer"
    PATIENT = "patient"


Key = tuple[UUID, UUID, MatchRole]
"""What names a match: registration, case and role."""


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


COUNTING = frozenset({MatchStatus.COUNTED})
"""In which statuses a match counts."""


class Agreement(StrEnum):
    """How one field compares."""

    EQUAL = "equal"
    DIFFERS = "differs"
    ABSENT = "absent"
    """One side does not have it, or it was not compared."""


@dataclass(frozen=True, slots=True)
class MatchingPolicy:
    """How far a purchase may lie from a case's onset (else confirmation), in calendar days in China; both ends included.

    14 days is the longest incubation that the notices of 2021 reckon with; people buy until well after onset. (Choice.)
    """

    version: str = "2026-1"
    lookback_days: int = 14
    after_days: int = 30


POLICY = MatchingPolicy()


@dataclass(frozen=True, slots=True)
class Marks:
    """The keyed hashes of what was presented; None is what was not. Missing never equals missing."""

    document: bytes | None
    document_type: str | None
    phone: bytes | None
    name: bytes | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Why two presentations are the same person: the strength, and how each field compares."""

    strength: Strength
    evidence: Mapping[str, Agreement]


def compare(one: Marks, other: Marks) -> Finding | None:
    """Return why two presentations are the same person, or None if nothing says so.

    The same document is certain. The same phone and name are strong – unless both showed a resident identity number
    and these differ: the check character catches every single slip, so they are two people. (Passports and permits are
    renewed under new numbers, so those may differ.)
    """
    evidence = {
        "document": _agreement(one.document, other.document),
        "phone": _agreement(one.phone, other.phone),
        "name": _agreement(one.name, other.name),
        # Read from the document where that has one; not compared by itself.
        "birth_date": Agreement.ABSENT,
    }
    if evidence["document"] is Agreement.EQUAL:
        # An insurance card that bears a resident number is the same document as the resident's own.
        if DocumentType.RESIDENT_ID in (one.document_type, other.document_type):
            evidence["birth_date"] = Agreement.EQUAL
        return Finding(Strength.CERTAIN, evidence)
    two_people = evidence["document"] is Agreement.DIFFERS and (
        one.document_type == other.document_type == DocumentType.RESIDENT_ID
    )
    if evidence["phone"] is evidence["name"] is Agreement.EQUAL and not two_people:
        return Finding(Strength.STRONG, evidence)
    return None


def _agreement(one: bytes | None, other: bytes | None) -> Agreement:
    if one is None or other is None:
        return Agreement.ABSENT
    return Agreement.EQUAL if one == other else Agreement.DIFFERS


def in_window(
    purchased_at: datetime, onset_on: date | None, confirmed_at: datetime | None, policy: MatchingPolicy = POLICY
) -> bool:
    """Say whether a purchase lies near enough to a case.

    The anchor is the day of onset, else that of confirmation. A case that has neither yet has no window: every purchase is near
    enough, and the match is judged anew when one of the days becomes known.
    """
    anchor = onset_on or (china_day(confirmed_at) if confirmed_at is not None else None)
    if anchor is None:
        return True
    return -policy.lookback_days <= (china_day(purchased_at) - anchor).days <= policy.after_days


def counts(classification: Classification) -> bool:
    """Say whether a case of this classification has matches: all but a discarded one."""
    return classification is not Classification.DISCARDED
