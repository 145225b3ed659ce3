"""Noticing that a pharmacy has stopped, that it has begun again, and that it never began."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.alerts.rules import AlertKind, Severity
from app.alerts.service import EndedAlert, NewAlert
from app.audit import service as audit
from app.auth.rules import SYSTEM
from app.capture.models import PharmacySilence, ReportingDay
from app.capture.rhythms import HISTORY_DAYS, WAITED_DAYS, SilenceEnd, find_silence, unbroken_since, waited_since
from app.capture.schemas import SilenceFilter, UnheardFilter, UnheardOut
from app.capture.service import News
from app.core.clock import china_day, day_start
from app.core.database import driver
from app.core.ids import new_id
from app.core.snapshots import versions
from app.pharmacies.models import Pharmacy
from app.pharmacies.queries import PHARMACIES
from app.pharmacies.rules import PharmacyFacts
from app.regimes.queries import REGIMES
from app.regimes.rules import RegimeCalendar, RegimeKind
from app.registrations.models import Registration
from app.sales.models import SalesStatement

_LOCK = 0x5E17_0026
LOOKED_BACK = timedelta(days=2 * HISTORY_DAYS)
"""How far back reports are read: a rhythm, and as long a silence behind it."""
KEPT = timedelta(days=400)
"""How long days of reports are kept."""

# In one order, so that two workers that note the same days never wait for each other in a ring.
_NOTE = """
INSERT INTO reporting_days (pharmacy_id, day)
SELECT DISTINCT pharmacy_id, (received_at AT TIME ZONE INTERVAL '8 hours')::date
FROM registrations WHERE id = ANY($1::uuid[]) AND NOT sandbox
ORDER BY 1, 2
ON CONFLICT DO NOTHING
"""

_DUE = frozenset({RegimeKind.REGISTER, RegimeKind.REGISTER_ALL})
"""Where a pharmacy has something to register; where nothing listed is for sale it has not."""

_ENDINGS = {
    SilenceEnd.REPORTED: "药店已恢复上报,静默预警自动关闭。/ The pharmacy reports again.",
    SilenceEnd.CLOSED: "药店已关闭,静默预警自动关闭。/ The pharmacy was closed.",
}
"""What is fed back where a silence has ended."""


async def note_reports(session: AsyncSession, registration_ids: Collection[UUID]) -> None:
    """Note on which days these registrations were received. Part of the story; repeating it changes nothing."""
    connection = await driver(session)
    await connection.execute(_NOTE, list(registration_ids))


async def watch_silences(session: AsyncSession, *, now: datetime) -> News:
    """Find pharmacies that have stopped and those that have begun again; return what must be told of it.

    Anything that was received is a report, also a statement that nothing was sold. Where nothing has to be registered, only
    statements are waited for. A pharmacy without a rhythm is not judged, nor one that is closed.
    """
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    today = china_day(now)
    known = await versions(session)
    pharmacies = await PHARMACIES.get(session, known)
    calendar = await REGIMES.get(session, known)
    statements = await _statements(session, today)
    registrations = await _registrations(session, today)
    open_ = {
        one.pharmacy_id: one
        for one in await session.scalars(select(PharmacySilence).where(PharmacySilence.ended_at.is_(None)))
    }
    raised, ended = [], []
    for facts in pharmacies.values():
        stated = statements.get(facts.id, set())
        reported = stated | registrations.get(facts.id, set())
        silence = open_.get(facts.id)
        if silence is not None:
            why = _end_of(silence, facts, reported, today)
            if why is not None:
                silence.ended_at, silence.ended_by = now, why
                ended.append(silence)
            continue
        if facts.sandbox or not facts.has_duty_on(today):
            continue
        yesterday = today - timedelta(days=1)
        waited_for = reported if calendar.regime_on(facts.division, yesterday).registers else stated
        found = find_silence(waited_for, today)
        if found is not None:
            raised.append(
                PharmacySilence(
                    id=new_id(),
                    pharmacy_id=facts.id,
                    division=facts.division,
                    last_on=found.last_on,
                    expected=found.expected,
                    limit=found.limit,
                    found_at=now,
                )
            )
    session.add_all(raised)
    await session.execute(delete(ReportingDay).where(ReportingDay.day < today - KEPT))
    await audit.record_all(
        session,
        [
            *(_entry("pharmacy.fell_silent", one, now) for one in raised),
            *(_entry("pharmacy.reported_again", one, now) for one in ended),
        ],
    )
    return News([_alert(one) for one in raised], [_ended(one) for one in ended])


async def list_silences(
    session: AsyncSession, *, scope: str | None, filters: SilenceFilter, limit: int, before: UUID | None
) -> Sequence[PharmacySilence]:
    """Return silences, the last found first."""
    query = select(PharmacySilence).order_by(PharmacySilence.id.desc()).limit(limit)
    if before is not None:
        query = query.where(PharmacySilence.id < before)
    for division in (scope, filters.division):
        if division:
            query = query.where(PharmacySilence.division.startswith(division))
    if filters.pharmacy is not None:
        query = query.where(PharmacySilence.pharmacy_id == filters.pharmacy)
    if filters.open is not None:
        query = query.where(PharmacySilence.ended_at.is_(None) == filters.open)
    return (await session.scalars(query)).all()


async def list_unheard(
    session: AsyncSession, *, scope: str | None, filters: UnheardFilter, limit: int, after: UUID | None, now: datetime
) -> list[UnheardOut]:
    """Return pharmacies of which nothing has ever come though they have had to report for a while, in the order of their enrolment.

    Due is a day on which purchases had to be registered, for every pharmacy that is not closed: a suspension ends no duty. Anything that
    was received is a report. A day before the service knew the pharmacy is not counted, whenever its enrolment was said to begin.
    """
    today = china_day(now)
    pharmacies = await PHARMACIES.get(session)
    calendar = await REGIMES.get(session)
    query = (
        select(Pharmacy.id, Pharmacy.name, Pharmacy.division, Pharmacy.enrolled_on, Pharmacy.created_at)
        .where(
            Pharmacy.sandbox.is_(False),
            Pharmacy.created_at < day_start(today - timedelta(days=WAITED_DAYS)),
            ~select(Registration.id).where(Registration.pharmacy_id == Pharmacy.id).exists(),
            ~select(SalesStatement.id).where(SalesStatement.pharmacy_id == Pharmacy.id).exists(),
        )
        .order_by(Pharmacy.id)
    )
    if after is not None:
        query = query.where(Pharmacy.id > after)
    for division in (scope, filters.division):
        if division:
            query = query.where(Pharmacy.division.startswith(division))
    found: list[UnheardOut] = []
    # Since when purchases have had to be registered in a division: asked once, and kept apart from the answers that tills need again.
    places: dict[str, date | None] = {}
    for row in await session.execute(query):
        facts = pharmacies.get(row.id)
        if facts is None:
            continue
        if facts.division not in places:
            places[facts.division] = _registered_since(calendar, facts.division, today)
            await asyncio.sleep(0)  # the tills served by the same process come first
        enrolled = unbroken_since(facts.has_duty_on, (said.valid_from for said in facts.history), today)
        first = china_day(row.created_at) + timedelta(days=1)
        since = waited_since(first, (places[facts.division], enrolled), today)
        if since is not None:
            found.append(
                UnheardOut(
                    pharmacy_id=row.id,
                    name=row.name,
                    division=row.division,
                    enrolled_on=row.enrolled_on,
                    due_since=since,
                    days=(today - since).days,
                )
            )
            if len(found) == limit:
                break
    return found


def _registered_since(calendar: RegimeCalendar, division: str, today: date) -> date | None:
    def registers(day: date) -> bool:
        return calendar.look_up(division, day).state in _DUE

    return unbroken_since(registers, calendar.changes_in(division), today)


def _end_of(silence: PharmacySilence, facts: PharmacyFacts, reported: set[date], today: date) -> SilenceEnd | None:
    if any(day > silence.last_on for day in reported):
        return SilenceEnd.REPORTED
    return SilenceEnd.CLOSED if facts.is_closed_on(today) else None


async def _statements(session: AsyncSession, today: date) -> Mapping[UUID, set[date]]:
    """Return on which days each pharmacy stated sales: the days of receipt, not those that it spoke of."""
    query = select(SalesStatement.pharmacy_id, SalesStatement.received_at)
    found: defaultdict[UUID, set[date]] = defaultdict(set)
    since = day_start(today - LOOKED_BACK)
    for pharmacy_id, received_at in await session.execute(query.where(SalesStatement.received_at >= since)):
        found[pharmacy_id].add(china_day(received_at))
    return found


async def _registrations(session: AsyncSession, today: date) -> Mapping[UUID, set[date]]:
    query = select(ReportingDay.pharmacy_id, ReportingDay.day).where(ReportingDay.day >= today - LOOKED_BACK)
    found: defaultdict[UUID, set[date]] = defaultdict(set)
    for pharmacy_id, day in await session.execute(query):
        found[pharmacy_id].add(day)
    return found


def _alert(silence: PharmacySilence) -> NewAlert:
    return NewAlert(
        key=_key(silence),
        kind=AlertKind.PHARMACY_SILENT,
        severity=Severity.WARNING,
        division=silence.division,
        pharmacy_id=silence.pharmacy_id,
        facts=_facts(silence),
    )


def _ended(silence: PharmacySilence) -> EndedAlert:
    assert silence.ended_by is not None
    facts = _facts(silence) | {"ended_by": silence.ended_by.value}
    return EndedAlert(_key(silence), _ENDINGS[silence.ended_by], facts)


def _key(silence: PharmacySilence) -> str:
    return f"{AlertKind.PHARMACY_SILENT.value}:{silence.id}"


def _facts(silence: PharmacySilence) -> dict[str, Any]:
    return {
        "silence_id": silence.id,
        "last_on": silence.last_on.isoformat(),
        "expected": round(silence.expected, 2),
        "limit": round(silence.limit, 2),
    }


def _entry(action: str, silence: PharmacySilence, now: datetime) -> dict[str, Any]:
    subject = ("pharmacy", silence.pharmacy_id)
    detail = {"silence_id": str(silence.id)}
    return audit.entry(actor=SYSTEM, now=now, action=action, subject=subject, division=silence.division, detail=detail)
