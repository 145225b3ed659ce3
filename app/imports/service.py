"""The steps of an import; `receiving` and `working` put them in order."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor, Role
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.imports import queries
from app.imports.importers import result_of
from app.imports.models import Import, ImportChunk, ImportPiece
from app.imports.schemas import ImportFormat, ImportResult, ImportState

MOST_OPEN = 20
"""Imports that one account may have under way."""
KEPT_FOR = timedelta(days=7)
"""How long refused rows may be fetched, and how long an upload that broke off lies about."""


class TooManyImports(Conflict):
    """The account has as many imports under way as it may have; wait until one is finished."""

    code, title = "too_many_imports", "Too many imports under way"


class ImportNotFinished(Conflict):
    """The import is still under way; its refused rows can be fetched when it is finished."""

    code, title = "import_not_finished", "The import is not finished"


async def begin_import(
    session: AsyncSession, *, actor: Actor, now: datetime, kind: str, file_format: ImportFormat, dry_run: bool
) -> UUID:
    """Begin to receive a file; return the import's id.

    Raises:
        TooManyImports: the account has enough of them under way.
    """
    if actor.account_id is not None and await queries.count_open(session, actor.account_id) >= MOST_OPEN:
        raise TooManyImports
    made = Import(
        id=new_id(),
        kind=kind,
        format=file_format,
        delimiter=",",
        dry_run=dry_run,
        state=ImportState.RECEIVING,
        size=0,
        account_id=actor.account_id,
        account_name=actor.name,
        role=actor.role.value,
        key_id=actor.key_id,
        pharmacy_ids=sorted(actor.pharmacy_ids),
        division=actor.division,
        received_at=now,
    )
    session.add(made)
    await session.flush()
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="import.begun",
        subject=("import", made.id),
        detail={"kind": kind, "format": file_format.value, "dry_run": dry_run},
    )
    return made.id


def actor_of(found: Import) -> Actor:
    """Return who handed the file in, as they were then."""
    return Actor(
        found.account_id,
        found.account_name,
        Role(found.role),
        found.key_id,
        found.division,
        frozenset(found.pharmacy_ids),
    )


async def finish_import(
    session: AsyncSession,
    import_id: UUID,
    *,
    actor: Actor,
    now: datetime,
    problem: str | None = None,
    result: ImportResult | None = None,
) -> ImportResult | None:
    """Say what an import came to, and destroy the uploaded file. Finishing it again changes nothing.

    `result` and `problem` are given where the file could not be worked through.
    """
    found = await session.get(Import, import_id, with_for_update=True)
    if found is None or found.state is ImportState.FINISHED:
        return None if found is None else found.result
    counts = (await queries.progress_of(session, import_id)).counts
    found.state, found.finished_at = ImportState.FINISHED, now
    found.result, found.problem = result or result_of(counts), problem
    await session.flush()
    await session.execute(delete(ImportPiece).where(ImportPiece.import_id == import_id))
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="import.finished",
        subject=("import", import_id),
        detail={"result": found.result.value, "dry_run": found.dry_run, **counts},
    )
    return found.result


async def open_refusals(
    session: AsyncSession, import_id: UUID, *, actor: Actor, now: datetime
) -> tuple[ImportFormat, str, list[str]]:
    """Allow the refused rows to be fetched; return format, delimiter and header of the file.

    Raises:
        NotFound: there is no such import of the actor's account, no row was refused, or the rows are gone.
        ImportNotFinished: it is still under way.
    """
    found = await queries.get_import(session, import_id, actor=actor)
    if found.state is not ImportState.FINISHED:
        raise ImportNotFinished
    if found.header is None or await queries.sealed_refusals(session, import_id, -1) is None:
        raise NotFound("No row was refused, or the refused rows have been deleted")
    await audit.record(session, actor=actor, now=now, action="import.refusals_fetched", subject=("import", import_id))
    return found.format, found.delimiter, found.header


async def purge_imports(session: AsyncSession, *, actor: Actor, now: datetime) -> int:
    """Destroy refused rows that nobody may fetch any more, and files that nobody works on; return how many imports it concerned.

    A command that was killed leaves its file behind in the middle: what was recorded stays, and its counts with it.
    """
    old = select(Import.id).where(Import.received_at < now - KEPT_FOR).scalar_subquery()
    gone = await session.execute(
        update(ImportChunk)
        .where(ImportChunk.import_id.in_(old), ImportChunk.refused.is_not(None))
        .values(refused=None)
        .returning(ImportChunk.import_id)
    )
    purged = {row[0] for row in gone}
    unfinished = delete(Import).where(
        Import.received_at < now - KEPT_FOR, Import.state.in_([ImportState.RECEIVING, ImportState.WAITING])
    )
    purged |= {row[0] for row in await session.execute(unfinished.returning(Import.id))}
    broken_off = select(Import.id).where(Import.received_at < now - KEPT_FOR, Import.state == ImportState.RUNNING)
    for import_id in (await session.scalars(broken_off)).all():
        await finish_import(session, import_id, actor=actor, now=now, result=ImportResult.FAILED)
        purged.add(import_id)
    if purged:
        await audit.record(
            session,
            actor=actor,
            now=now,
            action="imports.purged",
            subject=("imports", None),
            detail={"count": len(purged)},
        )
    return len(purged)
