"""The reward report, for officials."""

from typing import Annotated

from fastapi import Depends, Header, Query, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Router, Transaction
from app.reports.reward_figures import Format, ReportFilter, RewardReportOut, as_table
from app.reports.reward_queries import reward_report
from app.reports.sheets import CSV, write_csv

router = Router(prefix="/v1/rewards/report", tags=["rewards"])


@router.get(
    "",
    response_model=RewardReportOut,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def report_rewards(
    session: Transaction,
    actor: Annotated[Actor, Depends(requires(Permission.READ_REWARDS))],
    filters: Annotated[ReportFilter, Query()],
    response: Response,
    accept: Annotated[str, Header(description="`text/csv` for a table")] = "application/json",
) -> RewardReportOut | Response:
    """Sum up the decisions of a period by pharmacy, division or month, as JSON or CSV; every line says where its decisions are."""
    report = await reward_report(session, scope=actor.division, filters=filters)
    if (filters.format or _accepted(accept)) is Format.JSON:
        response.headers["Vary"] = "Accept"
        return report
    headers = {
        "Content-Disposition": f'attachment; filename="rewards-by-{filters.group_by.value}.csv"',
        "Vary": "Accept",
    }
    return Response(write_csv(*as_table(report)), media_type=CSV, headers=headers)


def _accepted(accept: str) -> Format:
    """Return CSV if the caller names it before JSON (or alone); JSON otherwise."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    for kind in kinds:
        if kind == "text/csv":
            return Format.CSV
        if kind in ("application/json", "application/*", "*/*"):
            return Format.JSON
    return Format.JSON
