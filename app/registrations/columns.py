"""From a row of a table to the body of a purchase, and from what is wrong with the body back to a cell.

A row is a purchase. Its items stand beside each other: `item_name`, `item_quantity` …, then `item2_name` … up to ten of them.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import FieldError
from app.core.sheets import MAX_CELL, Record, RowError, SheetUnreadable
from app.registrations import cells
from app.registrations.cells import CellWrong, Read
from app.registrations.vocabulary import COLUMNS, ITEM_COLUMNS, MOST_ITEMS

Path = tuple[str | int, ...]
"""Where in a body a value belongs."""

IGNORED = "note"
ANSWER = "answer:"
SAMPLE_BEGINS = ("#示例", "#example")
"""The first cell of the template's sample; such a row is skipped."""

_PERSON: Mapping[str, tuple[str, Read]] = {
    "name": ("", cells.plain),
    "document_type": ("document", cells.document_type),
    "document_number": ("document", cells.code),
    "document_missing_reason": ("", cells.plain),
    "phone": ("", cells.code),
    "address_division": ("address", cells.code),
    "address": ("address", cells.plain),
}
_FIELD = {"document_type": "type", "document_number": "number", "address_division": "division", "address": "line"}
_ROW: Mapping[str, tuple[str, Read]] = {
    "client_reference": ("", cells.code),
    "pharmacy_id": ("", cells.code),
    "licence_number": ("", cells.plain),
    "purchased_at": ("", cells.instant),
    "temperature_c": ("", cells.celsius),
    "symptoms": ("", cells.symptoms),
    "mask": ("checks", cells.yes_or_no),
    "code": ("checks", cells.health_code),
    "venue_scan": ("checks", cells.yes_or_no),
}
_ITEM: Mapping[str, Read] = {
    "name": cells.plain,
    "quantity": cells.quantity,
    "gtin": cells.code,
    "approval_number": cells.plain,
    "trace_codes": cells.codes,
    "batch": cells.code,
}
_ITEM_COLUMN = re.compile(r"item(\d{1,2})?_([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: where it stands, how it is headed, and where its value belongs in the body."""

    place: int
    header: str
    name: str
    path: Path
    read: Read

    @property
    def pointer(self) -> str:
        """The pointer that complaints about the value bear."""
        return "".join(f"/{part}" for part in self.path)


def fold_header(header: str) -> str:
    """Return a header as it is compared: without case, width, spaces, and what stands in brackets."""
    text = unicodedata.normalize("NFKC", header).lower()
    return re.sub(r"\(.*?\)|[\s*:]", "", text) if not text.startswith(ANSWER) else text.strip()


def _names() -> Iterator[tuple[str, str]]:
    for name, others in COLUMNS.items():
        yield from ((fold_header(one), name) for one in (name, *others))
    for field, others in ITEM_COLUMNS.items():
        for number in range(1, MOST_ITEMS + 1):
            name = f"item{number}_{field}"
            if number == 1:
                yield from ((one, name) for one in (f"item_{field}", *map(fold_header, others)))
            yield from ((one, name) for one in (name, *(f"{fold_header(other)}{number}" for other in others)))


NAMES: Mapping[str, str] = dict(_names())
"""Names of columns by every header under which they may go."""


def name_of(header: str) -> str | None:
    """Return the name of the column under a header; `小票号/client_reference` says it twice."""
    folded = fold_header(header)
    return folded if folded.startswith(ANSWER) else find_name(folded, NAMES)


def find_name(folded: str, names: Mapping[str, str]) -> str | None:
    """Return the name of the column that one of the names in a folded header has; none where they differ."""
    found = {names.get(part) for part in (folded, *folded.split("/"))} - {None}
    return found.pop() if len(found) == 1 else None


def is_sample(record: Record) -> bool:
    """Return whether a row is the template's sample."""
    return record.cells[0].lstrip().lower().startswith(SAMPLE_BEGINS)


def _path_and_read(name: str) -> tuple[Path, Read]:
    if name.startswith(ANSWER):
        return ("answers", name.removeprefix(ANSWER)), cells.answer
    if name in _ROW:
        group, read = _ROW[name]
        return ((group, name) if group else (name,)), read
    if item := _ITEM_COLUMN.fullmatch(name):
        return ("items", int(item[1]) - 1, item[2]), _ITEM[item[2]]
    person = "patient" if name.startswith("patient_") else "buyer"
    field = name.removeprefix("patient_")
    if field == "temperature_c":
        return (person, field), cells.celsius
    group, read = _PERSON[field]
    return ((person, group, _FIELD.get(field, field)) if group else (person, field)), read


@dataclass(slots=True)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Body:
    """The body that a row stands for, as pydantic takes it; `items` says which item of the row each of its items is."""

    content: dict[str, Any]
    items: Sequence[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows below a header are read."""

    width: int
    columns: tuple[Column, ...]
    headers: Mapping[str, str]
    """Header of each pointer, as the file has it."""

    def body_of(self, record: Record) -> Body | list[RowError]:
        """Return the body of the purchase that a row stands for, or what is wrong with its cells."""
        content = self.content_of(record)
        return content if isinstance(content, list) else _closed(content)

    def content_of(self, record: Record) -> dict[str, Any] | list[RowError]:
        """Return the values of a row, each at its path, or what is wrong with its cells."""
        if record.broken:
            return [RowError(record.line, "", "row_unreadable", "The line cannot be taken apart; look at its quotes")]
        row = record.cells
        if len(row) > self.width and any(cell.strip() for cell in row[self.width :]):
            return [RowError(record.line, "", "too_many_cells", "The row has more cells than the header")]
        body: dict[Any, Any] = {}
        errors: list[RowError] = []
        for column in self.columns:
            text = row[column.place].strip() if column.place < len(row) else ""
            if not text:
                continue
            try:
                if len(text) > MAX_CELL:
                    raise CellWrong("cell_too_long", f"A cell has at most {MAX_CELL} characters")
                value = column.read(text)
            except CellWrong as wrong:
                errors.append(RowError(record.line, column.header, wrong.code, wrong.detail))
                continue
            place = body
            for part in column.path[:-1]:
                place = place.setdefault(part, {})
            place[column.path[-1]] = value
        return errors or body

    def complaints(self, line: int, errors: Iterable[FieldError], items: Sequence[int] = ()) -> list[RowError]:
        """Return what is wrong with a body as complaints about cells; `items` are those of the `Body`."""
        return [RowError(line, self._header_of(error.pointer, items), error.code, error.detail) for error in errors]

    def _header_of(self, pointer: str, items: Sequence[int]) -> str:
        parts = pointer.split("/")[1:]
        if parts[:1] == ["items"] and len(parts) > 1 and parts[1].isdecimal() and int(parts[1]) < len(items):
            parts[1] = str(items[int(parts[1])])
        while parts:
            for pointer in ("/" + "/".join((*parts, *last)) for last in _MEANT):
                if pointer in self.headers:
                    return self.headers[pointer]
            parts.pop()
        return ""


_MEANT: tuple[tuple[str, ...], ...] = ((), ("number",), ("name",), ("line",))
"""Which cell is meant where the body's error is about a whole document, person, item or address."""


def close_document(person: dict[str, Any]) -> None:
    """Give the document of a row's person its type, where the row does not say it."""
    document = person.get("document")
    if document is not None and "number" not in document:
        del person["document"]  # a type that stands in every row says nothing
    elif document is not None:
        document.setdefault("type", "resident_id")


def _closed(body: dict[str, Any]) -> Body:
    for person in ("buyer", "patient"):
        close_document(body.get(person, {}))
    items = body.get("items", {})
    numbers = [number for number in sorted(items) if items[number].keys() - {"quantity"}]
    body["items"] = [items[number] for number in numbers]
    body.setdefault("buyer", {})
    return Body(body, numbers)


def plan_of(header: Sequence[str], ignored: str) -> Plan:
    """Return how the rows below a header are read; `ignored` is the header of a column to be passed over.

    Raises:
        SheetUnreadable: a header is not known or there twice, or one is lacking without which no row could be kept.
    """
    needed = {
        "购药时间/purchased_at": {"purchased_at"},
        "姓名/name, 证件号码/document_number, 电话/phone": {"name", "document_number", "phone"},
        "药品名称/item_name, 条形码/item_gtin, 批准文号/item_approval_number, 追溯码/item_trace_codes": {
            f"item{number}_{field}"
            for number in range(1, MOST_ITEMS + 1)
            for field in ITEM_COLUMNS
            if field not in ("quantity", "batch")
        },
    }
    return plan_with(header, ignored, needed, name_of, _path_and_read)


def plan_with(
    header: Sequence[str],
    ignored: str,
    needed: Mapping[str, Collection[str]],
    name_of: Callable[[str], str | None],
    path_and_read: Callable[[str], tuple[Path, Read]],
) -> Plan:
    """Return how the rows below a header are read, of any kind of table.

    `needed` has, by the words for them, columns of which one at least must be there.

    Raises:
        SheetUnreadable: a header is not known or there twice, or one that is needed is lacking.
    """
    columns: list[Column] = []
    for place, text in enumerate(header):
        if not text.strip() or text.strip() == ignored:
            continue
        name = name_of(text)
        if name is None:
            raise SheetUnreadable(
                f"Column {place + 1} has a header that is not known; remove it, or take one of the template"
            )
        if name == IGNORED:
            continue
        path, read = path_and_read(name)
        if any(column.name == name for column in columns):
            raise SheetUnreadable(f"Column {place + 1} says the same as one before it ({name})")
        columns.append(Column(place, text.strip()[:100], name, path, read))
    names = {column.name for column in columns}
    for words, any_of in needed.items():
        if names.isdisjoint(any_of):
            raise SheetUnreadable(
                f"The header lacks {words}" if len(any_of) == 1 else f"The header lacks one of {words}"
            )
    return Plan(len(header), tuple(columns), {column.pointer: column.header for column in columns})


TEMPLATE: Sequence[tuple[str, str]] = (
    ("client_reference", f"{SAMPLE_BEGINS[0]} POS7-20260215-000123"),
    ("purchased_at", "2026-02-15 09:41"),
    ("name", "王小样"),
    ("document_type", "身份证"),
    ("document_number", "11010519491231002X"),
    ("phone", "13800138000"),
    ("address_division", "440304005"),
    ("address", "沙头街道合成花园 3 栋"),
    ("temperature_c", "36.6"),
    ("symptoms", "咳嗽、咽痛"),
    ("answer:stay_in_affected_area_14d", "否"),
    ("answer:contact_with_case_14d", "否"),
    ("mask", "是"),
    ("code", "绿码"),
    ("item_name", "布洛芬缓释胶囊"),
    ("item_gtin", ""),
    ("item_quantity", "1"),
    ("item_batch", "A1203"),
    ("item2_name", ""),
    ("item2_quantity", ""),
    ("document_missing_reason", ""),
    ("patient_name", ""),
    ("patient_document_number", ""),
    ("patient_phone", ""),
    ("patient_temperature_c", ""),
)
"""The template's columns with its sample, which is made up and is skipped if it is left in."""


def template() -> list[list[str]]:
    """Return the template: headers in Chinese and English, and a sample."""
    return [[_bilingual(name) for name, _ in TEMPLATE], [sample for _, sample in TEMPLATE]]


def _bilingual(name: str) -> str:
    if item := _ITEM_COLUMN.fullmatch(name):
        return f"{ITEM_COLUMNS[item[2]][0]}{item[1] or ''}/{name}"
    return f"{COLUMNS[name][0]}/{name}"
