"""Counting for the net's figures: grouped statements, however many rows there are."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Select, String, cast, func, literal, literal_column, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.capture.figures import (
    CaptureFilter,
    CaptureOut,
    Counted,
    FigureFilter,
    GroupBy,
    TimelinessLineOut,
    TimelinessOut,
    Wholeness,
    capture_lines,
    capture_total,
    never_registered,
    share,
)
from app.capture.models import DeclaredPurchase
from app.capture.queries import Duties, registered_of_cases
from app.capture.rules import Declared, PurchaseStatus
from app.cases.models import Case
from app.core.clock import china_day, day_start
from app.divisions.queries import DIVISIONS
from app.pharmacies.queries import names_of
from app.regimes.queries import REGIMES
from app.regimes.rules import RequiredField
from app.registrations.models import Registration
from app.registrations.queries import REAL
from app.registrations.rules import ON_TIME
from app.registrations.schemas import Flag

_CHINA: ColumnElement[Any] = literal_column("INTERVAL '8 hours'")
_JUDGED = (PurchaseStatus.COVERED, PurchaseStatus.MISSED)
_POINTERS = {
    **{f"/{who}/{name.value}": name for who in ("buyer", "patient") for name in RequiredField},
    "/temperature_c": RequiredField.TEMPERATURE,
    "/patient/temperature_c": RequiredField.TEMPERATURE,
}
"""Where a registration's warnings point to, where a field is missing."""


async def count_capture(session: AsyncSession, *, scope: str | None, filters: CaptureFilter) -> CaptureOut:
    """Return how much of what cases told of a period was registered, and how many purchases nobody registered."""
    key = _key(filters.group_by, DeclaredPurchase.pharmacy_id, DeclaredPurchase.division)
    rows = await session.execute(
        _told(select(key, DeclaredPurchase.status, func.count()), scope, filters).group_by(key, DeclaredPurchase.status)
    )
    counts = [(row[0], row[1], row[2]) for row in rows]
    names = await _names(session, filters.group_by, {found for found, _, _ in counts if found is not None})
    lines = capture_lines(counts, names)
    told = await _counted(session, scope, filters)
    registered = await registered_of_cases(session, {one.case_id for one in told})
    within = [
        one
        for found in registered.values()
        for one in found
        if one.established and all(one.division.startswith(place or "") for place in (scope, filters.division))
    ]
    return CaptureOut(
        from_day=filters.from_,
        to_day=filters.to,
        group_by=filters.group_by,
        lines=lines,
        total=capture_total(lines),
        estimate=never_registered(told, within, filters.from_, filters.to),
    )


def _told(query: Select[Any], scope: str | None, filters: CaptureFilter) -> Select[Any]:
    query = query.join(Case, Case.id == DeclaredPurchase.case_id).where(
        DeclaredPurchase.purchased_on >= filters.from_, DeclaredPurchase.purchased_on < filters.to
    )
    if filters.disease is not None:
        query = query.where(Case.disease == filters.disease)
    for division in (scope, filters.division):
        if division:
            query = query.where(DeclaredPurchase.division.startswith(division))
    return query


async def _counted(session: AsyncSession, scope: str | None, filters: CaptureFilter) -> list[Counted]:
    duties = await Duties.read(session)
    columns: list[Any] = [DeclaredPurchase, Registration.purchased_at]
    query = select(*columns).outerjoin(Registration, Registration.id == DeclaredPurchase.registration_id)
    rows = await session.execute(_told(query, scope, filters).where(DeclaredPurchase.status.in_(_JUDGED)))
    return [
        Counted(
            Declared(
                row.id,
                row.pharmacy_id,
                row.division,
                row.purchased_on,
                row.tolerance_days,
                row.drug,
                duties.entry(row.division, row.purchased_on, row.drug),
            ),
            row.case_id,
            None if bought_at is None else china_day(bought_at),
        )
        for row, bought_at in rows
    ]


