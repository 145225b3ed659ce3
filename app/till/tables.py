"""Purchases as CSV, with the columns of the service's own import.

Cells go to the service as they are wherever it can judge them better. Only what a table writes otherwise than JSON is turned:
numbers, yes and no, lists, and times without an offset, which are China's.
"""

import csv
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.till import words

MAX_CELL = 16 * 1024
ANSWER = "answer:"
"""Before the code of a question: `answer:contact_with_case_14d`."""
_SEPARATORS = re.compile(r"[、;,|/\s]+")
_CHOICES = re.compile(r"[、;,|]")
"""Not spaces: what reads like a sentence is no list of codes."""
_QUANTITY = re.compile(r"(\d{1,9})(?:\.0+)?\s*[盒瓶袋支板片粒包件罐]?", re.ASCII)
_CELSIUS = re.compile(r"(\d{2}(?:\.\d+)?)\s*(?:°?C|度)?", re.IGNORECASE | re.ASCII)
_LOCAL_TIME = re.compile(
    r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?\s*T?\s*(\d{1,2})\s*[:时点]\s*(\d{1,2})\s*分?"
    r"(?::?\s*(\d{1,2})\s*秒?)?",
    re.ASCII,
)
_ITEM_COLUMN = re.compile(r"item(\d{1,2})_([a-z_]+)")
Read = Callable[[str], Any]
Way = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """A purchase, or (without a body) a place of the table that cannot be read, and why."""

    line: int
    body: dict[str, Any] | None
    code: str = ""
    detail: str = ""


def as_text(cell: str) -> Any:
    """The cell as it is."""
    return cell


def as_quantity(cell: str) -> Any:
    """A number of boxes; a unit behind it does not matter."""
    found = _QUANTITY.fullmatch(_word(cell))
    return int(found[1]) if found else cell


def as_celsius(cell: str) -> Any:
    """Degrees Celsius, without the sign."""
    found = _CELSIUS.fullmatch(_word(cell))
    return float(found[1]) if found else cell


def as_truth(cell: str) -> Any:
    """Yes or no, however it is ticked."""
    return True if _word(cell) in words.YES else False if _word(cell) in words.NO else cell


def as_codes(cell: str) -> Any:
    """Several codes, parted by commas, semicolons or spaces."""
    return [part for part in _SEPARATORS.split(unicodedata.normalize("NFKC", cell)) if part]


def as_symptoms(cell: str) -> Any:
    """Symptoms by their codes or Chinese names."""
    if _word(cell) in words.NO_SYMPTOM:
        return []
    parts = [part for part in _SEPARATORS.split(_word(cell)) if part]
    return list(dict.fromkeys(words.SYMPTOMS.get(part, part) for part in parts))


def as_instant(cell: str) -> Any:
    """A time with its offset; a local time is China's."""
    local = _LOCAL_TIME.fullmatch(_word(cell).upper())
    if local is None:
        return cell
    year, month, day, hour, minute, second = (int(part or 0) for part in local.groups())
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}+08:00"


def as_document(cell: str) -> Any:
    """The type of a document, by its code or its Chinese name."""
    return words.DOCUMENT_TYPES.get(_word(cell), cell)


def as_colour(cell: str) -> Any:
    """The colour of a code."""
    return words.HEALTH_CODES.get(_word(cell), cell)


def as_answer(cell: str) -> Any:
    """An answer: yes or no, a whole number (1 and 0 are such), a code, or several codes parted by | or 、."""
    word = _word(cell)
    if word.removeprefix("-").isdecimal() and len(word) < 9:
        return int(word)
    parts = [part.strip() for part in _CHOICES.split(word)]
    return as_truth(word) if len(parts) == 1 else [part for part in parts if part]


_PERSON: Mapping[str, tuple[Way, Read]] = {
    "name": (("name",), as_text),
    "document_type": (("document", "type"), as_document),
    "document_number": (("document", "number"), as_text),
    "document_missing_reason": (("document_missing_reason",), as_text),
    "phone": (("phone",), as_text),
    "address_division": (("address", "division"), as_text),
    "address": (("address", "line"), as_text),
}
_ROW: Mapping[str, tuple[Way, Read]] = {
    "client_reference": (("client_reference",), as_text),
    "pharmacy_id": (("pharmacy_id",), as_text),
    "purchased_at": (("purchased_at",), as_instant),
    "temperature_c": (("temperature_c",), as_celsius),
    "patient_temperature_c": (("patient", "temperature_c"), as_celsius),
    "symptoms": (("symptoms",), as_symptoms),
    "mask": (("checks", "mask"), as_truth),
    "code": (("checks", "code"), as_colour),
    "venue_scan": (("checks", "venue_scan"), as_truth),
    **{name: (("buyer", *way), read) for name, (way, read) in _PERSON.items()},
    **{f"patient_{name}": (("patient", *way), read) for name, (way, read) in _PERSON.items()},
}
_ITEM: Mapping[str, Read] = {
    "name": as_text,
    "quantity": as_quantity,
    "gtin": as_text,
    "approval_number": as_text,
    "trace_codes": as_codes,
    "batch": as_text,
}


