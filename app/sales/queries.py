"""Looking up statements, and counting what was registered beside them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Select, cast, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor, Role
from app.catalogue.models import DrugList, ListedDrug
from app.core.clock import day_start
from app.pharmacies.models import Pharmacy
from app.pharmacies.queries import get_pharmacy
from app.regimes.queries import REGIMES
from app.registrations.models import Registration, RegistrationItem
from app.registrations.schemas import Flag
from app.sales.models import SalesItem, SalesStatement
from app.sales.rules import Earlier, Entry, Facts, Received, reconcile
from app.sales.schemas import ReconciliationOut, SalesFilter, SalesOut, SoldOut, StatementOut

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
    facts = Facts(
        received=await _received(session, pharmacy_id, first, end),
        registered=_by_entry(await session.execute(_registered(pharmacy_id, first, end)), ids),
        stated=await _stated(session, pharmacy_id, first, end),
        sold=_by_entry(await session.execute(_sold(pharmacy_id, first, end)), ids),
        ids=ids,
    )
    regimes = {day: calendar.regime_on(pharmacy.division, day).state for day in days}
    return reconcile(pharmacy_id, first, end, regimes, facts)


def _purchases(query: Select[Any], pharmacy_id: UUID, first: date, end: date) -> Select[Any]:
    return query.where(
        Registration.pharmacy_id == pharmacy_id,
        Registration.voided_at.is_(None),
        Registration.purchased_at >= day_start(first),
        Registration.purchased_at < day_start(end),
    )


async def _received(session: AsyncSession, pharmacy_id: UUID, first: date, end: date) -> Mapping[date, Received]:
    flagged = [func.count().filter(Registration.flags.contains([flag])) for flag in (Flag.LATE, Flag.INCOMPLETE)]
    columns: list[Any] = [_DAY, func.count(), *flagged]
    query = select(*columns).group_by(_DAY)
    rows = await session.execute(_purchases(query, pharmacy_id, first, end))
    return {row[0]: Received(*row[1:]) for row in rows}


def _registered(pharmacy_id: UUID, first: date, end: date) -> Select[Any]:
    query = (
        _entries(_DAY, RegistrationItem.quantity)
        .select_from(Registration)
        .join(RegistrationItem, RegistrationItem.registration_id == Registration.id)
        .join(ListedDrug, ListedDrug.id == RegistrationItem.drug_id)
        .join(DrugList, DrugList.id == ListedDrug.list_id)
    )
    return _purchases(query, pharmacy_id, first, end).group_by(_DAY, DrugList.code, ListedDrug.wording)


def _sold(pharmacy_id: UUID, first: date, end: date) -> Select[Any]:
    return (
        _entries(SalesStatement.day, SalesItem.quantity)
        .select_from(SalesStatement)
        .join(SalesItem, SalesItem.statement_id == SalesStatement.id)
        .join(ListedDrug, ListedDrug.id == SalesItem.drug_id)
        .join(DrugList, DrugList.id == ListedDrug.list_id)
        .where(*_in_force(pharmacy_id, first, end))
        .group_by(SalesStatement.day, DrugList.code, ListedDrug.wording)
    )


def _entries(day: Any, quantity: Any) -> Select[Any]:
    # An entry keeps its wording from version to version of its list, and gets another id: one purchase may have been received
    # under the one, the day's count under the other. The id shown is that of the newest version that occurs.
    # (Ids are in the order of their making.)
    return select(day, DrugList.code, ListedDrug.wording, func.array_agg(ListedDrug.id.distinct()), func.sum(quantity))


def _by_entry(rows: Any, ids: dict[Entry, UUID]) -> dict[tuple[date, Entry], int]:
    found = {}
    for day, code, wording, versions, quantity in rows:
        entry = Entry(code, wording)
        ids[entry] = max(*versions, ids.get(entry, versions[0]))
        found[day, entry] = int(quantity)
    return found


async def _stated(session: AsyncSession, pharmacy_id: UUID, first: date, end: date) -> Mapping[date, StatementOut]:
    kept = (
        select(func.count()).where(SalesItem.statement_id == SalesStatement.id).correlate(SalesStatement)
    ).scalar_subquery()
    query = select(
        SalesStatement.day, SalesStatement.revision, SalesStatement.received_at, SalesStatement.lines - kept
    ).where(*_in_force(pharmacy_id, first, end))
    return {
        day: StatementOut(revision=revision, received_at=received_at, unlisted=unlisted)
        for day, revision, received_at, unlisted in await session.execute(query)
    }


def _in_force(pharmacy_id: UUID, first: date, end: date) -> tuple[ColumnElement[bool], ...]:
    return (
        SalesStatement.pharmacy_id == pharmacy_id,
        SalesStatement.in_force.is_(True),
        SalesStatement.day >= first,
        SalesStatement.day < end,
    )
