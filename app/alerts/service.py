"""Raising alerts, answering them, closing them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, String, Uuid, any_, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.alerts.models import Alert, AlertTransition
from app.alerts.queries import get_alert, people_of
from app.alerts.rules import ALLOWED, EVENTS, AlertKind, AlertState, Severity, deadline_after
from app.audit import service as audit
from app.auth.rules import SYSTEM, Actor
from app.core.database import driver
from app.core.errors import Conflict, InvalidRequest
from app.core.ids import new_ids
from app.core.sealing import Keyring
from app.people.plain import naming
from app.people.queries import open_people
from app.people.rules import Identity
from app.webhooks.publishing import NewEvent, publish

_INSERT = """
INSERT INTO alerts (
    id, key, kind, severity, state, division, disease, registration_id, pharmacy_id, case_id, match_id,
    raised_at, deadline_at
)
SELECT id, key, kind, severity, 'raised', division, disease, registration_id, pharmacy_id, case_id, match_id, $12, deadline_at
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::uuid[], $9::uuid[],
    $10::uuid[], $11::timestamptz[]
) AS row (id, key, kind, severity, division, disease, registration_id, pharmacy_id, case_id, match_id, deadline_at)
ON CONFLICT (key) DO NOTHING
RETURNING id
"""


class AlertTransitionNotAllowed(Conflict):
    """The alert has been acknowledged or closed already; `detail` names its state."""

    code, title = "alert_transition_not_allowed", "The alert's state does not allow this"


@dataclass(frozen=True, slots=True)
class NewAlert:
    """An alert to be raised unless one with its key has been.

    `facts` are ids, codes and times for subscribers who see more than ids and counts; `person_id` is whom those who may see
    identities are told of.
    """

    key: str
    kind: AlertKind
    severity: Severity
    division: str
    disease: str | None = None
    registration_id: UUID | None = None
    pharmacy_id: UUID | None = None
    case_id: UUID | None = None
    match_id: UUID | None = None
    facts: Mapping[str, Any] | None = None
    person_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class EndedAlert:
    """An alert whose cause is gone, named by its key. `feedback` says why; `facts` are as those of a new one."""

    key: str
    feedback: str
    facts: Mapping[str, Any]


async def raise_alerts(
    session: AsyncSession,
    alerts: Sequence[NewAlert],
    *,
    ended: Sequence[EndedAlert] = (),
    now: datetime,
    keyring: Keyring,
) -> list[UUID]:
    """Raise alerts, close those whose cause is gone, and publish the events of both.

    Return the ids of those that had not been raised before. An alert that ends is told of by a second event of its kind, whoever
    has closed it meanwhile; one that was never raised, by none. The caller says once that one has ended.

    The last step of a transaction: publishing takes a lock that is held until the commit.
    """
    over = await _end(session, ended, now) if ended else []
    fresh = await _raise(session, alerts, now) if alerts else []
    people = {alert.person_id for _, alert in fresh if alert.person_id is not None}
    identities = await open_people(session, people, keyring) if people else {}
    events = [_event(alert_id, alert, identities, now) for alert_id, alert in fresh]
    if events or over:
        await publish(session, [*over, *events], keyring=keyring)
    return [alert_id for alert_id, _ in fresh]


async def _raise(session: AsyncSession, alerts: Sequence[NewAlert], now: datetime) -> list[tuple[UUID, NewAlert]]:
    ordered = sorted(alerts, key=lambda alert: alert.key)
    ids = new_ids(len(ordered))
    connection = await driver(session)
    inserted = await connection.fetch(
        _INSERT,
        ids,
        [alert.key for alert in ordered],
        [alert.kind.value for alert in ordered],
        [alert.severity.value for alert in ordered],
        [alert.division for alert in ordered],
        [alert.disease for alert in ordered],
        [alert.registration_id for alert in ordered],
        [alert.pharmacy_id for alert in ordered],
        [alert.case_id for alert in ordered],
        [alert.match_id for alert in ordered],
        [now + deadline_after(alert.severity) for alert in ordered],
        now,
    )
    raised = {row["id"] for row in inserted}
    return [(alert_id, alert) for alert_id, alert in zip(ids, ordered, strict=True) if alert_id in raised]


async def _end(session: AsyncSession, ended: Sequence[EndedAlert], now: datetime) -> list[NewEvent]:
    """Close in the service's own name what nobody has closed yet; return an event for each alert that was raised."""
    by_key = {one.key: one for one in ended}
    query = select(Alert).where(Alert.key == any_(cast(list(by_key), ARRAY(String)))).order_by(Alert.key)
    alerts = (await session.scalars(query.with_for_update())).all()
    unanswered = [alert for alert in alerts if alert.state is not AlertState.CLOSED]
    steps = await _steps_of(session, unanswered)
    for alert in unanswered:
        alert.state = AlertState.CLOSED
        session.add(_transition(alert, steps[alert.id] + 1, by_key[alert.key].feedback, SYSTEM, now))
    await audit.record_all(
        session,
        [
            audit.entry(
                actor=SYSTEM, now=now, action="alert.closed", subject=("alert", alert.id), division=alert.division
            )
            for alert in unanswered
        ],
    )
    return [
        NewEvent(
            kind=EVENTS[alert.kind],
            at=now,
            division=alert.division,
            disease=alert.disease,
            subject=("alert", alert.id),
            thin=_thin(alert.id, alert, AlertState.CLOSED, alert.deadline_at),
            pseudonymous=dict(by_key[alert.key].facts),
        )
        for alert in alerts
    ]


