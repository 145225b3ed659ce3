"""Working on imports in the background."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import SYSTEM
from app.core import jobs
from app.core.handlers import Context, Dead, Done, Job, Outcome, Registry
from app.core.sealing import Keyring
from app.imports import service
from app.imports.importers import Importers
from app.imports.rows import DUE
from app.imports.schemas import ImportResult
from app.imports.working import AT_ONCE, Work

PURGE = jobs.declare("imports.purge_due")
"""Destroying what must not be kept any longer; comes round by the clock."""
PURGE_SECONDS = 3_600

SLICE_SECONDS = 10.0
"""After so long a file makes room for others, and a worker that was told to stop can do so."""
FILES_AT_ONCE = 2


def register(registry: Registry, *, keyring: Keyring, importers: Importers, at_once: int = AT_ONCE) -> None:
    """Say who works on imports, with so many chunks of a file at a time."""

    async def work(group: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
        """Go on with an import for a while; `Done(True)` says that there is more."""
        outcomes: dict[int, Outcome] = {}
        for job in group:
            worker = Work(context.database, context.clock, keyring, importers, at_once=at_once)
            outcomes[job.id] = Done(not await worker.go_on(_import_of(job), seconds=SLICE_SECONDS))
        return outcomes

    async def record(session: AsyncSession, finished: Sequence[tuple[Job, Outcome]], /, *, now: datetime) -> None:
        """Queue what is not finished again, behind the others; tell of what cannot be."""
        more = [job.payload for job, outcome in finished if isinstance(outcome, Done) and outcome.result]
        await jobs.enqueue(session, DUE, more)
        for job, outcome in finished:
            if isinstance(outcome, Dead):
                await service.finish_import(session, _import_of(job), actor=SYSTEM, now=now, result=ImportResult.FAILED)

    async def purge(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
        await service.purge_imports(session, actor=SYSTEM, now=now)

    registry.external(DUE, work, record=record, batch=1, concurrency=FILES_AT_ONCE, timeout_seconds=120)
    registry.transactional(PURGE, purge)
    registry.every(PURGE_SECONDS, "purge-imports", PURGE)


def _import_of(job: Job) -> UUID:
    return UUID(job.payload["import_id"])
