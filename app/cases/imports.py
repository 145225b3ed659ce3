"""Case lists from a table: the same verb and the same rules as the API."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.cases.schemas import CaseIn
from app.cases.service import Recorded, record_cases
from app.core.errors import AppError
from app.core.sealing import Keyring
from app.core.sheets import Lines, Row, RowError, read_sheet
from app.core.validation import refusal

REQUIRED = ("authority", "case_number", "disease", "classification", "division")
PERSON = ("name", "document_type", "document_number", "phone", "birth_date")
OPTIONAL = (*PERSON, "onset_on", "confirmed_at")
"""Columns of the table; each may go by its Chinese name."""

HEADERS = {
    "报告单位": "authority",
    "病例编号": "case_number",
    "病种": "disease",
    "病例分类": "classification",
    "行政区划": "division",
    "姓名": "name",
    "证件类型": "document_type",
    "证件号码": "document_number",
    "电话": "phone",
    "出生日期": "birth_date",
    "发病日期": "onset_on",
    "确诊时间": "confirmed_at",
}

_COLUMN_OF = {
    "/person/document/type": "document_type",
    "/person/document/number": "document_number",
    "/person/document": "document_number",
    "/person": "name",
}


@dataclass(frozen=True, slots=True)
class CasesImported:
    """What became of an import: rows by outcome, and every complaint. A row with a complaint was left out."""

    counts: Mapping[str, int]
    errors: tuple[RowError, ...]


async def import_cases(
    session: AsyncSession, lines: Lines, *, actor: Actor, now: datetime, keyring: Keyring
) -> CasesImported:
    """Record the cases of a table; good rows are kept whatever the bad ones do.

    Raises:
        SheetUnreadable: the file is not such a table.
    """
    errors: list[RowError] = []
    readable: list[tuple[Row, CaseIn]] = []
    for row in read_sheet(lines, REQUIRED, OPTIONAL, HEADERS):
        try:
            readable.append((row, CaseIn.model_validate(_body(row))))
        except ValidationError as error:
            errors += _complaints(row, refusal(error))
    outcomes = await record_cases(session, [case for _, case in readable], actor=actor, now=now, keyring=keyring)
    counts: Counter[str] = Counter()
    for (row, _), outcome in zip(readable, outcomes, strict=True):
        if isinstance(outcome, Recorded):
            counts[outcome.status] += 1
        else:
            errors += _complaints(row, outcome)
    return CasesImported(counts, tuple(sorted(errors, key=lambda error: error.line)))


def _body(row: Row) -> dict[str, Any]:
    body: dict[str, Any] = {name: row[name] for name in REQUIRED}
    body |= {name: row[name] or None for name in ("onset_on", "confirmed_at")}
    person: dict[str, Any] = {name: row[name] or None for name in ("name", "phone", "birth_date")}
    if row["document_number"]:
        person["document"] = {"type": row["document_type"] or "resident_id", "number": row["document_number"]}
    return {**body, "person": person}


def _complaints(row: Row, error: AppError) -> list[RowError]:
    if not error.errors:
        return [row.error("case_number", error.code, error.detail or error.title)]
    return [
        row.error(_COLUMN_OF.get(item.pointer) or item.pointer.rpartition("/")[2], item.code, item.detail)
        for item in error.errors
    ]