async def measure_timeliness(session: AsyncSession, *, scope: str | None, filters: FigureFilter) -> TimelinessOut:
    """Return how soon and how whole registrations of a period came, per pharmacy or division and in all."""
    key = _key(filters.group_by, Registration.pharmacy_id, Registration.division)
    timed = (await session.execute(_timed(key, scope, filters).group_by(key))).all()
    [all_of_them] = await session.execute(_timed(literal(None, String), scope, filters))
    wholeness = await _wholeness(session, key, scope, filters)
    names = await _names(session, filters.group_by, {row[0] for row in timed})
    lines = [_timeliness(row, names.get(row[0]), wholeness.get(row[0], Wholeness())) for row in timed]
    total = Wholeness()
    for one in wholeness.values():
        for name, times in one.required.items():
            total.require(name, times)
        for name, times in one.missing.items():
            total.miss(name, times)
    return TimelinessOut(
        from_day=filters.from_,
        to_day=filters.to,
        group_by=filters.group_by,
        lines=sorted(lines, key=lambda line: (-(line.p90_seconds or 0), line.key or "")),
        total=_timeliness(all_of_them, None, total),
    )


def _timed(key: ColumnElement[Any], scope: str | None, filters: FigureFilter) -> Select[Any]:
    seconds = func.greatest(func.extract("epoch", Registration.received_at - Registration.purchased_at), 0)
    incomplete = Registration.flags.contains([Flag.INCOMPLETE.value])
    query = select(
        key,
        func.count(),
        func.count().filter(seconds <= ON_TIME.total_seconds()),
        func.percentile_cont(0.5).within_group(seconds),
        func.percentile_cont(0.9).within_group(seconds),
        func.count().filter(~incomplete),
    )
    return _registered(query, scope, filters)


def _registered(query: Select[Any], scope: str | None, filters: FigureFilter) -> Select[Any]:
    query = query.where(
        REAL,
        Registration.voided_at.is_(None),
        Registration.purchased_at >= day_start(filters.from_),
        Registration.purchased_at < day_start(filters.to),
    )
    for division in (scope, filters.division):
        if division:
            query = query.where(Registration.division.startswith(division))
    return query


def _timeliness(row: Any, name: str | None, wholeness: Wholeness) -> TimelinessLineOut:
    key, registrations, on_time, median, p90, complete = row
    return TimelinessLineOut(
        key=key,
        name=name,
        registrations=registrations,
        on_time=on_time,
        on_time_share=share(on_time, registrations),
        median_seconds=None if median is None else round(median, 3),
        p90_seconds=None if p90 is None else round(p90, 3),
        complete=complete,
        complete_share=share(complete, registrations),
        fields=wholeness.fields(),
    )


async def _wholeness(
    session: AsyncSession, key: ColumnElement[Any], scope: str | None, filters: FigureFilter
) -> Mapping[str, Wholeness]:
    """Return, per key, how often each field was required and missing: by the regime of the place on the day of purchase."""
    calendar = await REGIMES.get(session)
    day = cast(func.timezone(_CHINA, Registration.purchased_at), Date)
    place = (key, Registration.division, day)
    asked = _registered(select(*place, func.count() + func.count(Registration.patient_id)), scope, filters)
    warning = func.jsonb_array_elements(Registration.warnings).table_valued("value").lateral("warning")
    pointer = warning.c.value.op("->>", return_type=String)("pointer")
    code = warning.c.value.op("->>", return_type=String)("code")
    lacking = _registered(select(*place, pointer, func.count()), scope, filters)
    lacking = lacking.select_from(Registration).join(warning, true()).where(code == "required_by_regime")
    found: defaultdict[str, Wholeness] = defaultdict(Wholeness)
    for own, division, on, people in await session.execute(asked.group_by(*place)):
        for name in calendar.regime_on(division, on).required:
            found[own].require(name, people)
    for own, division, on, where, times in await session.execute(lacking.group_by(*place, pointer)):
        if _POINTERS[where] in calendar.regime_on(division, on).required:
            found[own].miss(_POINTERS[where], times)
    return found


def _key(group_by: GroupBy, pharmacy_id: Any, division: Any) -> ColumnElement[Any]:
    return cast(pharmacy_id if group_by is GroupBy.PHARMACY else division, String)


async def _names(session: AsyncSession, group_by: GroupBy, keys: Collection[str]) -> Mapping[str, str]:
    if group_by is GroupBy.PHARMACY:
        return {str(found): name for found, name in (await names_of(session, [UUID(key) for key in keys])).items()}
    gazetteer = await DIVISIONS.get(session)
    return {key: name for key in keys if (name := gazetteer.name_of(key)) is not None}
