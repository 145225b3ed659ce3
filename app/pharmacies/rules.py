"""What a credit code says about itself, and which standing a pharmacy has on a day."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from uuid import UUID

from app.core.errors import FieldError

# GB 32100-2015, table 2: no I, O, S, V, Z, which are easily misread.
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_VALUES = {character: value for value, character in enumerate(_USCC_ALPHABET)}
_USCC_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
USCC_PATTERN = r"^[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}$"

MOST_DAYS_AHEAD = 365
"""How far ahead a standing may be announced."""


class Standing(StrEnum):
    """Whether a pharmacy takes part. Its duty to register does not end with a suspension, only with closing."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


def fold_code(text: str) -> str:
    """Return a credit code or licence number in one way of writing: half width, upper case, no spaces.

    >>> fold_code(" 粤ｄａ7550001 ")
    '粤DA7550001'
    """
    upper = unicodedata.normalize("NFKC", text).upper()
    # Composed once more: upper case takes some letters apart, and spaces kept others apart.
    return unicodedata.normalize("NFKC", "".join(upper.split()))


def uscc_check_character(first_17: str) -> str:
    """Return the check character of a unified social credit code (GB 32100-2015, modulus 31, weights 3^i).

    Raises:
        KeyError: a character is not of the code's alphabet.
    """
    total = sum(_USCC_VALUES[character] * weight for character, weight in zip(first_17, _USCC_WEIGHTS, strict=True))
    return _USCC_ALPHABET[-total % 31]


def uscc_warnings(code: str) -> list[FieldError]:
    """Return a warning if the check character of a well-formed credit code is wrong: somebody should look at the licence."""
    if uscc_check_character(code[:17]) == code[17]:
        return []
    return [FieldError("/uscc", "uscc_check_failed", "The check character is not the one that GB 32100-2015 gives")]


@dataclass(frozen=True, slots=True)
class Statement:
    """What was said about a pharmacy's standing: it holds from this day on, whatever was said before."""

    standing: Standing
    valid_from: date


def standing_on(history: Sequence[Statement], day: date) -> Standing | None:
    """Return the standing on a day: that of the last statement which concerns it. None before enrolment.

    `history` is in the order in which the statements were made, which need not be that of their days: a suspension may be
    recorded today for last week.
    """
    for statement in reversed(history):
        if statement.valid_from <= day:
            return statement.standing
    return None


def changes_something(history: Sequence[Statement], new: Statement) -> bool:
    """Say whether any day would have another standing after a new statement."""
    borders = {new.valid_from, *(said.valid_from for said in history if said.valid_from > new.valid_from)}
    return any(standing_on(history, day) is not new.standing for day in borders)


def is_too_far_ahead(day: date, today: date) -> bool:
    """Say whether a day lies too far ahead for a standing to be announced."""
    return day > today + timedelta(days=MOST_DAYS_AHEAD)


@dataclass(frozen=True, slots=True)
class PharmacyFacts:
    """What must be known of a pharmacy for each row that its till sends."""

    id: UUID
    division: str
    history: tuple[Statement, ...]
    sandbox: bool = False

    def standing_on(self, day: date) -> Standing | None:
        """Return the standing on a calendar day in China; None before enrolment."""
        return standing_on(self.history, day)

    def has_duty_on(self, day: date) -> bool:
        """Say whether the pharmacy has its duty to register on a calendar day in China: enrolled, and not closed."""
        return self.standing_on(day) not in (None, Standing.CLOSED)

    def is_closed_on(self, day: date) -> bool:
        """Say whether the pharmacy is closed on a calendar day in China."""
        return self.standing_on(day) is Standing.CLOSED
