"""What comes round by the clock: chaining the trail, and the patrol along the chain."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.queries import find_patrol
from app.audit.service import chain_entries, patrol_chain
from app.core.handlers import Context, Dead, Done, Job, Outcome, Registry
from app.core.jobs import declare
from app.core.sealing import Keyring

CHAIN = declare("audit.due")
"""Entries may wait for their links."""
CHAIN_SECONDS = 10
PATROL = declare("audit.patrol_due")
"""The next stretch of the chain is to be verified."""
PATROL_SECONDS = 60


def register(registry: Registry, *, keyring: Keyring) -> None:
    """Let a worker keep the trail."""

    async def chain(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
        await chain_entries(session, keyring=keyring)

    async def patrol(jobs: Sequence[Job], context: Context) -> Mapping[int, Outcome]:
        """Go on with the patrol. A break leaves one dead job, which stands in `/metrics` until somebody has seen to it."""
        async with context.database.transaction() as session:
            before = await find_patrol(session, keyring=keyring)
            after = await patrol_chain(session, keyring=keyring, now=context.clock.now())
        is_news = after.broken_at is not None and after.broken_at != before.broken_at
        return {job.id: Dead("AuditTrailBroken") if is_news else Done() for job in jobs}

    registry.transactional(CHAIN, chain)
    registry.every(CHAIN_SECONDS, "chain-audit-trail", CHAIN)
    registry.external(PATROL, patrol, concurrency=1)
    registry.every(PATROL_SECONDS, "patrol-audit-trail", PATROL)
