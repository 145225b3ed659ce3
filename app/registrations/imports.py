"""Purchases from a table: the same verb and the same rules as at the till."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.core.errors import AppError, FieldError
from app.core.sealing import HashKind, Keyring
from app.core.sheets import Record, RowError
from app.core.validation import refusal
from app.imports.columns import Plan, is_sample
from app.imports.importers import Verdict
from app.imports.refusals import ERRORS_COLUMN
from app.imports.rows import record_together
from app.pharmacies.models import Pharmacy
from app.pharmacies.rules import fold_code
from app.registrations.columns import Body, body_of, plan_of
from app.registrations.drafts import Recorded, Submission
from app.registrations.schemas import RegistrationIn
from app.registrations.service import (
    ClientReferenceConflict,
    Outcome,
    RegistrationNotRequired,
    record_registrations,
)

_PLACEHOLDER = "import-"


class RegistrationImporter:
    """Takes files of purchases, one to a row."""

    kind = "registrations"
    in_order = False

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def read_header(self, cells: Sequence[str]) -> Plan:
        """Return how rows under this header are read."""
        return plan_of(cells, ERRORS_COLUMN)

    async def record(
        self, session: AsyncSession, plan: Plan, records: Sequence[Record], *, actor: Actor, now: datetime
    ) -> list[Verdict]:
        """Record purchases in the session's transaction; return what became of each row."""
        licences = await _licences(session, actor) if "/licence_number" in plan.headers else {}
        read = [self._read(plan, record, licences) for record in records]
        good = [(at, row, body) for at, one in enumerate(read) if isinstance(one, tuple) for row, body in [one]]

        async def record(some: Sequence[Submission]) -> list[Outcome]:
            return await record_registrations(session, some, now=now, keyring=self._keyring)

        outcomes = await record_together(session, [Submission(actor, row) for _, row, _ in good], record)
        verdicts = [one if isinstance(one, Verdict) else Verdict("invalid") for one in read]
        for (at, _, body), outcome in zip(good, outcomes, strict=True):
            verdicts[at] = _verdict(plan, records[at].line, body, outcome)
        return verdicts

    def _read(self, plan: Plan, record: Record, licences: Mapping[str, UUID]) -> tuple[RegistrationIn, Body] | Verdict:
        if is_sample(record):
            return Verdict("skipped")
        body = body_of(plan, record)
        if not isinstance(body, Body):
            return Verdict("invalid", body)
        content = body.content
        licence = content.pop("licence_number", None)
        if licence is not None and "pharmacy_id" not in content:
            if (known := licences.get(fold_code(licence))) is None:
                wrong = FieldError(
                    "/licence_number", "pharmacy_not_yours", "The key does not speak for such a pharmacy"
                )
                return Verdict("invalid", plan.complaints(record.line, [wrong], body.items))
            content["pharmacy_id"] = known
        named = "client_reference" in content
        if not named:
            content["client_reference"] = _PLACEHOLDER
        try:
            row = RegistrationIn.model_validate(content)
        except ValidationError as error:
            return Verdict("invalid", plan.complaints(record.line, refusal(error).errors, body.items))
        return (row if named else self._name(row)), body

    def _name(self, row: RegistrationIn) -> RegistrationIn:
        """Name a purchase that has no reference by its content, so that the same row is the same purchase next time."""
        content = "import " + row.model_dump_json(exclude={"client_reference", "pharmacy_id"})
        return row.model_copy(
            update={"client_reference": _PLACEHOLDER + self._keyring.hash(HashKind.CONTENT, content).hex()}
        )


async def _licences(session: AsyncSession, actor: Actor) -> dict[str, UUID]:
    """Return the actor's pharmacies by licence number, as far as it names one."""
    query = select(Pharmacy.id, Pharmacy.licence_number).where(Pharmacy.id.in_(actor.pharmacy_ids))
    rows = (await session.execute(query)).all()
    numbers = [fold_code(licence) for _, licence in rows]
    return {number: row[0] for number, row in zip(numbers, rows, strict=True) if numbers.count(number) == 1}


def _verdict(plan: Plan, line: int, body: Body, outcome: Outcome) -> Verdict:
    match outcome:
        case Recorded():
            return Verdict("duplicate" if outcome.duplicate else "created")
        case RegistrationNotRequired():
            return Verdict("not_required")
        case ClientReferenceConflict():
            return Verdict("conflict", _told(plan, line, body, outcome))
        case _:
            return Verdict("invalid", _told(plan, line, body, outcome))


def _told(plan: Plan, line: int, body: Body, error: AppError) -> list[RowError]:
    pointer = "/client_reference" if isinstance(error, ClientReferenceConflict) else ""
    errors = error.errors or (FieldError(pointer, error.code, error.detail or error.title),)
    return plan.complaints(line, errors, body.items)
