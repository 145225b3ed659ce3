"""Phones: one way to write each number (E.164), mainland China by default.

Sources: ITU-T E.164 (up to 15 digits after the plus); the mainland's numbering plan (MIIT): mobiles are 1, a digit from
3 to 9 and nine more; landlines are an area code (10, 2x, or three digits beginning with 3 to 9) and seven or eight
digits beginning with 2 to 8; Hong Kong (OFCA) and Macau (CTT) have eight digits; Taiwan (NCC) nine for mobiles, eight
or nine for landlines.

Limits, chosen so that no number is guessed: a landline needs its area code; extensions, service numbers (400, 95xxx,
12345) and two numbers in one field are refused; numbers of other countries need their `+` or `00` and are checked for
length only.
"""

import re
from dataclasses import dataclass

from app.people.characters import compact
from app.people.findings import Problem

_POINTER = "/phone"


@dataclass(slots=True, repr=False)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Phone:
    """A phone number in E.164 notation, which is both shown and compared."""

    number: str

    @property
    def comparable(self) -> str:
        """The text that is equal exactly where two numbers are the same line."""
        return self.number

    def __repr__(self) -> str:
        return "Phone()"  # an identity has no place in a log or a traceback


INVALID = Problem(_POINTER, "phone_invalid", "This is neither a mainland number nor one with + and a country code")

_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_AREA = r"(?:10|2[0-57-9])[2-8][0-9]{7}|[3-9][0-9]{2}[2-8][0-9]{6,7}"
_MAINLAND = re.compile(rf"1[3-9][0-9]{{9}}|{_AREA}")
_HONG_KONG = re.compile(r"[2-9][0-9]{7}")
_TAIWAN = re.compile(r"9[0-9]{8}|[2-8][0-9]{7,8}")
_ELSEWHERE = re.compile(r"[1-9][0-9]{6,14}")

# Brackets and dots that group digits; compact() has taken spaces and hyphens.
_GROUPING = str.maketrans("", "", "().")


def normalise_phone(raw: str) -> Phone | Problem:
    """Return the number in E.164 notation, or why it cannot be one.

    >>> normalise_phone("０７５５-8300 1234").number
    '+8675583001234'
    """
    if len(raw) == 11 and raw.isascii() and _MOBILE.fullmatch(raw):  # what nearly every till sends
        return Phone("+86" + raw)
    text = compact(raw).translate(_GROUPING)
    if text.startswith("+"):
        return _international(text[1:])
    if text.startswith("00"):
        return _international(text[2:])
    if text.startswith("0"):
        # The trunk prefix of a landline; many still write it before a mobile of another city, as it once was dialled.
        return _as_mainland(text[1:])
    if _MOBILE.fullmatch(text):
        return Phone("+86" + text)
    # No mainland number without a trunk prefix begins with 8, so these can only be country codes whose plus was lost.
    if text.startswith(("86", "852", "853", "886")):
        return _international(text)
    return INVALID


def _international(digits: str) -> Phone | Problem:
    if digits.startswith("86"):
        return _as_mainland(digits[2:].removeprefix("0"))
    if digits.startswith(("852", "853")):
        return Phone("+" + digits) if _HONG_KONG.fullmatch(digits[3:]) else INVALID
    if digits.startswith("886"):
        national = digits[3:].removeprefix("0")
        return Phone("+886" + national) if _TAIWAN.fullmatch(national) else INVALID
    return Phone("+" + digits) if _ELSEWHERE.fullmatch(digits) else INVALID


def _as_mainland(national: str) -> Phone | Problem:
    return Phone("+86" + national) if _MAINLAND.fullmatch(national) else INVALID
