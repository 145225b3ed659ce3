"""What is looked up about rewards."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, DateTime, Select, Uuid, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.models import Case
from app.core.clock import day_start
from app.core.errors import NotFound
from app.rewards.criteria import Policy
from app.rewards.models import RewardDecision, RewardPolicy, RewardTransition
from app.rewards.rules import HELD, OPEN, Month, as_policy
from app.rewards.schemas import DecisionFilter, Period

_LOCK = 0x5E17_0013
_COLUMNS = tuple(RewardDecision.__table__.columns)
_IN_LINE = (
    *(RewardDecision.id, RewardDecision.case_id, RewardDecision.pharmacy_id, RewardDecision.confirmed_at),
    *(RewardDecision.status, RewardDecision.policy_version, RewardDecision.criteria[11].label("cap")),
)


async def lock_rewards(session: AsyncSession) -> None:
    """Wait until no other transaction computes or moves decisions; held until this one ends."""
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


async def policy_history(session: AsyncSession) -> list[tuple[datetime, Policy]]:
    """Return every version of the policy with the instant from which it holds."""
    rows = await session.execute(select(RewardPolicy.valid_from, RewardPolicy.version, RewardPolicy.parameters))
    return [(valid_from, as_policy(version, parameters)) for valid_from, version, parameters in rows]


async def list_policies(session: AsyncSession) -> Sequence[RewardPolicy]:
    """Return every version of the policy, the newest first."""
    return (await session.scalars(select(RewardPolicy).order_by(RewardPolicy.version.desc()))).all()


async def decisions_of_cases(session: AsyncSession, case_ids: Collection[UUID]) -> list[dict[str, Any]]:
    """Return all columns of the decisions about these cases."""
    rows = await session.execute(select(*_COLUMNS).where(RewardDecision.case_id == func.any(_uuids(case_ids))))
    return [dict(row) for row in rows.mappings()]


async def contenders_in_months(session: AsyncSession, months: Collection[Month]) -> list[dict[str, Any]]:
    """Return the decisions that take, or wait for, a place in these pharmacies' months.

    Not in full: a busy month has many, of which a new case changes few. `cap` is the twelfth criterion, as it was answered.
    """
    if not months:
        return []
    ordered = sorted(months)
    wanted = (
        func.unnest(
            _uuids([pharmacy for pharmacy, _ in ordered]),
            bindparam(None, [day_start(first) for _, first in ordered], ARRAY(DateTime(timezone=True))),
            bindparam(None, [day_start(_next_month(first)) for _, first in ordered], ARRAY(DateTime(timezone=True))),
        )
        .table_valued("pharmacy_id", "begins_at", "ends_at")
        .render_derived()
    )
    rows = await session.execute(
        select(*_IN_LINE)
        .join(wanted, RewardDecision.pharmacy_id == wanted.c.pharmacy_id)
        .where(
            RewardDecision.confirmed_at >= wanted.c.begins_at,
            RewardDecision.confirmed_at < wanted.c.ends_at,
            RewardDecision.status.in_(HELD)
            | (
                RewardDecision.status.in_(OPEN)
                & (RewardDecision.first_unmet.is_(None) | (RewardDecision.first_unmet == "under_cap"))
            ),
        )
    )
    return [dict(row) for row in rows.mappings()]


async def decisions_by_id(session: AsyncSession, ids: Collection[UUID]) -> list[dict[str, Any]]:
    """Return all columns of these decisions."""
    if not ids:
        return []
    rows = await session.execute(select(*_COLUMNS).where(RewardDecision.id == func.any(_uuids(ids))))
    return [dict(row) for row in rows.mappings()]


async def get_decision_row(session: AsyncSession, decision_id: UUID, *, scope: str | None) -> dict[str, Any]:
    """Return all columns of one decision.

    Raises:
        NotFound: there is none, or it lies outside the scope.
    """
    query = _within(select(*_COLUMNS), scope).where(RewardDecision.id == decision_id)
    row = (await session.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound
    return dict(row)


async def list_decisions(
    session: AsyncSession, *, scope: str | None, filters: DecisionFilter, limit: int, before: UUID | None
) -> list[dict[str, Any]]:
    """Return decisions with case number and history, the last made first."""
    query = _matching(_within(select(*_COLUMNS, Case.case_number).join(Case), scope), filters)
    if before is not None:
        query = query.where(RewardDecision.id < before)
    return await _with_history(session, query.order_by(RewardDecision.id.desc()).limit(limit))


async def get_decision(session: AsyncSession, decision_id: UUID, *, scope: str | None) -> dict[str, Any]:
    """Return one decision with case number and history.

    Raises:
        NotFound: there is none, or it lies outside the scope.
    """
    query = _within(select(*_COLUMNS, Case.case_number).join(Case), scope).where(RewardDecision.id == decision_id)
    found = await _with_history(session, query)
    if not found:
        raise NotFound
    return found[0]


def belongs_at() -> ColumnElement[datetime]:
    """Return the instant that says to which period a decision belongs."""
    return func.coalesce(RewardDecision.confirmed_at, RewardDecision.created_at)


def in_period(period: Period) -> list[ColumnElement[bool]]:
    """Return the conditions under which a decision belongs to a period."""
    conditions = []
    if period.from_ is not None:
        conditions.append(belongs_at() >= day_start(period.from_))
    if period.to is not None:
        conditions.append(belongs_at() < day_start(period.to))
    return conditions


async def _with_history(session: AsyncSession, query: Select[Any]) -> list[dict[str, Any]]:
    decisions = {row["id"]: {**row, "history": []} for row in (await session.execute(query)).mappings()}
    steps = await session.scalars(
        select(RewardTransition)
        .where(RewardTransition.decision_id == func.any(_uuids(decisions)))
        .order_by(RewardTransition.id)
    )
    for step in steps:
        decisions[step.decision_id]["history"].append(step)
    return list(decisions.values())


def _matching(query: Select[Any], filters: DecisionFilter) -> Select[Any]:
    if filters.status is not None:
        query = query.where(RewardDecision.status == filters.status)
    if filters.first_unmet is not None:
        query = query.where(RewardDecision.first_unmet == filters.first_unmet)
    if filters.division is not None and filters.below:
        query = query.where(RewardDecision.division.startswith(filters.division))
    elif filters.division is not None:
        query = query.where(RewardDecision.division == filters.division)
    if filters.pharmacy is not None:
        query = query.where(RewardDecision.pharmacy_id == filters.pharmacy)
    if filters.case is not None:
        query = query.where(RewardDecision.case_id == filters.case)
    if filters.month is not None:
        first = date.fromisoformat(f"{filters.month}-01")
        query = query.where(belongs_at() >= day_start(first), belongs_at() < day_start(_next_month(first)))
    return query.where(*in_period(filters))


def _within(query: Select[Any], scope: str | None) -> Select[Any]:
    return query.where(RewardDecision.division.startswith(scope)) if scope else query


def _next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _uuids(ids: Iterable[UUID]) -> ColumnElement[Any]:
    # One array parameter, however many ids: a list in the statement ends at 32,767 of them.
    return bindparam(None, list(ids), ARRAY(Uuid))
