"""Which listed drug a till's line is, and which lists hold where and when."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from app.catalogue.names import candidates, last_form, read_around, squeeze
from app.catalogue.vocabulary import CLASSES, SALTS_AFTER, SALTS_BEFORE, AliasKind, DrugKind, Route
from app.catalogue.wording import Wording


class CodeInvalid(ValueError):
    """A code that cannot be one of its kind; `args[0]` says why, without the code."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A listed drug as the resolver needs it."""

    id: UUID
    wording: Wording
    kind: DrugKind


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a line is: the listed drug, or none, and by what it was found.

    `warnings` are codes: `gtin_invalid`, `approval_number_invalid`, `trace_code_invalid` for malformed codes;
    `resembles_listed` where a name holds a listed one, but says another drug or form; `class_by_stem` where a drug was
    taken for a member of a listed class because of its name's stem. `unknown` are the kinds of well-formed codes that no
    alias knows.
    """

    drug_id: UUID | None
    by: AliasKind | None
    warnings: tuple[str, ...] = ()
    unknown: tuple[AliasKind, ...] = ()


_APPROVAL = re.compile(r"国药准字[HZSBTFJ][CJ]?[0-9]{8}")
_APPROVAL_TAIL = re.compile(r"[HZSBTFJ][CJ]?[0-9]{8}")
_TRACE = re.compile(r"[0-9A-Z]{20}")
_TRACE_PRODUCT = re.compile(r"[0-9A-Z]{7}")
_GTIN = re.compile(r"0?(69[0-9]{11})")
_MOST_REMEMBERED = 20_000


def _compact(code: str) -> str:
    return "".join(unicodedata.normalize("NFKC", code).upper().split())


def normal_gtin(code: str) -> str:
    """Return a GTIN as 13 digits; a leading zero that pads it to 14 is dropped.

    Raises:
        CodeInvalid: not 13 digits, no Chinese prefix (690–699), or a wrong check digit.
    """
    found = _GTIN.fullmatch(_compact(code).replace("-", ""))
    if found is None:
        raise CodeInvalid("a GTIN has 13 digits and begins with 690 to 699")
    digits = [int(digit) for digit in found[1]]
    if (sum(digits[0::2]) + 3 * sum(digits[1::2])) % 10:
        raise CodeInvalid("the check digit is wrong")
    return found[1]


def normal_approval(code: str) -> str:
    """Return an approval number as 国药准字 with letters and eight digits; the four characters may be left out.

    Raises:
        CodeInvalid: it has another shape.
    """
    text = _compact(code)
    if _APPROVAL_TAIL.fullmatch(text):
        return f"国药准字{text}"
    if not _APPROVAL.fullmatch(text):
        raise CodeInvalid("an approval number is 国药准字, one or two letters and eight digits")
    return text


def normal_trace(code: str) -> str:
    """Return the product part (first seven characters) of a trace code of 20.

    Raises:
        CodeInvalid: it has another shape.
    """
    text = _compact(code)
    if not _TRACE.fullmatch(text):
        raise CodeInvalid("a trace code has 20 digits or letters")
    return text[:7]


def normal_alias(kind: AliasKind, value: str) -> str:
    """Return an alias in the form in which it is stored and compared; for trace codes that is the product part alone.

    Raises:
        CodeInvalid: the value cannot be of this kind.
    """
    match kind:
        case AliasKind.GTIN:
            return normal_gtin(value)
        case AliasKind.APPROVAL:
            return normal_approval(value)
        case AliasKind.TRACE:
            text = _compact(value)
            return text if _TRACE_PRODUCT.fullmatch(text) else normal_trace(value)
        case AliasKind.NAME:
            if not (text := squeeze(value)):
                raise CodeInvalid("a name is not empty")
            return text


def in_force(division: str, day: date, list_division: str, valid_from: date, valid_to: date | None) -> bool:
    """Say whether a list holds at a place on a day; `valid_to` is the first day on which it no longer does."""
    return division.startswith(list_division) and valid_from <= day and (valid_to is None or day < valid_to)


class Resolver:
    """Tells listed drugs from what tills send.

    Immutable but for its memory of lines already seen, which is bounded and changes no answer. `entries` come in order of
    preference: where two mean the same product equally well, the first is taken.
    """

    def __init__(self, entries: Sequence[Entry], aliases: Iterable[tuple[UUID, AliasKind, str]] = ()) -> None:
        order = {entry.id: position for position, entry in enumerate(entries)}
        self._aliases: dict[AliasKind, dict[str, UUID]] = {kind: {} for kind in AliasKind}
        for drug_id, kind, value in aliases:
            if drug_id not in order:
                continue
            known = self._aliases[kind].setdefault(value, drug_id)
            if order[drug_id] < order[known]:
                self._aliases[kind][value] = drug_id
        for entry in entries:  # a line may quote the list itself; an alias given by an official goes first
            self._aliases[AliasKind.NAME].setdefault(entry.wording.text, entry.id)
        self._classes = [entry for entry in entries if entry.wording.drug_class is not None]
        self._by_first: dict[str, list[tuple[str, bool, Entry, int]]] = {}
        for position, entry in enumerate(entries):
            if entry.wording.drug_class is None:
                chemical = entry.kind is DrugKind.CHEMICAL
                stem = _without_salt(entry.wording.stem) if chemical else entry.wording.stem
                self._by_first.setdefault(stem[0], []).append((stem, chemical, entry, position))
        self._seen: dict[tuple[str | None, str | None, tuple[str, ...], str | None], Resolution] = {}

    def resolve(
        self,
        *,
        gtin: str | None = None,
        approval_number: str | None = None,
        trace_codes: Sequence[str] = (),
        name: str | None = None,
    ) -> Resolution:
        """Return what a line is: by GTIN, else approval number, else trace code, else name – the first that is known."""
        # Trace codes differ from box to box; only their first characters and their shape matter.
        line = (gtin, approval_number, tuple(map(_trace_mark, trace_codes)), name)
        known = self._seen.get(line)
        if known is None:
            known = self._resolve(gtin, approval_number, line[2], name)
            if len(self._seen) >= _MOST_REMEMBERED:
                self._seen.clear()
            self._seen[line] = known
        return known

    def resembling(self, name: str) -> tuple[UUID, ...]:
        """Return the entries whose name stands in a product's name, whatever stands around it; the longest first."""
        found: dict[UUID, int] = {}
        for text in candidates(name):
            for start, first in enumerate(text):
                for stem, _, entry, _ in self._by_first.get(first, ()):
                    if text.startswith(stem, start):
                        found[entry.id] = len(stem)
        return tuple(sorted(found, key=lambda drug_id: -found[drug_id]))

    def _resolve(
        self, gtin: str | None, approval_number: str | None, trace_marks: Sequence[str], name: str | None
    ) -> Resolution:
        warnings: list[str] = []
        unknown: list[AliasKind] = []
        codes = [
            (AliasKind.GTIN, gtin, "gtin_invalid"),
            (AliasKind.APPROVAL, approval_number, "approval_number_invalid"),
        ]
        codes += [(AliasKind.TRACE, mark, "trace_code_invalid") for mark in trace_marks]
        for kind, value, complaint in codes:
            if value is None:
                continue
            try:
                drug_id = self._aliases[kind].get(normal_alias(kind, value))
            except CodeInvalid:
                if complaint not in warnings:
                    warnings.append(complaint)
                continue
            if drug_id is not None:
                return Resolution(drug_id, kind, tuple(warnings), tuple(unknown))
            if kind not in unknown:
                unknown.append(kind)
        drug_id, told = self._by_name(name) if name else (None, ())
        by = None if drug_id is None else AliasKind.NAME
        return Resolution(drug_id, by, (*warnings, *told), tuple(unknown))

    def _by_name(self, name: str) -> tuple[UUID | None, tuple[str, ...]]:
        readings = candidates(name)
        for text in (name, *readings):
            known = self._aliases[AliasKind.NAME].get(squeeze(text))
            if known is not None:
                return known, ()
        resembles = False
        spaced = tuple(text.replace(" ", "") for text in readings if " " in text)
        for text in (*readings, *spaced):
            found, near = self._by_wording(text)
            if found is not None:
                return found, ()
            resembles |= near
        if not resembles and self._classes:
            for text in readings:
                for entry in self._classes:
                    if _in_class(entry.wording, text):
                        return entry.id, ("class_by_stem",)
        return None, ("resembles_listed",) if resembles else ()

    def _by_wording(self, text: str) -> tuple[UUID | None, bool]:
        best: tuple[tuple[int, int, int], UUID] | None = None
        near = False
        for start, first in enumerate(text):
            for stem, chemical, entry, position in self._by_first.get(first, ()):
                if not text.startswith(stem, start):
                    continue
                near = True
                if _means(entry.wording, text, start, start + len(stem), chemical=chemical):
                    key = (-len(entry.wording.stem), entry.wording.breadth, position)
                    if best is None or key < best[0]:
                        best = (key, entry.id)
        return (None if best is None else best[1]), near


def _trace_mark(code: str) -> str:
    text = _compact(code)
    return text[:7] if _TRACE.fullmatch(text) else "!"


def _without_salt(stem: str) -> str:
    for salt in SALTS_BEFORE:
        if stem.startswith(salt) and len(stem) >= len(salt) + 3:
            stem = stem[len(salt) :]
    return stem[:-1] if stem.endswith(SALTS_AFTER) and len(stem) >= 4 else stem


def _means(wording: Wording, text: str, start: int, end: int, *, chemical: bool) -> bool:
    around = read_around(text, start, end, salts=chemical)
    if around is None or (around.compound and not wording.compound_too):
        return False
    if around.children and not (wording.children_too or (chemical and wording.is_bare)):
        return False
    return wording.admits(around.form)


def _in_class(wording: Wording, text: str) -> bool:
    if text == wording.drug_class:
        return True
    members = CLASSES[wording.drug_class or ""]
    if not members.stems.search(text) or members.exceptions.search(text):
        return False
    form = last_form(text)
    return form is None or form.route is not Route.TOPICAL
