"""Looking up statements, and counting what was registered beside them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    Select,
    String,
    cast,
    column,
    exists,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor, Role
from app.catalogue.models import DrugList, ListedDrug
from app.core.clock import day_start
from app.divisions.queries import DIVISIONS
from app.pharmacies.models import Pharmacy
from app.pharmacies.queries import get_pharmacy
from app.regimes.queries import REGIMES
from app.registrations.models import Registration, RegistrationItem
from app.registrations.schemas import Flag
from app.sales.models import SalesItem, SalesStatement
from app.sales.rules import Earlier, Entry, Facts, Received, reconcile
from app.sales.schemas import GapFilter, GapOut, GapsBy, ReconciliationOut, SalesFilter, SalesOut, SoldOut, StatementOut

_CHINA: ColumnElement[Any] = literal_column("INTERVAL '8 hours'")
_DAY = cast(func.timezone(_CHINA, Registration.purchased_at), Date)


async def statements_of(session: AsyncSession, pharmacy_id: UUID, day: date) -> list[Earlier]:
    """Return every statement of a pharmacy about a day, in the order of receipt."""
    query = (
        select(
            *(SalesStatement.id, SalesStatement.revision, SalesStatement.content_digest, SalesStatement.stated_at),
            *(SalesStatement.received_at, SalesStatement.in_force),
        )
        .where(SalesStatement.pharmacy_id == pharmacy_id, SalesStatement.day == day)
        .order_by(SalesStatement.revision)
    )
    return [Earlier(*row) for row in await session.execute(query)]


async def lines_of(session: AsyncSession, statement_id: UUID) -> dict[int, tuple[UUID, str]]:
    """Return drug id and name of each kept line of a statement."""
    query = select(SalesItem.line, SalesItem.drug_id, ListedDrug.wording).join(ListedDrug)
    rows = await session.execute(query.where(SalesItem.statement_id == statement_id))
    return {row.line: (row.drug_id, row.wording) for row in rows}


async def list_sales(
    session: AsyncSession, *, actor: Actor, filters: SalesFilter, limit: int, before: UUID | None
) -> list[SalesOut]:
    """Return statements that the actor may see, the last received first (ids are in order of receipt)."""
    query = select(SalesStatement).order_by(SalesStatement.id.desc()).limit(limit)
    if actor.role is Role.PHARMACY:
        query = query.where(SalesStatement.pharmacy_id.in_(actor.pharmacy_ids))
    elif actor.division is not None:
        query = query.where(SalesStatement.division.startswith(actor.division))
    if actor.role is not Role.PHARMACY:
        query = query.where(SalesStatement.pharmacy_id.not_in(select(Pharmacy.id).where(Pharmacy.sandbox)))
    if before is not None:
        query = query.where(SalesStatement.id < before)
    rows = (await session.scalars(_matching(query, filters))).all()
    return await _shown(session, rows)


def _matching(query: Select[Any], filters: SalesFilter) -> Select[Any]:
    if filters.division is not None:
        query = query.where(SalesStatement.division.startswith(filters.division))
    if filters.pharmacy is not None:
        query = query.where(SalesStatement.pharmacy_id == filters.pharmacy)
    if filters.day is not None:
        query = query.where(SalesStatement.day == filters.day)
    if filters.day_from is not None:
        query = query.where(SalesStatement.day >= filters.day_from)
    if filters.day_to is not None:
        query = query.where(SalesStatement.day < filters.day_to)
    return query if filters.revisions else query.where(SalesStatement.in_force)


async def _shown(session: AsyncSession, rows: Sequence[SalesStatement]) -> list[SalesOut]:
    sold: defaultdict[UUID, list[SoldOut]] = defaultdict(list)
    kept: defaultdict[UUID, int] = defaultdict(int)
    found = await session.execute(
        select(
            *(SalesItem.statement_id, SalesItem.drug_id, ListedDrug.wording),
            func.sum(SalesItem.quantity).label("quantity"),
            func.count().label("lines"),
        )
        .join(ListedDrug)
        .where(SalesItem.statement_id.in_([row.id for row in rows]))
        .group_by(SalesItem.statement_id, SalesItem.drug_id, ListedDrug.wording)
        .order_by(SalesItem.statement_id, ListedDrug.wording, SalesItem.drug_id)
    )
    for item in found:
        sold[item.statement_id].append(SoldOut(drug_id=item.drug_id, drug=item.wording, quantity=item.quantity))
        kept[item.statement_id] += item.lines
    columns = [name for name in SalesOut.model_fields if name not in ("items", "unlisted")]
    return [
        SalesOut(
            **{name: getattr(row, name) for name in columns}, unlisted=row.lines - kept[row.id], items=sold[row.id]
        )
        for row in rows
    ]


async def reconcile_pharmacy(
    session: AsyncSession, pharmacy_id: UUID, first: date, end: date, *, actor: Actor
) -> ReconciliationOut:
    """Return a pharmacy's days as the server has them: four grouped statements, however many registrations there are.

    Raises:
        NotFound: there is no such pharmacy, or the actor may not see it.
    """
    pharmacy = await get_pharmacy(session, pharmacy_id, actor=actor)
    calendar = await REGIMES.get(session)
    days = [date.fromordinal(number) for number in range(first.toordinal(), end.toordinal())]
    ids: dict[Entry, UUID] = {}
    here = Pharmacy.id == pharmacy_id
    facts = Facts(
        received=await _received(session, here, first, end),
        registered=_by_entry(await session.execute(_registered(here, first, end)), ids),
        stated=await _stated(session, here, first, end),
        sold=_by_entry(await session.execute(_sold(here, first, end)), ids),
        ids=ids,
    )
    regimes = {day: calendar.regime_on(pharmacy.division, day).state for day in days}
    return reconcile(pharmacy_id, first, end, regimes, facts)


async def find_gaps(session: AsyncSession, *, scope: str | None, filters: GapFilter) -> list[GapOut]:
    """Return what was sold and not registered, per pharmacy, division or drug, the widest gap first.

    From the same two counts as a pharmacy's own reconciliation, set against each other in one statement. Only days with a statement
    on which something had to be registered.
    """
    sites: ColumnElement[bool] = Pharmacy.sandbox.is_(False)
    for division in (scope, filters.division):
        if division:
            sites &= Pharmacy.division.startswith(division)
    first, end = filters.from_, filters.to
    sold, registered = _sold(sites, first, end).subquery(), _registered(sites, first, end).subquery()
    counted = union_all(
        select(*_place_of(sold), sold.c.quantity.label("sold"), literal(0).label("registered")),
        select(*_place_of(registered), literal(0), registered.c.quantity),
    ).subquery()
    pack = (
        select(
            *_place_of(counted),
            func.sum(counted.c.sold).label("sold"),
            func.sum(counted.c.registered).label("registered"),
        )
        .group_by(*_place_of(counted))
        .subquery()
    )
    free = await _days_of_counts(session, sites, first, end)
    waived = (
        func.unnest(
            cast([division for division, _ in free], ARRAY(String)), cast([day for _, day in free], ARRAY(Date))
        )
        .table_valued(column("division", String), column("day", Date))
        .render_derived(name="waived")
    )
    key = {
        GapsBy.PHARMACY: cast(Pharmacy.id, String),
        GapsBy.DIVISION: cast(Pharmacy.division, String),
        GapsBy.DRUG: pack.c.wording,
    }[filters.group_by].label("key")
    name = func.min(Pharmacy.name) if filters.group_by is GapsBy.PHARMACY else null()
    gap = func.greatest(pack.c.sold - pack.c.registered, 0)
    unregistered = func.sum(gap).label("unregistered")
    rows = await session.execute(
        select(
            key,
            name.label("name"),
            func.sum(pack.c.sold).label("sold"),
            func.sum(pack.c.registered).label("registered"),
            unregistered,
            func.count(pack.c.day.distinct()).filter(gap > 0).label("days"),
        )
        .select_from(pack)
        .join(Pharmacy, Pharmacy.id == pack.c.pharmacy_id)
        .join(
            SalesStatement,
            (SalesStatement.pharmacy_id == pack.c.pharmacy_id)
            & (SalesStatement.day == pack.c.day)
            & SalesStatement.in_force,
        )
        .where(~exists().where(waived.c.division == Pharmacy.division, waived.c.day == pack.c.day))
        .group_by(key)
        .order_by(unregistered.desc(), key)
    )
    if filters.group_by is not GapsBy.DIVISION:
        return [GapOut.model_validate(row) for row in rows]
    gazetteer = await DIVISIONS.get(session)
    return [GapOut.model_validate({**row, "name": gazetteer.name_of(row["key"])}) for row in rows.mappings()]


async def _days_of_counts(
    session: AsyncSession, sites: ColumnElement[bool], first: date, end: date
) -> list[tuple[str, date]]:
    """Return the days on which nothing had to be registered, for each division that has such a pharmacy."""
    calendar = await REGIMES.get(session)
    days = [date.fromordinal(number) for number in range(first.toordinal(), end.toordinal())]
    return [
        (division, day)
        for division in await session.scalars(select(Pharmacy.division).where(sites).distinct())
        for day in days
        if not calendar.regime_on(division, day).registers
    ]


def _place_of(counts: Any) -> tuple[Any, ...]:
    return counts.c.pharmacy_id, counts.c.day, counts.c.code, counts.c.wording


def _purchases(query: Select[Any], sites: ColumnElement[bool], first: date, end: date) -> Select[Any]:
    return query.join(Pharmacy, Pharmacy.id == Registration.pharmacy_id).where(
        sites,
        Registration.voided_at.is_(None),
        Registration.purchased_at >= day_start(first),
        Registration.purchased_at < day_start(end),
    )


async def _received(
    session: AsyncSession, sites: ColumnElement[bool], first: date, end: date
) -> Mapping[date, Received]:
    flagged = [func.count().filter(Registration.flags.contains([flag])) for flag in (Flag.LATE, Flag.INCOMPLETE)]
    columns: list[Any] = [_DAY, func.count(), *flagged]
    query = select(*columns).select_from(Registration).group_by(_DAY)
    rows = await session.execute(_purchases(query, sites, first, end))
    return {row[0]: Received(*row[1:]) for row in rows}


def _registered(sites: ColumnElement[bool], first: date, end: date) -> Select[Any]:
    query = (
        _entries(Registration.pharmacy_id, _DAY, RegistrationItem.quantity)
        .select_from(Registration)
        .join(RegistrationItem, RegistrationItem.registration_id == Registration.id)
        .join(ListedDrug, ListedDrug.id == RegistrationItem.drug_id)
        .join(DrugList, DrugList.id == ListedDrug.list_id)
    )
    grouped = (Registration.pharmacy_id, _DAY, DrugList.code, ListedDrug.wording)
    return _purchases(query, sites, first, end).group_by(*grouped)


def _sold(sites: ColumnElement[bool], first: date, end: date) -> Select[Any]:
    query = (
        _entries(SalesStatement.pharmacy_id, SalesStatement.day, SalesItem.quantity)
        .select_from(SalesStatement)
        .join(SalesItem, SalesItem.statement_id == SalesStatement.id)
        .join(ListedDrug, ListedDrug.id == SalesItem.drug_id)
        .join(DrugList, DrugList.id == ListedDrug.list_id)
    )
    grouped = (SalesStatement.pharmacy_id, SalesStatement.day, DrugList.code, ListedDrug.wording)
    return _in_force(query, sites, first, end).group_by(*grouped)


def _entries(pharmacy_id: Any, day: Any, quantity: Any) -> Select[Any]:
    # An entry keeps its wording from version to version of its list, and gets another id: one purchase may have been received
    # under the one, the day's count under the other. The id shown is that of the newest version that occurs.
    # (Ids are in the order of their making.)
    return select(
        pharmacy_id.label("pharmacy_id"),
        day.label("day"),
        *(DrugList.code, ListedDrug.wording),
        func.array_agg(ListedDrug.id.distinct()).label("versions"),
        func.sum(quantity).label("quantity"),
    )


def _by_entry(rows: Any, ids: dict[Entry, UUID]) -> dict[tuple[date, Entry], int]:
    found = {}
    for _, day, code, wording, versions, quantity in rows:
        entry = Entry(code, wording)
        ids[entry] = max(*versions, ids.get(entry, versions[0]))
        found[day, entry] = int(quantity)
    return found


async def _stated(
    session: AsyncSession, sites: ColumnElement[bool], first: date, end: date
) -> Mapping[date, StatementOut]:
    kept = (
        select(func.count()).where(SalesItem.statement_id == SalesStatement.id).correlate(SalesStatement)
    ).scalar_subquery()
    columns: list[Any] = [SalesStatement.day, SalesStatement.revision, SalesStatement.received_at]
    query = select(*columns, SalesStatement.lines - kept).select_from(SalesStatement)
    rows = await session.execute(_in_force(query, sites, first, end))
    return {row[0]: StatementOut(revision=row[1], received_at=row[2], unlisted=row[3]) for row in rows}


def _in_force(query: Select[Any], sites: ColumnElement[bool], first: date, end: date) -> Select[Any]:
    return query.join(Pharmacy, Pharmacy.id == SalesStatement.pharmacy_id).where(
        sites,
        SalesStatement.in_force.is_(True),
        SalesStatement.day >= first,
        SalesStatement.day < end,
    )
