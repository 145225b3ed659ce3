"""An import in the database, step by step: pieces of its file, and what became of each chunk of its rows."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import jobs
from app.core.database import driver, trouble
from app.core.errors import InternalError
from app.core.log import logger
from app.core.sealing import Keyring
from app.core.sheets import Record
from app.imports.importers import REFUSED, Verdict
from app.imports.models import Import, ImportChunk, ImportPiece
from app.imports.schemas import ImportState

DUE = jobs.declare("imports.due")
"""An import that is to be worked on; payload `{"import_id": …}`."""

_ERRORS_PER_CHUNK = 200

Row = TypeVar("Row")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where a chunk ended."""

    number: int
    position: int
    line: int


async def bookmarks(session: AsyncSession, import_id: UUID) -> list[Bookmark]:
    """Return the ends of all chunks that were worked through, in order."""
    query = (
        select(ImportChunk.number, ImportChunk.position, ImportChunk.line)
        .where(ImportChunk.import_id == import_id)
        .order_by(ImportChunk.number)
    )
    return [Bookmark(*row) for row in await session.execute(query)]


async def keep_piece(session: AsyncSession, import_id: UUID, number: int, data: bytes, *, keyring: Keyring) -> None:
    """Keep a piece of the file, sealed to its place in it."""
    sealed = keyring.seal(data, table="import_pieces", row=import_id, column=f"sealed {number}")
    session.add(ImportPiece(import_id=import_id, number=number, sealed=sealed))
    await session.flush()


async def open_piece(session: AsyncSession, import_id: UUID, number: int, *, keyring: Keyring) -> bytes | None:
    """Return a piece of the file; None after the last."""
    query = select(ImportPiece.sealed).where(ImportPiece.import_id == import_id, ImportPiece.number == number)
    sealed = await session.scalar(query)
    if sealed is None:
        return None
    return keyring.open(sealed, table="import_pieces", row=import_id, column=f"sealed {number}")


async def end_upload(session: AsyncSession, import_id: UUID, *, size: int, delimiter: str, queue: bool) -> None:
    """Say that the file is whole, and that a worker is to take it (unless the caller is one)."""
    changes = {"state": ImportState.WAITING, "size": size, "delimiter": delimiter}
    await session.execute(update(Import).where(Import.id == import_id).values(**changes))
    if queue:
        await jobs.enqueue(session, DUE, [{"import_id": import_id}])


async def discard_import(session: AsyncSession, import_id: UUID) -> None:
    """Forget an upload that did not become an import."""
    await session.execute(delete(Import).where(Import.id == import_id, Import.state == ImportState.RECEIVING))


async def start_work(session: AsyncSession, import_id: UUID) -> Import | None:
    """Return an import to work on, marked as running; None if there is nothing (more) to do."""
    # Not against those whose chunks refer to it: a long file always has one under way.
    found = await session.get(Import, import_id, with_for_update={"key_share": True})
    if found is None or found.state not in (ImportState.WAITING, ImportState.RUNNING):
        return None
    found.state = ImportState.RUNNING
    await session.flush()
    return found


async def keep_header(session: AsyncSession, import_id: UUID, header: Sequence[str]) -> None:
    """Keep the header, whose names are those of known columns, for the file of refused rows."""
    await session.execute(update(Import).where(Import.id == import_id).values(header=list(header)))


_IN_HAND = "SELECT pg_try_advisory_xact_lock(hashtextextended('imports.chunk:' || $1, $2))"


async def claim_chunk(session: AsyncSession, import_id: UUID, mark: Bookmark, *, wait: bool = True) -> bool:
    """Take a chunk in hand for this transaction. False if it is done already or, unless one waits, in another's hands.

    Whoever waits for a chunk whose taker fails has it then.
    """
    connection = await driver(session)
    if not (await connection.fetchval(_IN_HAND, str(import_id), mark.number) or wait):
        return False
    claimed = await connection.fetchval(
        "INSERT INTO import_chunks (import_id, number, position, line, counts) VALUES ($1, $2, $3, $4, '{}')"
        " ON CONFLICT DO NOTHING RETURNING number",
        import_id,
        mark.number,
        mark.position,
        mark.line,
    )
    return claimed is not None


async def record_together(
    session: AsyncSession, rows: Sequence[Row], record: Callable[[Sequence[Row]], Awaitable[list[Outcome]]]
) -> list[Outcome | InternalError]:
    """Record rows inside the caller's transaction; a row that makes it fail does not take the others along."""
    if not rows:
        return []
    try:
        async with session.begin_nested():
            return [*await record(rows)]
    except Exception as error:
        if trouble(error) is not None:
            raise
        if len(rows) == 1:
            logger("imports").error("row failed", exc_info=error)
            return [InternalError()]
    middle = len(rows) // 2
    return [
        outcome for half in (rows[:middle], rows[middle:]) for outcome in await record_together(session, half, record)
    ]


async def keep_verdicts(
    session: AsyncSession,
    import_id: UUID,
    number: int,
    records: Sequence[Record],
    verdicts: Sequence[Verdict],
    *,
    keyring: Keyring,
) -> None:
    """Keep what became of a chunk's rows: counts, places and codes in plain, the refused rows themselves sealed."""
    refused = [
        (record.line, record.cells, [(e.line, e.column, e.code, e.detail) for e in verdict.errors])
        for record, verdict in zip(records, verdicts, strict=True)
        if verdict.status in REFUSED
    ]
    errors = [error for _, _, some in refused for error in some]
    sealed = None
    if refused:
        content = json.dumps(refused, ensure_ascii=False).encode("utf-8", "surrogatepass")
        sealed = keyring.seal(content, table="import_chunks", row=import_id, column=f"refused {number}")
    await session.execute(
        update(ImportChunk)
        .where(ImportChunk.import_id == import_id, ImportChunk.number == number)
        .values(
            counts=dict(Counter(verdict.status for verdict in verdicts)),
            errors=errors[:_ERRORS_PER_CHUNK] or None,
            refused=sealed,
        )
    )
