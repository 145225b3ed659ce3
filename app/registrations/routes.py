"""The tills' door, and the view of those who may look."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic_core import to_json

from app.auth.guards import TillRoute, requires, spend
from app.auth.rules import PURCHASES, ROWS, Actor, Permission
from app.core import batches
from app.core.batches import Unreadable
from app.core.http import Router, Services, Transaction, header, services
from app.core.languages import Language, Phrasebook, preferred, said_in
from app.core.pagination import Page, Paging
from app.core.repeats import Repeats, name_of
from app.core.schemas import FieldErrorOut, RowStatus
from app.registrations import queries
from app.registrations.chain import Receipt, stretches
from app.registrations.drafts import Recorded, Submission, Unread
from app.registrations.intake import Intake
from app.registrations.queries import Visible
from app.registrations.receipts import sign, sign_stretch
from app.registrations.rules import advise
from app.registrations.schemas import (
    BatchAnswer,
    ItemResult,
    RegistrationAnswer,
    RegistrationDetail,
    RegistrationFilter,
    RegistrationIn,
    RegistrationOut,
)
from app.registrations.service import (
    ClientReferenceConflict,
    Outcome,
    PharmacyClosed,
    RegistrationNotRequired,
)

router = Router(prefix="/v1/registrations", tags=["registrations"])
tills = Router(prefix="/v1/registrations", tags=["registrations"], route_class=TillRoute)

SINGLE_PATH = "/v1/registrations"
BATCH_PATH = "/v1/registrations/batch"

ACCEPT_LANGUAGE: dict[str, Any] = {
    "name": "accept-language",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
}

_READER = batches.RowReader(RegistrationIn)

Till = Annotated[Actor, Depends(requires(Permission.REGISTER, budget=PURCHASES))]
Sender = Annotated[Actor, Depends(requires(Permission.REGISTER, budget=ROWS))]
Viewer = Annotated[Actor, Depends(requires(Permission.READ_REGISTRATIONS))]


def intake_of(request: Request) -> Intake:
    """Return the application's intake."""
    intake: Intake = services(request).parts[Intake]
    return intake


@tills.post(
    "",
    status_code=201,
    response_model=RegistrationAnswer,
    responses={
        200: {"model": RegistrationAnswer, "description": "The same purchase again: the same answer"},
        409: {"description": ClientReferenceConflict.title},
        410: {"description": PharmacyClosed.title},
    },
    openapi_extra={**_READER.documented(), "parameters": [ACCEPT_LANGUAGE]},
)
async def record_registration(request: Request, actor: Till) -> Response:
    """Register one purchase and learn at once what the clerk must do.

    201 for a new one; 200 when the same content was sent before. 422 `registration_not_required` where nothing may be
    registered: the purchase was not stored.
    """
    built = services(request)
    intake: Intake = built.parts[Intake]
    body = await _READER.body(request)
    language = preferred(header(request, b"accept-language"))

    def read() -> Submission:
        row = _READER.read(body)
        return Submission(
            actor, row, lambda recorded: answer_of(recorded, row, built, language).model_dump_json().encode()
        )

    recorded = await intake.record(Unread(actor, read))
    status = 200 if recorded.duplicate else 201
    return Response(recorded.told, status, said_in(language), "application/json")


@tills.post("/batch", response_model=BatchAnswer, openapi_extra=_READER.documented(many=True))
async def record_registration_batch(request: Request, actor: Sender) -> Response:
    """Register up to 10,000 purchases: a JSON array, or NDJSON. One result per row, in order.

    Good rows are kept whatever the bad ones do. A batch that was interrupted may be sent again as a whole.
    """
    repeats: Repeats = services(request).parts[Repeats]
    kind = " ".join(header(request, name) for name in (b"content-type", b"content-encoding"))
    name = await name_of(actor.key_id, kind, await request.body())
    async with repeats.turns.take(name):
        repeat = repeats.find(name)
        if repeat is not None:
            spend(request, actor, ROWS, repeat.rows)
            return Response(repeat.answer, media_type="application/json")
        rows = await _READER.many(request)
        spend(request, actor, ROWS, len(rows))
        answer = await _record_batch(request, actor, rows)
        told = to_json(answer)
        if answer["duplicate"] == len(rows):
            repeats.remember(name, told, len(rows))
    return Response(told, media_type="application/json")


