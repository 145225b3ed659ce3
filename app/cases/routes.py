"""The health authority's door."""

from collections import Counter
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.cases import queries, service
from app.cases.schemas import CaseBatchAnswer, CaseFilter, CaseIn, CaseOut, ClassificationIn
from app.cases.service import CaseConflict, CaseWouldDowngrade, Outcome, Recorded
from app.core import batches
from app.core.batches import Unreadable
from app.core.errors import AppError
from app.core.http import Built, Keys, Now, Router, Transaction
from app.core.pagination import Page, Paging
from app.core.schemas import RowResult

router = Router(prefix="/v1/cases", tags=["cases"])

BATCH_PATH = "/v1/cases/batch"
_READER = batches.RowReader(CaseIn)

Authority = Annotated[Actor, Depends(requires(Permission.RECORD_CASES))]
Viewer = Annotated[Actor, Depends(requires(Permission.READ_CASES))]


@router.post(
    "",
    status_code=201,
    responses={200: {"model": CaseOut, "description": "Known before"}, 409: {"description": CaseConflict.title}},
    openapi_extra=_READER.documented(),
)
async def record_case(
    request: Request, response: Response, session: Transaction, actor: Authority, now: Now, keyring: Keys
) -> CaseOut:
    """Record one case. 201 if it is new; 200 if it was known, with what this row may have added."""
    row = await _READER.one(request)
    [outcome] = await service.record_cases(session, [row], actor=actor, now=now, keyring=keyring)
    if isinstance(outcome, AppError):
        raise outcome
    if outcome.status != "created":
        response.status_code = 200
    return await _shown(session, outcome.id, actor)


@router.post("/batch", openapi_extra=_READER.documented(many=True))
async def record_case_batch(request: Request, actor: Authority, built: Built) -> CaseBatchAnswer:
    """Record a case list of up to 10,000 rows: a JSON array, or NDJSON. One result per row, in order.

    Lists may overlap and may be sent again. A row may add what was missing and raise a classification; what would lower one
    or contradict what is stored is a `conflict` and changes nothing. Good rows are kept whatever the bad ones do.
    """
    rows = await _READER.many(request)
    results: list[RowResult] = []
    for start in range(0, len(rows), batches.ROWS_PER_TRANSACTION):
        chunk = rows[start : start + batches.ROWS_PER_TRANSACTION]
        readable = [row for row in chunk if not isinstance(row, Unreadable)]
        async with built.database.transaction() as session:
            outcomes = iter(
                await service.record_cases(session, readable, actor=actor, now=built.clock.now(), keyring=built.keyring)
            )
        results += [
            batches.refused(start + at, "invalid", row.errors)
            if isinstance(row, Unreadable)
            else _result(start + at, next(outcomes))
            for at, row in enumerate(chunk)
        ]
    counts = Counter(result.status for result in results)
    return CaseBatchAnswer(
        results=results,
        created=counts["created"],
        updated=counts["updated"],
        duplicate=counts["duplicate"],
        conflict=counts["conflict"],
        invalid=counts["invalid"],
    )


@router.get("")
async def list_cases(
    session: Transaction,
    actor: Viewer,
    filters: Annotated[CaseFilter, Query()],
    paging: Paging,
) -> Page[CaseOut]:
    """List cases of your division without identities, the last received first."""
    rows = await queries.list_cases(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.wanted,
        before=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=await queries.show_cases(session, shown), next_cursor=cursor)


@router.get("/{case_id}")
async def get_case(case_id: UUID, session: Transaction, actor: Viewer) -> CaseOut:
    """Show one case without its identity, with the history of its classification."""
    return await _shown(session, case_id, actor)


@router.post("/{case_id}/classification")
async def reclassify_case(
    case_id: UUID, change: ClassificationIn, session: Transaction, actor: Authority, now: Now, keyring: Keys
) -> CaseOut:
    """Change a case's classification, with a reason. Discarding withdraws its matches and reverses its rewards."""
    await service.reclassify_case(session, case_id, change, actor=actor, now=now, keyring=keyring)
    return await _shown(session, case_id, actor)


async def _shown(session: Transaction, case_id: UUID, actor: Actor) -> CaseOut:
    case = await queries.get_case(session, case_id, scope=actor.division)
    return (await queries.show_cases(session, [case]))[0]


def _result(index: int, outcome: Outcome) -> RowResult:
    match outcome:
        case Recorded():
            return batches.kept(index, outcome.status, outcome.id)
        case CaseConflict() | CaseWouldDowngrade():
            return batches.refused_by(index, "conflict", outcome)
        case _:
            return batches.refused_by(index, "invalid", outcome)
