"""What the catalogue did not know of a till's lines, and how much of it may be written down.

A code that no list knows, and a name that means no listed drug, are what an official turns into aliases. But a clerk's
keyboard writes anything into the field of the name, also whom the drug is for. So a name is kept only as `notable_name`
reduces it, only if it passes its checks, and apart from whatever purchase it stood in; see `docs/privacy.md`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol
from uuid import UUID

from app.catalogue.names import candidates, squeeze
from app.catalogue.rules import CodeInvalid, Resolution, normal_alias
from app.catalogue.vocabulary import AliasKind
from app.people.characters import compact

MOST_CHARACTERS = 60
_MOST_REMEMBERED = 20_000
# Six digits in a row are a piece of a phone or a document; strengths and pack sizes have fewer. The same in characters.
_NUMBER = re.compile(r"[0-9]{6,}|[〇零一二三四五六七八九幺]{6,}")
_ALLOWED = re.compile(r"[^\W_](?:[^\W_]|[ .+%·/α-ω-])*")


class Product(Protocol):
    """A line's marks, as a registration or a sales statement has them."""

    @property
    def gtin(self) -> str | None: ...
    @property
    def approval_number(self) -> str | None: ...
    @property
    def trace_codes(self) -> Sequence[str] | None: ...
    @property
    def name(self) -> str | None: ...


class Miss(NamedTuple):
    """A code or name that the catalogue did not know, in the form of `rules.normal_alias`.

    `drug_id` is what the line was found to be by another mark; `resembles` says that a listed name stands in this one.
    """

    kind: AliasKind
    value: str
    drug_id: UUID | None
    resembles: bool


def misses_of(product: Product, found: Resolution, tells: Callable[[str], bool]) -> Iterator[Miss]:
    """Yield what was not known of a line: its well-formed codes and, if the line means no listed drug, its name.

    `tells` says whether a text names somebody whom the purchase concerns.
    """
    for kind in found.unknown:
        for value in _codes(product, kind):
            yield Miss(kind, value, found.drug_id, resembles=False)
    if found.drug_id is None and product.name is not None:
        name = notable_name(product.name, tells)
        if name is not None:
            yield Miss(AliasKind.NAME, name, None, resembles="resembles_listed" in found.warnings)


def notable_name(name: str, tells: Callable[[str], bool]) -> str | None:
    """Return a product's name as it may be written down – without strength and pack size – or None if it may not.

    Refused are: longer than 60 characters or shorter than 2; six or more digits in a row however they are grouped; signs
    that stand in addresses and notes, not in names of products; and whatever names the buyer or the patient.
    """
    value = _reduced(name)
    return None if value is None or tells(name) else value


@lru_cache(_MOST_REMEMBERED)  # a shop's names come again and again; the resolver remembers them as well
def _reduced(name: str) -> str | None:
    reading = candidates(name)[0]
    value = squeeze(reading)
    if not 2 <= len(value) <= MOST_CHARACTERS or not _ALLOWED.fullmatch(reading):
        return None
    return None if _NUMBER.search(compact(name)) else value


def _codes(product: Product, kind: AliasKind) -> Iterator[str]:
    match kind:
        case AliasKind.GTIN:
            sent = [product.gtin]
        case AliasKind.APPROVAL:
            sent = [product.approval_number]
        case _:
            sent = list(product.trace_codes or ())
    seen = set()
    for code in sent:
        try:
            value = normal_alias(kind, code or "")
        except CodeInvalid:
            continue
        if value not in seen:
            seen.add(value)
            yield value
