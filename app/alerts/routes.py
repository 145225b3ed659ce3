"""Alerts, for those who answer them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from app.alerts import queries, service
from app.alerts.models import Alert
from app.alerts.schemas import AcknowledgeIn, AlertFilter, AlertOut, CloseIn
from app.alerts.service import AlertTransitionNotAllowed
from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Keys, Now, Router, Transaction
from app.core.pagination import Page, Paging, instant

router = Router(prefix="/v1/alerts", tags=["alerts"])

Answerer = Annotated[Actor, Depends(requires(Permission.ANSWER_ALERTS))]
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": AlertTransitionNotAllowed.title}}


@router.get("")
async def list_alerts(
    session: Transaction,
    actor: Answerer,
    filters: Annotated[AlertFilter, Query()],
    paging: Paging,
) -> Page[AlertOut]:
    """List alerts of your division, the last raised first."""
    rows = await queries.list_alerts(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.wanted,
        before=paging.after_key(instant, UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.raised_at, row.id))
    return Page(items=await queries.show_alerts(session, shown), next_cursor=cursor)


@router.get("/{alert_id}")
async def get_alert(alert_id: UUID, session: Transaction, actor: Answerer) -> AlertOut:
    """Show one alert and what became of it."""
    return await _shown(session, await queries.get_alert(session, alert_id, scope=actor.division))


@router.post("/{alert_id}/acknowledge", responses=_CONFLICT)
async def acknowledge_alert(
    alert_id: UUID, answer: AcknowledgeIn, session: Transaction, actor: Answerer, now: Now, keyring: Keys
) -> AlertOut:
    """Answer: somebody is on it."""
    alert = await service.acknowledge_alert(
        session, alert_id, feedback=answer.feedback, actor=actor, now=now, keyring=keyring
    )
    return await _shown(session, alert)


@router.post("/{alert_id}/close", responses=_CONFLICT)
async def close_alert(
    alert_id: UUID, answer: CloseIn, session: Transaction, actor: Answerer, now: Now, keyring: Keys
) -> AlertOut:
    """Feed back what came of it."""
    alert = await service.close_alert(
        session, alert_id, feedback=answer.feedback, actor=actor, now=now, keyring=keyring
    )
    return await _shown(session, alert)


async def _shown(session: Transaction, alert: Alert) -> AlertOut:
    return (await queries.show_alerts(session, [alert]))[0]
