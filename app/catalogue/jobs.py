"""What is done later: folding what tills sent and nobody knew into the officials' list, and forgetting it in time."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.catalogue.rows import fold_sightings, forget_products
from app.core.clock import china_day
from app.core.handlers import Job, Registry
from app.core.jobs import declare
from app.core.schedule import DAY_SECONDS

SIGHTINGS = declare("catalogue.sightings_due")
"""Sightings wait to be folded; comes round by the clock."""
SIGHTINGS_SECONDS = 30
FORGETTING = declare("catalogue.forgetting_due")
"""Entries may have grown old; comes round once a day."""
_AT_NIGHT = 19 * 3_600  # 19:00 UTC is 03:00 in China


def register(registry: Registry) -> None:
    """Let a worker keep the list of what did not resolve."""
    registry.transactional(SIGHTINGS, fold)
    registry.every(SIGHTINGS_SECONDS, "fold-unresolved-products", SIGHTINGS)
    registry.transactional(FORGETTING, forget)
    registry.every(DAY_SECONDS, "forget-unresolved-products", FORGETTING, offset_seconds=_AT_NIGHT)


async def fold(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
    """Fold all that waits."""
    while await fold_sightings(session):
        pass


async def forget(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
    """Forget what has grown old."""
    await forget_products(session, china_day(now))
