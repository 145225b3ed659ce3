"""How an import is getting on, and what it refused."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response
from fastapi.responses import StreamingResponse

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Built, Router, Transaction
from app.core.workbooks import XLSX
from app.imports import queries, service
from app.imports.importers import COUNTED
from app.imports.models import Import
from app.imports.refusals import refused_file, refused_rows
from app.imports.schemas import ImportErrorOut, ImportFormat, ImportOut, ImportRows, ImportState
from app.imports.service import ImportNotFinished

router = Router(prefix="/v1/imports", tags=["imports"])

CSV = "text/csv; charset=utf-8"
Sender = Annotated[Actor, Depends(requires(Permission.FOLLOW_IMPORTS))]


@router.get("/{import_id}")
async def get_import(
    import_id: UUID,
    session: Transaction,
    actor: Sender,
    errors: Annotated[int, Query(ge=0, le=1000, description="How many errors to show, the first ones")] = 100,
) -> ImportOut:
    """Show how far an import of yours is, what became of its rows, and its first errors by line and column.

    Ask again every second or two until `state` is `finished`; `result` then says what it came to.
    """
    found = await queries.get_import(session, import_id, actor=actor)
    return shown(found, await queries.progress_of(session, import_id, errors=errors))


@router.get(
    "/{import_id}/errors",
    response_class=Response,
    responses={
        200: {
            "description": "The refused rows",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                XLSX: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        409: {"description": ImportNotFinished.title},
    },
)
async def get_import_errors(import_id: UUID, actor: Sender, built: Built) -> Response:
    """Fetch the refused rows as they came, as CSV or XLSX like the file itself, with the reasons in a further column.

    Correct them and hand the file in again as it is: the column of reasons is ignored. Kept for seven days.
    """
    async with built.database.transaction() as session:
        file_format, delimiter, header = await service.open_refusals(
            session, import_id, actor=actor, now=built.clock.now()
        )
    rows = refused_rows(built.database, built.keyring, import_id, header)
    is_text = file_format is ImportFormat.CSV
    return StreamingResponse(
        refused_file(rows, file_format, delimiter),
        media_type=CSV if is_text else XLSX,
        headers={
            "Content-Disposition": f'attachment; filename="refused-rows.{file_format.value}"',
            "Cache-Control": "no-store",
        },
    )


def shown(found: Import, progress: queries.Progress) -> ImportOut:
    """Return an import as its sender sees it."""
    counts = {status: progress.counts[status] for status in COUNTED}
    percent = 100 if found.state is ImportState.FINISHED else min(99, 100 * progress.done // max(found.size, 1))
    return ImportOut(
        id=found.id,
        kind=found.kind,
        format=found.format,
        dry_run=found.dry_run,
        state=found.state,
        result=found.result,
        problem=found.problem,
        percent=percent,
        rows=ImportRows(read=sum(counts.values()), **counts),
        errors=[ImportErrorOut.model_validate(error) for error in progress.errors],
        received_at=found.received_at,
        finished_at=found.finished_at,
    )
