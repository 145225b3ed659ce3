"""Case lists from a table: the same verb and the same rules as the API."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.cases.columns import plan_of
from app.cases.schemas import CaseIn
from app.cases.service import CaseConflict, CaseWouldDowngrade, Outcome, Recorded, record_cases
from app.core.errors import AppError, FieldError
from app.core.sealing import Keyring
from app.core.sheets import Record, RowError
from app.core.validation import refusal
from app.imports.columns import Plan, is_sample
from app.imports.importers import Verdict
from app.imports.refusals import ERRORS_COLUMN
from app.imports.rows import record_together
from app.registrations.columns import close_document

_MEANT: Mapping[type[AppError], str] = {CaseConflict: "/case_number", CaseWouldDowngrade: "/classification"}
"""The cell that an error about a whole row is about."""


class CaseImporter:
    """Takes case lists, one case to a row."""

    kind = "cases"
    in_order = True
    """The same case may stand in a list twice, the later row with more: out of order it would be a downgrade."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def read_header(self, cells: Sequence[str]) -> Plan:
        """Return how rows under this header are read."""
        return plan_of(cells, ERRORS_COLUMN)

    async def record(
        self, session: AsyncSession, plan: Plan, records: Sequence[Record], *, actor: Actor, now: datetime
    ) -> list[Verdict]:
        """Record the cases of a list in the session's transaction; return what became of each row."""

        async def together(cases: Sequence[CaseIn]) -> list[Outcome]:
            return await record_cases(session, cases, actor=actor, now=now, keyring=self._keyring)

        read = [_read(plan, record) for record in records]
        outcomes = iter(await record_together(session, [one for one in read if isinstance(one, CaseIn)], together))
        return [
            _verdict(plan, record.line, next(outcomes)) if isinstance(one, CaseIn) else one
            for record, one in zip(records, read, strict=True)
        ]


def _read(plan: Plan, record: Record) -> CaseIn | Verdict:
    if is_sample(record):
        return Verdict("skipped")
    content = plan.content_of(record)
    if isinstance(content, list):
        return Verdict("invalid", content)
    close_document(content.setdefault("person", {}))
    try:
        return CaseIn.model_validate(content)
    except ValidationError as error:
        return Verdict("invalid", plan.complaints(record.line, refusal(error).errors))


def _verdict(plan: Plan, line: int, outcome: Outcome) -> Verdict:
    match outcome:
        case Recorded():
            return Verdict(outcome.status)
        case CaseConflict() | CaseWouldDowngrade():
            return Verdict("conflict", _told(plan, line, outcome))
        case _:
            return Verdict("invalid", _told(plan, line, outcome))


def _told(plan: Plan, line: int, error: AppError) -> list[RowError]:
    whole = FieldError(_MEANT.get(type(error), ""), error.code, error.detail or error.title)
    return plan.complaints(line, error.errors or (whole,))