def _event(alert_id: UUID, alert: NewAlert, identities: Mapping[UUID, Identity], now: datetime) -> NewEvent:
    person = None if alert.person_id is None else identities.get(alert.person_id)
    return NewEvent(
        kind=EVENTS[alert.kind],
        at=now,
        division=alert.division,
        disease=alert.disease,
        subject=("alert", alert_id),
        thin=_thin(alert_id, alert, AlertState.RAISED, now + deadline_after(alert.severity)),
        pseudonymous=dict(alert.facts or {}),
        identified=None if person is None else {"person": _told(person)},
    )


def _thin(alert_id: UUID, alert: NewAlert | Alert, state: AlertState, deadline_at: datetime) -> dict[str, Any]:
    """Return what every subscriber is told: ids and codes."""
    references = ("registration_id", "pharmacy_id", "case_id", "match_id")
    return {
        "alert_id": alert_id,
        "state": state.value,
        "severity": alert.severity.value,
        "division": alert.division,
        "disease": alert.disease,
        "deadline_at": deadline_at.isoformat(),
        **{name: value for name in references if (value := getattr(alert, name)) is not None},
    }


def _told(person: Identity) -> dict[str, Any]:
    return {
        "name": person.name,
        "document": {"type": person.document_type, "number": person.document_number} if person.document_type else None,
        "phone": person.phone,
        "address": {"division": person.address_division, "line": person.address_line},
    }


async def acknowledge_alert(
    session: AsyncSession, alert_id: UUID, *, feedback: str | None, actor: Actor, now: datetime, keyring: Keyring
) -> Alert:
    """Say that somebody is on it.

    Raises:
        NotFound, AlertTransitionNotAllowed.
        InvalidRequest: the feedback names a person whom the alert concerns.
    """
    return await _move(session, alert_id, AlertState.ACKNOWLEDGED, feedback, actor, now, keyring)


async def close_alert(
    session: AsyncSession, alert_id: UUID, *, feedback: str, actor: Actor, now: datetime, keyring: Keyring
) -> Alert:
    """Say what came of it.

    Raises:
        NotFound, AlertTransitionNotAllowed.
        InvalidRequest: the feedback names a person whom the alert concerns.
    """
    return await _move(session, alert_id, AlertState.CLOSED, feedback, actor, now, keyring)


async def _move(
    session: AsyncSession,
    alert_id: UUID,
    state: AlertState,
    feedback: str | None,
    actor: Actor,
    now: datetime,
    keyring: Keyring,
) -> Alert:
    alert = await get_alert(session, alert_id, scope=actor.division, lock=True)
    if state not in ALLOWED[alert.state]:
        raise AlertTransitionNotAllowed(f"The alert is {alert.state.value}")
    if feedback is not None:
        identities = await open_people(session, await people_of(session, alert), keyring)
        if errors := naming("/feedback", "feedback_contains_identity", feedback, identities.values()):
            raise InvalidRequest(errors=errors)
    alert.state = state
    steps = await _steps_of(session, [alert])
    session.add(_transition(alert, steps[alert.id] + 1, feedback, actor, now))
    await audit.record(
        session,
        actor=actor,
        now=now,
        action=f"alert.{state.value}",
        subject=("alert", alert.id),
        division=alert.division,
    )
    await session.flush()
    return alert


async def _steps_of(session: AsyncSession, alerts: Sequence[Alert]) -> Mapping[UUID, int]:
    """Return how many steps each of these alerts has taken."""
    query = (
        select(AlertTransition.alert_id, func.count())
        .where(AlertTransition.alert_id == any_(cast([alert.id for alert in alerts], ARRAY(Uuid))))
        .group_by(AlertTransition.alert_id)
    )
    return Counter({row[0]: row[1] for row in await session.execute(query)})


def _transition(alert: Alert, number: int, feedback: str | None, actor: Actor, now: datetime) -> AlertTransition:
    return AlertTransition(
        alert_id=alert.id,
        number=number,
        state=alert.state,
        account_id=actor.account_id,
        account_name=actor.name,
        feedback=feedback,
        at=now,
    )
