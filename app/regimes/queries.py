"""Looking up states."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.snapshots import Snapshot
from app.divisions.rules import ancestors
from app.regimes.models import RegimeState
from app.regimes.rules import Period, RegimeCalendar, RequiredField
from app.regimes.schemas import RegimeFilter


async def load_calendar(session: AsyncSession) -> RegimeCalendar:
    """Read all states."""
    rows = await session.execute(
        select(
            RegimeState.division,
            RegimeState.disease,
            RegimeState.state,
            RegimeState.valid_from,
            RegimeState.valid_to,
            RegimeState.required,
        )
    )
    return RegimeCalendar(
        Period(
            row.division,
            row.disease,
            row.state,
            row.valid_from,
            row.valid_to,
            frozenset(RequiredField(name) for name in row.required),
        )
        for row in rows
    )


REGIMES = Snapshot("regimes", load_calendar)
"""All states in memory: `(await REGIMES.get(session)).regime_on(division, day)`."""


async def list_regimes(
    session: AsyncSession,
    *,
    scope: str | None,
    filters: RegimeFilter,
    limit: int,
    before: tuple[date, UUID] | None,
) -> Sequence[RegimeState]:
    """Return states, the latest to begin first: those below the scope, and those above it, which apply there as well."""
    query = select(RegimeState).order_by(RegimeState.valid_from.desc(), RegimeState.id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(RegimeState.valid_from, RegimeState.id) < before)
    for division in (scope, filters.division):
        if division is not None:
            query = query.where(_concerns(division))
    if filters.disease is not None:
        query = query.where(RegimeState.disease == filters.disease)
    if filters.on is not None:
        query = query.where(
            RegimeState.valid_from <= filters.on,
            RegimeState.valid_to.is_(None) | (RegimeState.valid_to > filters.on),
        )
    return (await session.scalars(query)).all()


def _concerns(division: str) -> ColumnElement[bool]:
    return RegimeState.division.startswith(division) | RegimeState.division.in_(ancestors(division))


async def states_of(session: AsyncSession, division: str, disease: str) -> Sequence[RegimeState]:
    """Return every state that this very division has declared for a disease, in time order."""
    query = (
        select(RegimeState)
        .where(RegimeState.division == division, RegimeState.disease == disease)
        .order_by(RegimeState.valid_from)
    )
    return (await session.scalars(query)).all()
