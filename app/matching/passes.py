"""The passes: named, versioned rules that say whether two presentations are one person, and how each field compares.

The first two count at once, the others are for a person to review. Where several passes find a pair, the first of them in
`PASSES` speaks. A version changes with its rule; matches that were found under another are judged anew by `sentinel rematch`.

| pass | says | strength |
|---|---|---|
| `document` | the same document | certain |
| `phone_name` | the same phone and the same name | strong |
| `near_document` | the same name, and documents one slip apart that nothing checks | possible |
| `name_birth_city` | the same name and birth date, in one city | possible |
| `phone_sound` | the same phone, and names that sound alike | possible |
| `phone_shape` | the same phone, and names that look alike | possible |

Two different resident numbers are two people, whatever else agrees: their check character catches every slip. A phone alone is
nothing, for families share it; an empty name is missing, and missing never equals missing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.matching.alikeness import look_alike, sound_alike
from app.people.documents import DocumentType
from app.people.nearness import are_neighbours
from app.people.rules import Identity


class Strength(StrEnum):
    """How much a match is worth."""

    CERTAIN = "certain"
    """The same document."""
    STRONG = "strong"
    """The same phone and the same name."""
    POSSIBLE = "possible"
    """Something to look at; it counts once a person has confirmed it."""


class Agreement(StrEnum):
    """How one field compares."""

    EQUAL = "equal"
    NEAR = "near"
    """One slip apart, or alike in sound or shape. Told only by the passes that look for it."""
    DIFFERS = "differs"
    ABSENT = "absent"
    """One side does not have it, or it was not compared."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A rule by its name and version."""

    name: str
    version: int
    strength: Strength

    @property
    def rule(self) -> str:
        """How a match names the pass that found it."""
        return f"{self.name}/{self.version}"


DOCUMENT = Pass("document", 1, Strength.CERTAIN)
PHONE_NAME = Pass("phone_name", 1, Strength.STRONG)
NEAR_DOCUMENT = Pass("near_document", 1, Strength.POSSIBLE)
NAME_BIRTH_CITY = Pass("name_birth_city", 1, Strength.POSSIBLE)
PHONE_SOUND = Pass("phone_sound", 1, Strength.POSSIBLE)
PHONE_SHAPE = Pass("phone_shape", 1, Strength.POSSIBLE)

PASSES = (DOCUMENT, PHONE_NAME, NEAR_DOCUMENT, NAME_BIRTH_CITY, PHONE_SOUND, PHONE_SHAPE)


@dataclass(frozen=True, slots=True)
class Marks:
    """The keyed hashes of what was presented; None is what was not. Missing never equals missing.

    `document_type` is that of the number: an insurance card that bears a resident number counts as a resident's document.
    """

    document: bytes | None
    document_type: str | None
    phone: bytes | None
    name: bytes | None
    name_birth: bytes | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Why two presentations are, or may be, the same person: the pass that says so, and how each field compares."""

    by: Pass
    evidence: Mapping[str, Agreement]


def compare(one: Marks, other: Marks, *, same_city: bool) -> Finding | None:
    """Return what the passes that need hashes alone say of two presentations, or None if they say nothing.

    (Passports and permits are renewed under new numbers, so two of these that differ part nobody.)
    """
    evidence = {
        "document": _agreement(one.document, other.document),
        "phone": _agreement(one.phone, other.phone),
        "name": _agreement(one.name, other.name),
        "birth_date": _birth_agreement(one, other),
    }
    if evidence["document"] is Agreement.EQUAL:
        return Finding(DOCUMENT, evidence)
    if evidence["name"] is not Agreement.EQUAL or (
        evidence["document"] is Agreement.DIFFERS
        and one.document_type == other.document_type == DocumentType.RESIDENT_ID
    ):
        return None
    if evidence["phone"] is Agreement.EQUAL:
        return Finding(PHONE_NAME, evidence)
    if evidence["birth_date"] is Agreement.EQUAL and same_city:
        return Finding(NAME_BIRTH_CITY, evidence)
    return None


def look_closer(one: Identity, other: Identity) -> Finding | None:
    """Return what the passes say that compare what is sealed, or None if they say nothing."""
    document = _agreement(one.document_comparable, other.document_comparable)
    near = document is Agreement.DIFFERS and are_neighbours(one, other)
    mine, theirs = one.name_comparable, other.name_comparable
    evidence = {
        "document": Agreement.NEAR if near else document,
        "phone": _agreement(one.phone, other.phone),
        "name": _agreement(mine, theirs),
        "birth_date": _agreement(one.born, other.born),
    }
    if mine is None or theirs is None:
        return None
    if near and mine == theirs:
        return Finding(NEAR_DOCUMENT, evidence)
    if evidence["phone"] is not Agreement.EQUAL or mine == theirs:
        return None
    if document is Agreement.DIFFERS and _is_resident(one) and _is_resident(other):
        return None
    alike = evidence | {"name": Agreement.NEAR}
    if sound_alike(mine, theirs):
        return Finding(PHONE_SOUND, alike)
    return Finding(PHONE_SHAPE, alike) if look_alike(mine, theirs) else None


def foremost(findings: Iterable[Finding | None]) -> Finding | None:
    """Return the finding of the pass that comes first, or None if there is none."""
    return min((one for one in findings if one is not None), key=lambda one: PASSES.index(one.by), default=None)


def city_of(division: str) -> str | None:
    """Return the city in which a division lies: the first four digits of its code (GB/T 2260); a province is none."""
    return division[:4] if len(division) >= 4 else None


def _is_resident(identity: Identity) -> bool:
    """Say whether a resident number was shown, be it on an insurance card."""
    comparable = identity.document_comparable
    return comparable is not None and comparable.startswith(f"{DocumentType.RESIDENT_ID.value}:")


def _agreement(one: object | None, other: object | None) -> Agreement:
    if one is None or other is None:
        return Agreement.ABSENT
    return Agreement.EQUAL if one == other else Agreement.DIFFERS


def _birth_agreement(one: Marks, other: Marks) -> Agreement:
    """Compare birth dates as far as hashes tell: they are equal in one resident number, and with equal names."""
    if one.document is not None and one.document == other.document and one.document_type == DocumentType.RESIDENT_ID:
        return Agreement.EQUAL
    if one.name is None or one.name != other.name:
        return Agreement.ABSENT
    return _agreement(one.name_birth, other.name_birth)
