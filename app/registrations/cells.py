"""One cell of a table of purchases, where it says what only purchases have."""

import re
import unicodedata

from app.imports.cells import SEPARATORS, CellWrong, folded, one_of
from app.registrations.vocabulary import DOCUMENT_TYPES, HEALTH_CODES, NO, NO_SYMPTOM, SYMPTOMS, YES

_QUANTITY = re.compile(r"(\d{1,9})(?:\.0+)?\s*[盒瓶袋支板片粒包件罐]?")
_CELSIUS = re.compile(r"(\d{2}(?:\.\d+)?)\s*(?:°?C|度)?", re.IGNORECASE)
_CHOICES = re.compile(r"[、;,|]")
"""Not spaces: what reads like a sentence is no list of codes."""


def quantity(text: str) -> int:
    """Return a number of boxes; a unit behind it does not matter."""
    found = _QUANTITY.fullmatch(unicodedata.normalize("NFKC", text).strip())
    if found is None:
        raise CellWrong("number_expected", "A whole number is needed")
    return int(found[1])


def celsius(text: str) -> str:
    """Return degrees Celsius as written, without the sign."""
    found = _CELSIUS.fullmatch(unicodedata.normalize("NFKC", text).strip())
    if found is None:
        raise CellWrong("temperature_expected", "A temperature is written as 36.6")
    return found[1]


document_type = one_of(DOCUMENT_TYPES)
health_code = one_of(HEALTH_CODES)


def symptoms(text: str) -> list[str]:
    """Return symptoms, separated by 、 ; , | / or spaces."""
    if folded(text) in NO_SYMPTOM:
        return []
    read = one_of(SYMPTOMS)
    return list(dict.fromkeys(read(part) for part in SEPARATORS.split(folded(text)) if part))


def yes_or_no(text: str) -> bool:
    """Return a yes or no, however it is ticked."""
    word = folded(text)
    if word not in YES and word not in NO:
        raise CellWrong("value_unknown", "The answer is yes or no")
    return word in YES


def answer(text: str) -> bool | int | str | list[str]:
    """Return the answer to a question: yes or no, a whole number, a code, or several codes parted by | or 、.

    1 and 0 are numbers here.
    """
    word = folded(text)
    if word.removeprefix("-").isdecimal() and len(word) < 9:
        return int(word)
    if word in YES or word in NO:
        return word in YES
    parts = [part.strip() for part in _CHOICES.split(word)]
    return word if len(parts) == 1 else [part for part in parts if part]
