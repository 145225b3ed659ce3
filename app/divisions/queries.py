"""Looking up divisions."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.snapshots import Snapshot
from app.divisions.models import Division
from app.divisions.rules import Gazetteer


async def find_division(session: AsyncSession, code: str) -> Division | None:
    """Return the division with this code, None if there is none."""
    return await session.get(Division, code)


async def children_of(session: AsyncSession, code: str | None) -> Sequence[Division]:
    """Return the divisions next below one, by code; those of None are the provinces."""
    query = select(Division).where(Division.parent_code.is_not_distinct_from(code)).order_by(Division.code)
    return (await session.scalars(query)).all()


async def load_gazetteer(session: AsyncSession) -> Gazetteer:
    """Read all divisions: some 3,400 as shipped, 0.7 million if somebody loads every community of China."""
    rows = await session.execute(select(Division.code, Division.name))
    return Gazetteer({row.code: row.name for row in rows})


DIVISIONS = Snapshot("divisions", load_gazetteer)
"""All divisions in memory: `(await DIVISIONS.get(session)).known(code)`."""
