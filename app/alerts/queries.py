"""Looking at alerts."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.alerts.models import Alert, AlertTransition
from app.alerts.schemas import AlertFilter, AlertOut, TransitionOut
from app.cases.models import Case
from app.core.errors import NotFound
from app.registrations.models import Registration


async def get_alert(session: AsyncSession, alert_id: UUID, *, scope: str | None, lock: bool = False) -> Alert:
    """Return an alert of the actor's division; with `lock`, those who answer it wait for each other.

    Raises:
        NotFound: there is none, or it lies outside.
    """
    query = select(Alert).where(Alert.id == alert_id)
    if scope:
        query = query.where(Alert.division.startswith(scope))
    alert = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if alert is None:
        raise NotFound
    return alert


async def people_of(session: AsyncSession, alert: Alert) -> list[UUID]:
    """Return the presentations of those whom an alert concerns: buyer, patient and case."""
    told = select(Registration.buyer_id, Registration.patient_id).where(Registration.id == alert.registration_id)
    listed = select(Case.person_id).where(Case.id == alert.case_id)
    rows = [*await session.execute(told), *await session.execute(listed)]
    return [person_id for row in rows for person_id in row if person_id is not None]


async def list_alerts(
    session: AsyncSession,
    *,
    scope: str | None,
    filters: AlertFilter,
    limit: int,
    before: tuple[datetime, UUID] | None,
) -> Sequence[Alert]:
    """Return alerts, the last raised first."""
    query = select(Alert).order_by(Alert.raised_at.desc(), Alert.id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(Alert.raised_at, Alert.id) < before)
    for division in (scope, filters.division):
        if division:
            query = query.where(Alert.division.startswith(division))
    for column, wanted in (
        (Alert.kind, filters.kind),
        (Alert.state, filters.state),
        (Alert.severity, filters.severity),
        (Alert.disease, filters.disease),
        (Alert.case_id, filters.case),
        (Alert.registration_id, filters.registration),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return (await session.scalars(query)).all()


async def show_alerts(session: AsyncSession, alerts: Sequence[Alert]) -> list[AlertOut]:
    """Return alerts with their histories, in the same order."""
    histories: defaultdict[UUID, list[TransitionOut]] = defaultdict(list)
    rows = await session.scalars(
        select(AlertTransition)
        .where(AlertTransition.alert_id.in_([alert.id for alert in alerts]))
        .order_by(AlertTransition.alert_id, AlertTransition.number)
    )
    for row in rows:
        histories[row.alert_id].append(TransitionOut.model_validate(row))
    columns = [name for name in AlertOut.model_fields if name != "history"]
    return [
        AlertOut.model_validate({**{name: getattr(alert, name) for name in columns}, "history": histories[alert.id]})
        for alert in alerts
    ]
