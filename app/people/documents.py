"""Identity documents: which numbers exist, how they are written, and when two of them are the same.

Sources
- Resident identity number: GB 11643-1999 (18 characters: area, birth date, sequence, check character of ISO 7064
  MOD 11-2) and its forerunner GB 11643-1989 (15 digits: two-digit year, no check; sequences 996 to 999 were kept for
  those who had reached a hundred years). Residents of Hong Kong, Macau and Taiwan get numbers with the areas 810000,
  820000 and 830000 (State Council, 2018-08-19).
- Foreigner's permanent residence card: until 2023 three letters and twelve digits; since 2023-12-01 eighteen characters
  that begin with 9, with birth date and check character in the same places as a resident's (National Immigration
  Administration, 2023).
- Mainland travel permit of Hong Kong and Macau residents: H or M and eight digits for life, then, on permits before
  2013, two digits that count renewals (Ministry of Public Security); HA or MA and seven digits for those who are not
  Chinese citizens (since 2024-07-10).
- Mainland travel permit of Taiwan residents: eight digits for life; until 2008-09-25 followed by two digits that count
  issues and the issuer's sign in brackets.
- Passports: ICAO 9303 prescribes letters and digits only; a few states use more than nine of them.
- Medical insurance cards: numbers differ by city. Where the card bears the resident identity number it is that number:
  the personal social security number is the citizen's identity number (Social Insurance Law, article 58).

Limits: the area of a resident number is checked by province alone, and an unknown one is a notice, never an error –
areas are renamed, split and merged every year. An old permanent residence number cannot be turned into the new one (the
sequence is not the same), so the two do not compare equal.
"""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from operator import mul

from app.people.characters import compact
from app.people.findings import Notice, Problem

_POINTER = "/document/number"


class DocumentType(StrEnum):
    """The identity documents that a counter may be shown."""

    RESIDENT_ID = "resident_id"
    PASSPORT = "passport"
    HK_MACAU_PERMIT = "hk_macau_permit"
    TAIWAN_PERMIT = "taiwan_permit"
    FOREIGNER_PERMANENT_RESIDENCE = "foreigner_permanent_residence"
    MEDICAL_INSURANCE_CARD = "medical_insurance_card"


@dataclass(slots=True, repr=False)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Document:
    """A document as normalised.

    `number` is what is shown to those who may see it; `comparable` is equal exactly where two documents are the same
    person's same document; `born` is the birth date that the number tells, None where it tells none. `old_form`: it is a resident
    number that was shown in 15 digits, which nothing checked.
    """

    type: DocumentType
    number: str
    comparable: str
    born: date | None
    notices: tuple[Notice, ...] = ()
    old_form: bool = False

    def __repr__(self) -> str:
        return f"Document({self.type.value})"  # an identity has no place in a log or a traceback


NUMBER_INVALID = Problem(
    _POINTER, "document_number_invalid", "The number does not have the form of this type of document"
)
CHECKSUM_WRONG = Problem(_POINTER, "document_checksum_wrong", "The check character does not fit the digits before it")
BIRTH_DATE_INVALID = Problem(
    _POINTER,
    "document_birth_date_invalid",
    "The birth date in the number does not exist, lies before 1800 or in the future",
)
AREA_UNKNOWN = Notice(_POINTER, "document_area_unknown", "The number begins with an area that is not known")
OLD_FORM = Notice(_POINTER, "document_old_form", "The number has the old form of 15 characters")
TYPE_DOUBTFUL = Notice(
    "/document/type", "document_type_doubtful", "The number is that of a foreigner's permanent residence card"
)

_RESIDENT = re.compile(r"[0-9]{17}[0-9X]")
_OLD_RESIDENT = re.compile(r"[0-9]{15}")
_OLD_FOREIGNER = re.compile(r"[A-Z]{3}[0-9]{12}")
_HK_MACAU = re.compile(r"[HM](?:[0-9]{8}(?:[0-9]{2})?|[A-Z][0-9]{7})")
_TAIWAN = re.compile(r"[0-9]{8}(?:[0-9]{2}(?:\([A-Z0-9]\)|[A-Z0-9])?)?")
_PASSPORT = re.compile(r"(?=.*[0-9])[A-Z0-9]{5,20}")
_INSURANCE = re.compile(r"(?=.*[0-9])[A-Z0-9]{5,32}")

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # 2**(17 - i) mod 11, GB 11643-1999 table 1
_CHECK_CHARACTERS = "10X98765432"
_ASCII_EXCESS = ord("0") * sum(_WEIGHTS)

# GB/T 2260: five or so provinces for each of the six regions, then Taiwan, Hong Kong and Macau; 83 is Taiwan's
# residents here.
_PROVINCES = frozenset(
    str(code)
    for region in (
        range(11, 16),
        range(21, 24),
        range(31, 38),
        range(41, 47),
        range(50, 55),
        range(61, 66),
        (71, 81, 82, 83),
    )
    for code in region
)
_WHOLE_PROVINCES = {"81": "810000", "82": "820000", "83": "830000"}

_RESIDENT_ID = DocumentType.RESIDENT_ID  # what nearly everybody shows; found here in a fifth of the time
_CHECKED = (_RESIDENT_ID, DocumentType.FOREIGNER_PERMANENT_RESIDENCE)
_OLD_LENGTH = 15
_HK_MACAU_FOR_LIFE = 9
_TAIWAN_FOR_LIFE = 8
_OLDEST_YEAR = 1800


