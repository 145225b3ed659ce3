"""What a product's name on a till says: whose drug, which drug, which form.

A till's name is a generic name with things around it: `芬必得 布洛芬缓释胶囊 0.3g*20粒`, `999感冒灵颗粒`, `(同仁堂)感冒清热颗粒`. A
listed name counts only if what stands before it is a brand and what stands after it is a form; otherwise it is another
drug whose name happens to hold the same characters.
"""

import re
import unicodedata
from dataclasses import dataclass

from app.catalogue.vocabulary import (
    BRANDS,
    CHILDREN,
    FORM,
    MAKERS,
    OTHER_DRUG,
    SALTS_AFTER,
    SALTS_BEFORE,
    Form,
    Route,
    form_of,
)
from app.catalogue.wording import fold

_UNITS = "MG|ML|UG|ΜG|KG|G|IU|U|S|T|万单位|万IU|万U|单位|%|粒|片|袋|支|丸|盒|瓶|贴|包|板|枚|揿|喷|吸|小时"
_STRENGTH = re.compile(rf"\d+(?:\.\d+)?\s*(?:{_UNITS})(?![A-Z])(?:装|/[盒瓶片粒袋支包板丸])?")
_TIMES = re.compile(r"X(?=\d)")
_DEBRIS = re.compile(r"[/:,;+、。\-]+|(?<![^\s/:,;+])\d+(?:\.\d+)?(?=\s|$)")
_GROUP = re.compile(r"\(([^()]*)\)")
_TELLING = re.compile(r"复方|注射|外用|滴眼|" + "|".join(CHILDREN))
_FOR_INJECTION = "注射用"
_ANY_LATIN = re.compile(r"[A-Z0-9]{2,}$")


@dataclass(frozen=True, slots=True)
class Reading:
    """What surrounds a stem in a product's name."""

    form: Form | None
    compound: bool
    children: bool


def candidates(name: str) -> tuple[str, ...]:
    """Return the readings of a name to try: brackets opened first, then without what stands in them.

    Strengths and pack sizes are left out; the parts are parted by single spaces.
    """
    folded = fold(name)
    opened = _tidy(folded.replace("(", " ").replace(")", " "))
    if "(" not in folded:
        return (opened,)
    closed = _tidy(_GROUP.sub(lambda group: f" {group[1]} " if _TELLING.search(group[1]) else " ", folded))
    return (opened, closed) if closed and closed != opened else (opened,)


def _tidy(text: str) -> str:
    return " ".join(_DEBRIS.sub(" ", _STRENGTH.sub(" ", _TIMES.sub(" ", text))).split())


def squeeze(name: str) -> str:
    """Return the form in which two product names are the same: folded, without spaces."""
    # Composed once more: an accent that stood by itself may now stand behind its letter.
    return unicodedata.normalize("NFKC", "".join(fold(name).split()))


def read_around(name: str, start: int, end: int, *, salts: bool) -> Reading | None:
    """Read what stands around `name[start:end]`; None if it makes another drug of it.

    `salts` admits the acid or base of a salt on either side.
    """
    before, compound, children, injected = _strip_leads(name[:start], salts=salts)
    if not _is_brand(before):
        return None
    after = name[end:]
    if salts and after.startswith(SALTS_AFTER):
        after = after[1:]
    while after.startswith(" "):
        after = after[1:]
        for brand in BRANDS:
            if after.startswith(brand):
                after = after[len(brand) :]
                break
    if not after:
        return Reading(_INJECTION if injected else None, compound, children)
    found = FORM.match(after)
    if found is None:
        return None
    form = form_of(found)
    return Reading(_INJECTION if injected else form, compound, children)


_INJECTION = Form("注射", frozenset(), Route.INJECTION)


def _strip_leads(before: str, *, salts: bool) -> tuple[str, bool, bool, bool]:
    compound = children = injected = False
    while True:
        text = before.rstrip(" ")
        if text.endswith("复方"):
            compound, before = True, text[:-2]
        elif text.endswith(_FOR_INJECTION):
            injected, before = True, text[:-3]
        elif text.endswith(CHILDREN):
            children, before = True, text[: -max(len(word) for word in CHILDREN if text.endswith(word))]
        elif salts and text.endswith(SALTS_BEFORE):
            before = text[: -max(len(word) for word in SALTS_BEFORE if text.endswith(word))]
        else:
            return before, compound, children, injected


def _is_brand(before: str) -> bool:
    """Say whether the text in front of a drug's name is none, or a maker or a trade mark."""
    text = before.rstrip(" ")
    if not text:
        return True
    if text.endswith(BRANDS) or MAKERS.search(text):
        return True
    if text != before:  # a space or a bracket parts it from the name
        return OTHER_DRUG.search(text) is None
    return _ANY_LATIN.search(text) is not None


def last_form(name: str) -> Form | None:
    """Return the last form that a name holds, for names of which only a stem is known."""
    found = list(FORM.finditer(name))
    return form_of(found[-1]) if found else None