def _fold(header: str) -> str:
    text = unicodedata.normalize("NFKC", header).strip().lower()
    return text if text.startswith(ANSWER) else re.sub(r"\(.*?\)|[\s*:]", "", text)


def _names() -> Iterator[tuple[str, str]]:
    for name, others in words.COLUMNS.items():
        yield from ((_fold(one), name) for one in (name, *others))
    for field, others in words.ITEM_COLUMNS.items():
        for number in range(1, words.MOST_ITEMS + 1):
            name = f"item{number}_{field}"
            if number == 1:
                yield from ((_fold(one), name) for one in (f"item_{field}", *others))
            yield from ((one, name) for one in (name, *(f"{_fold(other)}{number}" for other in others)))


NAMES: Mapping[str, str] = dict(_names())
"""Names of columns by every header under which they may go."""


def name_of(header: str) -> str | None:
    """Return the name of the column under a header; `小票号/client_reference` says it twice."""
    folded = _fold(header)
    if folded.startswith(ANSWER):
        return folded
    found = {NAMES.get(part) for part in (folded, *folded.split("/"))} - {None}
    return found.pop() if len(found) == 1 else None


def read_table(lines: Iterable[str]) -> Iterator[Found]:
    """Yield the purchases of a table with a header. Lines that follow with the same reference are more items of one purchase.

    Empty lines, and lines that begin with `#`, are passed over. A header that is not understood is one finding, and the only one.
    """
    header: list[str | None] = []
    waiting: Found | None = None
    for line, cells in _rows(csv.reader(lines, strict=True)):
        found: Found | None
        if isinstance(cells, str):
            found = Found(line, None, "malformed_csv", cells)
        elif not header:
            header = [name_of(cell) for cell in cells]
            if complaint := _complaint(header):
                yield Found(line, None, "columns_unknown", complaint)
                return
            continue
        elif len(cells) > len(header):
            found = Found(line, None, "malformed_csv", "The line has more cells than the header")
        else:
            found = _merged(waiting, Found(line, _body(dict(zip(header, cells, strict=False)))))
        if found is not None:
            if waiting is not None:
                yield waiting
            waiting = found
    if waiting is not None:
        yield waiting


def _rows(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    csv.field_size_limit(MAX_CELL)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:  # it goes on with the line after
            where = f"Lines {first} to {reader.line_num} are not CSV"
            yield first, f"{where}: look for a quotation mark without its fellow, or a cell too long"
        else:
            stripped = [cell.strip("\ufeff \t\r\n") for cell in cells]
            while stripped and not stripped[-1]:  # spreadsheets end lines with commas
                stripped.pop()
            if stripped and not stripped[0].startswith("#"):
                yield reader.line_num, stripped


def _complaint(header: list[str | None]) -> str | None:
    for place, name in enumerate(header):
        if name is None:
            return f"Column {place + 1} has a header that is not known; remove it, or head it `note`"
        if name in header[:place] and name != "note":
            return f"Column {place + 1} says the same as one before it ({name})"
    if "purchased_at" not in header:
        return "The header lacks 购药时间/purchased_at"
    return None


def _body(cells: Mapping[str | None, str]) -> dict[str, Any]:
    body: dict[Any, Any] = {}
    for column, cell in cells.items():
        if not cell or column is None or column == "note":
            continue
        way, read = _way(column)
        place = body
        for step in way[:-1]:
            place = place.setdefault(step, {})
        place[way[-1]] = read(cell)
    for person in ("buyer", "patient"):
        document = body.get(person, {}).get("document")
        if document is not None and "number" not in document:
            del body[person]["document"]  # a type that stands in every row says nothing
            if person == "patient" and not body[person]:
                del body[person]
        elif document is not None:
            document.setdefault("type", "resident_id")
    items = body.get("items", {})
    body["items"] = [items[number] for number in sorted(items) if items[number].keys() - {"quantity"}]
    body.setdefault("buyer", {})
    return body


def _way(column: str) -> tuple[Way, Read]:
    if column.startswith(ANSWER):
        return ("answers", column.removeprefix(ANSWER)), as_answer
    if item := _ITEM_COLUMN.fullmatch(column):
        return ("items", int(item[1]) - 1, item[2]), _ITEM[item[2]]
    return _ROW[column]


def _word(cell: str) -> str:
    return unicodedata.normalize("NFKC", cell).strip().lower()


def _merged(before: Found | None, found: Found) -> Found | None:
    """Return None if a line was one more item of the purchase before it: the same reference, and nothing that differs."""
    first = before.body if before is not None else None
    body = found.body
    if first is None or body is None or not body["items"]:
        return found
    reference = body.get("client_reference")
    said = {name: value for name, value in body.items() if name != "items" and value != {}}
    if reference is None or any(first.get(name) != value for name, value in said.items()):
        return found
    first["items"] += body["items"]
    return None