def normalise_document(kind: DocumentType, raw: str, today: date) -> Document | Problem:
    """Return the document as it is kept and compared, or why it cannot be one.

    `today` is the day in China on which the number is judged: nobody is born after it.
    """
    number = compact(raw)
    if not number.isascii():  # `upper()` turns some other letters into ASCII ones
        return NUMBER_INVALID
    number = number.upper()
    if kind is _RESIDENT_ID:
        return _resident(number, today)
    if kind is DocumentType.FOREIGNER_PERMANENT_RESIDENCE:
        return _foreigner(number, today)
    pattern = _FORMS[kind]
    if pattern.fullmatch(number) is None:
        return NUMBER_INVALID
    if kind is DocumentType.TAIWAN_PERMIT:
        number = number.replace("(", "").replace(")", "")
    return document_of(kind, number)


_FORMS = {
    DocumentType.PASSPORT: _PASSPORT,
    DocumentType.HK_MACAU_PERMIT: _HK_MACAU,
    DocumentType.TAIWAN_PERMIT: _TAIWAN,
    DocumentType.MEDICAL_INSURANCE_CARD: _INSURANCE,
}


def document_of(kind: DocumentType, number: str, *, old_form: bool = False) -> Document:
    """Return the document of a normalised number."""
    same = comparable(kind, number)
    return Document(kind, number, same, _born(same[-18:]) if is_checked(same) else None, old_form=old_form)


def comparable(kind: DocumentType, number: str) -> str:
    """Return `type:number` of a normalised number, such that the same document always gives the same text.

    Resident numbers in the form of 18 characters; permits without the digits that count renewals; a permanent residence
    number under its own type even where it was given as a resident's; an insurance card that bears a resident number
    as that number.
    """
    if kind is _RESIDENT_ID:
        if number[0] == "9":
            kind = DocumentType.FOREIGNER_PERMANENT_RESIDENCE
    elif kind is DocumentType.HK_MACAU_PERMIT:
        number = number[:_HK_MACAU_FOR_LIFE]
    elif kind is DocumentType.TAIWAN_PERMIT:
        number = number[:_TAIWAN_FOR_LIFE]
    elif kind is DocumentType.MEDICAL_INSURANCE_CARD and _is_resident_number(number):
        kind = DocumentType.RESIDENT_ID
    return f"{kind}:{number}"


def check_character(first_17: str) -> str:
    """Return the 18th character: the ISO 7064 MOD 11-2 check of 17 ASCII digits."""
    return _CHECK_CHARACTERS[(sum(map(mul, _WEIGHTS, first_17.encode())) - _ASCII_EXCESS) % 11]


def lengthen(old: str) -> str:
    """Return the 18-character form of an old 15-digit resident number.

    The century is the twentieth, but for the sequences 996 to 999, which GB 11643-1989 kept for those born in the
    nineteenth.
    """
    century = "18" if old[12:] in ("996", "997", "998", "999") else "19"
    first_17 = old[:6] + century + old[6:]
    return first_17 + check_character(first_17)


def shorten(number: str) -> str | None:
    """Return the 15 digits that a resident number had before 1999, or None where it never had that form."""
    old = number[:6] + number[8:17]
    return old if lengthen(old) == number else None


def is_checked(comparable: str) -> bool:
    """Say whether a number, as `comparable` writes it, has the 18 characters of which the last checks the others."""
    kind, _, number = comparable.partition(":")
    return kind in _CHECKED and _RESIDENT.fullmatch(number) is not None


def _resident(number: str, today: date) -> Document | Problem:
    notices: tuple[Notice, ...] = ()
    old_form = len(number) == _OLD_LENGTH and _OLD_RESIDENT.fullmatch(number) is not None
    if old_form:
        number = lengthen(number)
        notices = (OLD_FORM,)
    elif not _RESIDENT.fullmatch(number):
        return NUMBER_INVALID
    elif check_character(number[:17]) != number[17]:
        return CHECKSUM_WRONG
    born = _born(number)
    if born is None or born > today:
        return BIRTH_DATE_INVALID
    province = number[:2]
    if number[0] == "9":
        notices = (*notices, TYPE_DOUBTFUL)
    elif province not in _PROVINCES or number[:6] != _WHOLE_PROVINCES.get(province, number[:6]):
        notices = (*notices, AREA_UNKNOWN)
    return Document(_RESIDENT_ID, number, comparable(_RESIDENT_ID, number), born, notices, old_form)


def _foreigner(number: str, today: date) -> Document | Problem:
    kind = DocumentType.FOREIGNER_PERMANENT_RESIDENCE
    if _OLD_FOREIGNER.fullmatch(number):
        return Document(kind, number, comparable(kind, number), None, (OLD_FORM,))
    if not (_RESIDENT.fullmatch(number) and number[0] == "9"):
        return NUMBER_INVALID
    if check_character(number[:17]) != number[17]:
        return CHECKSUM_WRONG
    born = _born(number)
    if born is None or born > today:
        return BIRTH_DATE_INVALID
    return Document(kind, number, comparable(kind, number), born)


def _born(number: str) -> date | None:
    # The caller has made sure that these are eight digits; `fromisoformat` would read a week date as well.
    try:
        born = date.fromisoformat(number[6:14])
    except ValueError:
        return None
    return born if born.year >= _OLDEST_YEAR else None


def _is_resident_number(number: str) -> bool:
    # A city's own card number may pass this by chance. That does no harm: nobody else bears the same 18 characters.
    return (
        _RESIDENT.fullmatch(number) is not None
        and number[:2] in _PROVINCES
        and check_character(number[:17]) == number[17]
        and _born(number) is not None
    )