async def _record_batch(request: Request, actor: Actor, rows: Sequence[RegistrationIn | Unreadable]) -> dict[str, Any]:
    """Record the rows; return the members of a `BatchAnswer`. As models, a thousand results took three times as long to make and write."""
    intake = intake_of(request)
    results: list[dict[str, Any]] = []
    receipts: list[Receipt] = []
    for start in range(0, len(rows), batches.ROWS_PER_TRANSACTION):
        chunk = rows[start : start + batches.ROWS_PER_TRANSACTION]
        readable = [Submission(actor, row) for row in chunk if not isinstance(row, Unreadable)]
        outcomes = await intake.record_many(actor.key_id, readable) if readable else []
        receipts += [one.receipt for one in outcomes if isinstance(one, Recorded) and one.receipt and not one.duplicate]
        told = iter(outcomes)
        results += [
            _row_result(start + at, "invalid", errors=batches.shown(row.errors))
            if isinstance(row, Unreadable)
            else _row_result_of(start + at, next(told))
            for at, row in enumerate(chunk)
        ]
    counts = Counter([result["status"] for result in results])
    return {
        "results": results,
        **{status: counts[status] for status in ("created", "duplicate", "conflict", "invalid", "not_required")},
        "receipts": [sign_stretch(stretch, services(request).keyring) for stretch in stretches(receipts)],
    }


@router.get("")
async def list_registrations(
    session: Transaction,
    actor: Viewer,
    filters: Annotated[RegistrationFilter, Query()],
    paging: Paging,
) -> Page[RegistrationOut]:
    """List registrations without identities, the last received first. A pharmacy sees its own."""
    rows = await queries.list_registrations(
        session,
        visible=Visible.to(actor),
        filters=filters,
        limit=paging.wanted,
        before=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=shown, next_cursor=cursor)


@router.get("/{registration_id}")
async def get_registration(registration_id: UUID, session: Transaction, actor: Viewer) -> RegistrationDetail:
    """Show one registration with its earlier revisions, without identities."""
    return await queries.get_registration(session, registration_id, visible=Visible.to(actor))


def answer_of(recorded: Recorded, row: RegistrationIn, built: Services, language: Language) -> RegistrationAnswer:
    """Return the answer for the counter in the clerk's language, with its signed receipt."""
    warnings = recorded.warnings
    if warnings and language is Language.ZH:
        book: Phrasebook = built.parts[Phrasebook]
        warnings = book.messages(warnings)
    items = []
    for line in range(len(row.items)):
        drug = recorded.lines.get(line)
        items.append(
            ItemResult(
                status="unlisted" if drug is None else "listed",
                drug_id=drug[0] if drug else None,
                drug=drug[1] if drug else None,
            )
        )
    return RegistrationAnswer(
        id=recorded.id,
        received_at=recorded.received_at,
        revision=recorded.revision,
        items=items,
        flags=list(recorded.flags),
        advice=advise(recorded.flags, language),
        warnings=batches.shown(warnings),
        receipt=sign(recorded.receipt, built.keyring) if recorded.receipt is not None else None,
    )


def _row_result_of(index: int, outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Recorded():
            if outcome.duplicate:
                return _row_result(index, "duplicate", outcome.id)
            return _row_result(index, "created", outcome.id, receipt=_row_receipt(outcome.receipt))
        case ClientReferenceConflict():
            return _row_result(index, "conflict", errors=batches.refusals(outcome))
        case RegistrationNotRequired():
            return _row_result(index, "not_required", errors=batches.refusals(outcome))
        case _:
            return _row_result(index, "invalid", errors=batches.refusals(outcome))


def _row_result(
    index: int,
    status: RowStatus,
    row_id: UUID | None = None,
    *,
    errors: Sequence[FieldErrorOut] = (),
    receipt: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the members of a `RegistrationRowResult`."""
    told = None if row_id is None else str(row_id)
    return {"index": index, "status": status, "id": told, "errors": errors, "receipt": receipt}


def _row_receipt(receipt: Receipt | None) -> dict[str, Any] | None:
    """Return the members of a `RowReceipt`."""
    if receipt is None or receipt.salt is None:
        return None
    link = receipt.link
    return {"number": link.number, "commitment": link.commitment.hex(), "salt": receipt.salt.hex()}
