"""Names: how one is written, and when two are the same.

Unicode NFKC (UAX #15) folds compatibility forms: full-width letters, Kangxi radicals, compatibility ideographs.
Invisible characters and variation selectors go; spaces collapse, and vanish between Han characters (「张　三」); the many
dots that part the names of Uyghurs, Tibetans, Mongols and foreigners (· • ・ ‧ ∙ ⋅, and a full stop between Han
characters) become U+00B7, which GB 18030 practice prescribes. For comparison Latin letters are case-folded.

A name without a single letter ("", "---", "？") is missing, and a missing name equals no other: comparing such names as
equal would join strangers who happen to share a phone.

Limits: simplified and traditional forms, homophones, romanisations and the order of names are left as they are; they
make two names alike, not equal.
"""

import re
import unicodedata
from dataclasses import dataclass

from app.people.characters import FORMAT_CHARACTERS
from app.people.findings import Problem

_POINTER = "/name"
_MAX_LENGTH = 200  # a normalised name; compatibility forms may grow when they are folded

EMPTY = Problem(_POINTER, "name_empty", "The name has no letter in it, so it counts as missing")
INVALID = Problem(_POINTER, "name_invalid", "The name is too long or has characters that no name has")


@dataclass(slots=True, repr=False)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Name:
    """A name as it is shown (`value`) and as it is compared (`comparable`)."""

    value: str
    comparable: str

    def __repr__(self) -> str:
        return "Name()"  # an identity has no place in a log or a traceback


_HAN = "㐀-䶿一-鿿\U00020000-\U0003ffff"
_PLAIN = re.compile(r"[一-鿿]{1,20}")
_DOTS = "·•・‧∙⋅"
_VARIATION_SELECTORS = (*range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_INVISIBLE = dict.fromkeys((*FORMAT_CHARACTERS, *_VARIATION_SELECTORS))
_SPACED_DOT = re.compile(rf"\s*[{_DOTS}]\s*")
_FULL_STOP_BETWEEN_HAN = re.compile(rf"(?<=[{_HAN}])\s*[.。]\s*(?=[{_HAN}])")
_SPACE_BETWEEN_HAN = re.compile(rf"(?<=[{_HAN}]) (?=[{_HAN}])")
# Rare Han characters that this Python's Unicode tables may not know yet, and the private use areas in which such
# characters stood for years in GBK and still do on old cards.
_RARE = re.compile("[\U00020000-\U0003ffff\ue000-\uf8ff\U000f0000-\U0010fffd]")
_NO_TEXT = frozenset(("Cc", "Cs"))


def normalise_name(raw: str) -> Name | Problem:
    """Return the name as it is kept and compared, or why it cannot be one (`name_empty`: it is missing)."""
    if _PLAIN.fullmatch(raw):  # nearly every name; nothing below would change it
        return Name(raw, raw)
    text = unicodedata.normalize("NFKC", raw.translate(_INVISIBLE))
    text = " ".join(text.split())  # also turns tabs and line breaks into spaces
    text = _SPACED_DOT.sub("·", text)
    text = _FULL_STOP_BETWEEN_HAN.sub("·", text)
    text = _SPACE_BETWEEN_HAN.sub("", text)
    if not any(map(str.isalpha, text)) and _RARE.search(text) is None:
        return EMPTY
    if len(text) > _MAX_LENGTH or any(unicodedata.category(character) in _NO_TEXT for character in text):
        return INVALID
    return Name(text, fold(text))


def fold(name: str) -> str:
    """Return the text by which a normalised name is compared: letters without case (Unicode caseless matching)."""
    return unicodedata.normalize("NFKC", name.casefold())
