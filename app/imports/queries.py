"""Looking at imports."""

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.core.database import driver
from app.core.errors import NotFound
from app.core.sheets import RowError
from app.imports.models import Import, ImportChunk
from app.imports.schemas import ImportState

ERRORS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """An import as it stands: rows by what became of them, how far it is, and its first errors."""

    counts: Counter[str]
    done: int
    errors: list[RowError]


async def get_import(session: AsyncSession, import_id: UUID, *, actor: Actor, lock: bool = False) -> Import:
    """Return an import of the actor's own account.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    query = select(Import).where(Import.id == import_id, Import.account_id.is_not_distinct_from(actor.account_id))
    found = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if found is None:
        raise NotFound
    return found


async def count_open(session: AsyncSession, account_id: UUID | None) -> int:
    """Return how many imports of an account are not finished."""
    query = select(func.count()).where(Import.account_id == account_id, Import.state != ImportState.FINISHED)
    return await session.scalar(query) or 0


async def progress_of(session: AsyncSession, import_id: UUID, *, errors: int = ERRORS_SHOWN) -> Progress:
    """Return how far an import is, with at most this many errors, the first ones."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT key, sum(value::bigint)::bigint AS count FROM import_chunks, jsonb_each_text(counts)"
        " WHERE import_id = $1 GROUP BY key",
        import_id,
    )
    done = await connection.fetchval("SELECT max(position) FROM import_chunks WHERE import_id = $1", import_id)
    found: list[RowError] = []
    query = (
        select(ImportChunk.errors)
        .where(ImportChunk.import_id == import_id, ImportChunk.errors.is_not(None))
        .order_by(ImportChunk.number)
        .limit(errors)
    )
    for some in await session.scalars(query):
        found += [RowError(*error) for error in some or ()]
    return Progress(Counter({row["key"]: row["count"] for row in rows}), done or 0, found[:errors])


async def sealed_refusals(session: AsyncSession, import_id: UUID, after: int) -> tuple[int, bytes] | None:
    """Return number and sealed refused rows of the next chunk after this one that has some."""
    query = (
        select(ImportChunk.number, ImportChunk.refused)
        .where(ImportChunk.import_id == import_id, ImportChunk.number > after, ImportChunk.refused.is_not(None))
        .order_by(ImportChunk.number)
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None or row[1] is None else (row[0], row[1])
