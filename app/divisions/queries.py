"""Looking up divisions."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.snapshots import Snapshot
from app.divisions.models import Division
from app.divisions.rules import Gazetteer


async def load_gazetteer(session: AsyncSession) -> Gazetteer:
    """Read all divisions: some 3,400 as shipped, 0.7 million if somebody loads every community of China."""
    rows = await session.execute(select(Division.code, Division.name))
    return Gazetteer({row.code: row.name for row in rows})


DIVISIONS = Snapshot("divisions", load_gazetteer)
"""All divisions in memory: `(await DIVISIONS.get(session)).known(code)`."""
