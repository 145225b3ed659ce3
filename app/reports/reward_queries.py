"""Counting decisions and adding up the ledger, per pharmacy, division or month."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, String, cast, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.divisions.models import Division
from app.pharmacies.queries import names_of
from app.reports.reward_figures import GroupBy, ReportFilter, RewardReportOut, Tally, sum_up
from app.rewards.criteria import CriterionCode
from app.rewards.models import LedgerEntry, RewardDecision
from app.rewards.queries import belongs_at, in_period
from app.rewards.rules import DecisionStatus

_CHINA: ColumnElement[Any] = literal_column("INTERVAL '8 hours'")
_KEYS: dict[GroupBy, ColumnElement[str]] = {
    GroupBy.PHARMACY: cast(RewardDecision.pharmacy_id, String),
    GroupBy.DIVISION: cast(RewardDecision.division, String),
    GroupBy.MONTH: func.to_char(func.timezone(_CHINA, belongs_at()), "YYYY-MM"),
}


async def reward_report(session: AsyncSession, *, scope: str | None, filters: ReportFilter) -> RewardReportOut:
    """Return the report over the decisions within a scope: two grouped statements, however many decisions there are."""
    key = _KEYS[filters.group_by].label("key")
    conditions: list[Any] = in_period(filters)
    if scope:
        conditions.append(RewardDecision.division.startswith(scope))
    counted = await session.execute(
        select(
            key,
            RewardDecision.status,
            RewardDecision.first_unmet,
            func.count().label("decisions"),
            func.sum(RewardDecision.amount).label("amount"),
        )
        .where(*conditions)
        .group_by("key", RewardDecision.status, RewardDecision.first_unmet)
    )
    tallies = [
        Tally(
            row.key,
            DecisionStatus(row.status),
            None if row.first_unmet is None else CriterionCode(row.first_unmet),
            row.decisions,
            row.amount,
        )
        for row in counted
    ]
    ledger = await session.execute(
        select(key, func.sum(LedgerEntry.amount).label("balance"))
        .join(RewardDecision, RewardDecision.id == LedgerEntry.decision_id)
        .where(*conditions)
        .group_by("key")
    )
    balances = {row.key: row.balance for row in ledger}
    names = await _names(session, filters.group_by, {tally.key for tally in tallies})
    return sum_up(filters, tallies, balances, names)


async def _names(session: AsyncSession, group_by: GroupBy, keys: set[str]) -> dict[str, str]:
    if group_by is GroupBy.PHARMACY:
        return {str(found): name for found, name in (await names_of(session, [UUID(key) for key in keys])).items()}
    if group_by is GroupBy.DIVISION:
        rows = await session.execute(select(Division.code, Division.name).where(Division.code.in_(keys)))
        return {row[0]: row[1] for row in rows}
    return {}
