"""When a registration and a case match, and where a match stands after what people decided."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from app.cases.rules import Classification
from app.core.clock import china_day
from app.matching.passes import Marks, Strength


class MatchRole(StrEnum):
    """As whom the case appears in the registration."""

    BUYER = "buyer"
    PATIENT = "patient"


Key = tuple[UUID, UUID, MatchRole]
"""What names a match: registration, case and role."""


class MatchStatus(StrEnum):
    """Where a match stands."""

    COUNTED = "counted"
    """It holds and counts at once."""
    POSSIBLE = "possible"
    """It waits for a person's review, and does not count."""
    CONFIRMED = "confirmed"
    """A person confirmed it; it counts."""
    REJECTED = "rejected"
    """A person said that these are two people; it does not count."""
    WITHDRAWN = "withdrawn"
    """The facts no longer bear it out; it stands again when they do."""


COUNTING = frozenset({MatchStatus.COUNTED, MatchStatus.CONFIRMED})
"""In which statuses a match counts."""


class Act(StrEnum):
    """What a reviewer can say of two people."""

    CONFIRM = "confirm"
    """They are one."""
    REJECT = "reject"
    """They are two: never these again."""
    REOPEN = "reopen"
    """Back to the queue: as if nothing had been said."""


ALLOWED: Mapping[Act, frozenset[MatchStatus]] = {
    Act.CONFIRM: frozenset({MatchStatus.POSSIBLE, MatchStatus.REJECTED}),
    Act.REJECT: frozenset({MatchStatus.POSSIBLE, MatchStatus.CONFIRMED, MatchStatus.COUNTED}),
    Act.REOPEN: frozenset({MatchStatus.CONFIRMED, MatchStatus.REJECTED}),
}
"""From which statuses each act is possible."""

_WORTH = (Strength.CERTAIN, Strength.STRONG, Strength.POSSIBLE)


@dataclass(frozen=True, slots=True)
class Said:
    """What was last said of two people, and how strong the match was of which it was said."""

    act: Act
    strength: Strength


def status_of(strength: Strength, said: Said | None) -> MatchStatus:
    """Return where a match stands that the facts bear out.

    A rejection holds against what is as strong as what was judged, or weaker. Something stronger is a new fact, and counts.
    """
    if said is not None and said.act is Act.REJECT and _WORTH.index(strength) >= _WORTH.index(said.strength):
        return MatchStatus.REJECTED
    if strength is not Strength.POSSIBLE:
        return MatchStatus.COUNTED
    if said is not None and said.act is Act.CONFIRM:
        return MatchStatus.CONFIRMED
    return MatchStatus.POSSIBLE


def pair_of(presented: Marks, listed: Marks, key: Key) -> bytes:
    """Return the fingerprint of the two people of a match, of which a reviewer speaks.

    It is the same in every registration of the one and every case of the other, in either order. Where both go by the same
    identifier – the same document, or the same phone and name without one – nothing tells the two apart but this registration: then
    the fingerprint is that of this registration alone, and of whoever goes by that identifier.
    """
    one, other = _known_by(presented), _known_by(listed)
    if one == other:
        registration_id, _, role = key
        parts = [one, registration_id.bytes, role.value.encode()]
    else:
        parts = sorted((one, other))
    return hashlib.sha256(b"".join(len(part).to_bytes(2, "big") + part for part in parts)).digest()[:16]


def _known_by(marks: Marks) -> bytes:
    """Return by what a person is known again: the document, else phone and name, else name and birth date."""
    if marks.document is not None:
        return b"d" + marks.document
    if marks.phone is not None and marks.name is not None:
        return b"p" + marks.phone + marks.name
    return b"b" + (marks.name_birth or b"")


@dataclass(frozen=True, slots=True)
class MatchingPolicy:
    """How far a purchase may lie from a case's onset (else confirmation), in calendar days in China; both ends included.

    14 days is the longest incubation that the notices of 2021 reckon with; people buy until well after onset. (Choice.)
    """

    version: str = "2026-1"
    lookback_days: int = 14
    after_days: int = 30


POLICY = MatchingPolicy()


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
