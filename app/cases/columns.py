"""From a row of a case list to the body of a case, by the same reading as a table of purchases."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.cases.vocabulary import CLASSIFICATIONS, COLUMNS, DISEASES
from app.imports import cells
from app.imports.cells import CellWrong, Read
from app.imports.columns import SAMPLE_BEGINS, Path, Plan, find_name, fold_header, plan_with
from app.registrations.cells import document_type

_NAMES: Mapping[str, str] = {fold_header(one): name for name, others in COLUMNS.items() for one in (name, *others)}


def _disease(text: str) -> str:
    return DISEASES.get(text) or cells.code(text)


def _confirmed_at(text: str) -> datetime:
    """Return the time of confirmation. Midnight sharp is what a spreadsheet makes of a day without a time.

    Taken at its word it would put the confirmation before every registration of that day, and cost the pharmacies their reward.
    """
    at = cells.instant(text)
    if (at.hour, at.minute, at.second) == (0, 0, 0):
        raise CellWrong("time_missing", "The time of day is needed: 2026-02-17 20:10")
    return at


_CELLS: Mapping[str, tuple[Path, Read]] = {
    "authority": (("authority",), cells.code),
    "case_number": (("case_number",), cells.code),
    "disease": (("disease",), _disease),
    "classification": (("classification",), cells.one_of(CLASSIFICATIONS)),
    "division": (("division",), cells.code),
    "name": (("person", "name"), cells.plain),
    "document_type": (("person", "document", "type"), document_type),
    "document_number": (("person", "document", "number"), cells.code),
    "document_missing_reason": (("person", "document_missing_reason"), cells.plain),
    "phone": (("person", "phone"), cells.code),
    "birth_date": (("person", "birth_date"), cells.day),
    "address_division": (("person", "address", "division"), cells.code),
    "address": (("person", "address", "line"), cells.plain),
    "onset_on": (("onset_on",), cells.day),
    "confirmed_at": (("confirmed_at",), _confirmed_at),
}

_NEEDED = {
    **{
        f"{COLUMNS[name][0]}/{name}": (name,)
        for name in ("authority", "case_number", "disease", "classification", "division")
    },
    "姓名/name, 证件号码/document_number, 电话/phone": ("name", "document_number", "phone"),
}


def plan_of(header: Sequence[str], ignored: str) -> Plan:
    """Return how the rows below a header are read; `ignored` is the header of a column to be passed over.

    Raises:
        SheetUnreadable: a header is not known or there twice, or one is lacking without which no row could be kept.
    """
    return plan_with(header, ignored, _NEEDED, lambda text: find_name(fold_header(text), _NAMES), _CELLS.__getitem__)


TEMPLATE: Mapping[str, str] = {
    "authority": f"{SAMPLE_BEGINS[0]} 440304-CDC",
    "case_number": "2026-0217-001",
    "disease": "covid-19",
    "classification": "确诊病例",
    "division": "440304005",
    "name": "王小样",
    "document_type": "身份证",
    "document_number": "11010519491231002X",
    "phone": "13800138000",
    "onset_on": "2026-02-14",
    "confirmed_at": "2026-02-17 20:10",
}
"""The template's columns with its sample, which is made up and is skipped if it is left in."""


def template() -> list[list[str]]:
    """Return the template: headers in Chinese and English, and a sample."""
    return [[f"{COLUMNS[name][0]}/{name}" for name in TEMPLATE], [*TEMPLATE.values()]]
