"""From a row of a table to the body of a purchase.

A row is a purchase. Its items stand beside each other: `item_name`, `item_quantity` …, then `item2_name` … up to ten of them.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.sheets import Record, RowError
from app.imports import cells
from app.imports.cells import Read
from app.imports.columns import SAMPLE_BEGINS, Path, Plan, find_name, fold_header, plan_with
from app.registrations.cells import answer, celsius, document_type, health_code, quantity, symptoms, yes_or_no
from app.registrations.vocabulary import COLUMNS, ITEM_COLUMNS, MOST_ITEMS

ANSWER = "answer:"

_PERSON: Mapping[str, tuple[str, Read]] = {
    "name": ("", cells.plain),
    "document_type": ("document", document_type),
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
    "temperature_c": ("", celsius),
    "symptoms": ("", symptoms),
    "mask": ("checks", yes_or_no),
    "code": ("checks", health_code),
    "venue_scan": ("checks", yes_or_no),
}
_ITEM: Mapping[str, Read] = {
    "name": cells.plain,
    "quantity": quantity,
    "gtin": cells.code,
    "approval_number": cells.plain,
    "trace_codes": cells.codes,
    "batch": cells.code,
}
_ITEM_COLUMN = re.compile(r"item(\d{1,2})?_([a-z_]+)")


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
    plain = unicodedata.normalize("NFKC", header).lower().strip()
    return plain if plain.startswith(ANSWER) else find_name(fold_header(header), NAMES)


def _path_and_read(name: str) -> tuple[Path, Read]:
    if name.startswith(ANSWER):
        return ("answers", name.removeprefix(ANSWER)), answer
    if name in _ROW:
        group, read = _ROW[name]
        return ((group, name) if group else (name,)), read
    if item := _ITEM_COLUMN.fullmatch(name):
        return ("items", int(item[1]) - 1, item[2]), _ITEM[item[2]]
    person = "patient" if name.startswith("patient_") else "buyer"
    field = name.removeprefix("patient_")
    if field == "temperature_c":
        return (person, field), celsius
    group, read = _PERSON[field]
    return ((person, group, _FIELD.get(field, field)) if group else (person, field)), read


@dataclass(slots=True)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Body:
    """The body that a row stands for, as pydantic takes it; `items` says which item of the row each of its items is."""

    content: dict[str, Any]
    items: Sequence[int]


def body_of(plan: Plan, record: Record) -> Body | list[RowError]:
    """Return the body of the purchase that a row stands for, or what is wrong with its cells."""
    content = plan.content_of(record)
    return content if isinstance(content, list) else _closed(content)


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
