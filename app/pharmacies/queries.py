"""Looking up pharmacies, their standing and their keys."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, ScalarSelect, Uuid, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.auth.models import Account, ApiKey
from app.auth.rules import Actor, Role
from app.core.errors import NotFound
from app.core.snapshots import Snapshot
from app.pharmacies.models import Pharmacy, PharmacyStanding
from app.pharmacies.rules import PharmacyFacts, Standing, Statement
from app.pharmacies.schemas import PharmacyFilter

PharmacyDirectory = Mapping[UUID, PharmacyFacts]


async def load_directory(session: AsyncSession) -> PharmacyDirectory:
    """Read the facts of all pharmacies."""
    histories: defaultdict[UUID, list[Statement]] = defaultdict(list)
    said = await session.execute(
        select(PharmacyStanding.pharmacy_id, PharmacyStanding.standing, PharmacyStanding.valid_from).order_by(
            PharmacyStanding.pharmacy_id, PharmacyStanding.number
        )
    )
    for row in said:
        histories[row.pharmacy_id].append(Statement(row.standing, row.valid_from))
    rows = await session.execute(select(Pharmacy.id, Pharmacy.division, Pharmacy.sandbox))
    return {row.id: PharmacyFacts(row.id, row.division, tuple(histories[row.id]), row.sandbox) for row in rows}


PHARMACIES: Snapshot[PharmacyDirectory] = Snapshot("pharmacies", load_directory)
"""Facts of all pharmacies in memory, by id: `(await PHARMACIES.get(session)).get(pharmacy_id)`."""


def standing_at(pharmacy_id: InstrumentedAttribute[UUID], day: date | ColumnElement[date]) -> ScalarSelect[Standing]:
    """Return the SQL expression of a pharmacy's standing on a day: `rules.standing_on`, inside a larger select."""
    return (
        select(PharmacyStanding.standing)
        .where(PharmacyStanding.pharmacy_id == pharmacy_id, PharmacyStanding.valid_from <= day)
        .order_by(PharmacyStanding.number.desc())
        .limit(1)
        .correlate(pharmacy_id.class_)
        .scalar_subquery()
    )


async def get_pharmacy(session: AsyncSession, pharmacy_id: UUID, *, actor: Actor, lock: bool = False) -> Pharmacy:
    """Return a pharmacy that the actor may see: its own, for a till; one of its division, for everybody else.

    With `lock`, verbs that change the same pharmacy wait for each other.

    Raises:
        NotFound: there is none, or the actor may not see it.
    """
    query = select(Pharmacy).where(Pharmacy.id == pharmacy_id)
    pharmacy = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if pharmacy is None:
        raise NotFound
    sees = pharmacy.id in actor.pharmacy_ids if actor.role is Role.PHARMACY else actor.sees(pharmacy.division)
    if not sees:
        raise NotFound
    return pharmacy


async def list_pharmacies(
    session: AsyncSession, *, scope: str | None, filters: PharmacyFilter, today: date, limit: int, after: UUID | None
) -> Sequence[Pharmacy]:
    """Return pharmacies in the order of their ids, which is that of their enrolment here."""
    query = select(Pharmacy).order_by(Pharmacy.id).limit(limit)
    if after is not None:
        query = query.where(Pharmacy.id > after)
    for division in (scope, filters.division):
        if division is not None:
            query = query.where(Pharmacy.division.startswith(division))
    if filters.q is not None:
        query = query.where(Pharmacy.name.startswith(filters.q, autoescape=True))
    if filters.standing is not None:
        query = query.where(standing_at(Pharmacy.id, today) == filters.standing)
    return (await session.scalars(query)).all()


async def standings_of(session: AsyncSession, ids: Collection[UUID]) -> Mapping[UUID, list[PharmacyStanding]]:
    """Return what was said about the standing of these pharmacies, in the order in which it was said."""
    found: defaultdict[UUID, list[PharmacyStanding]] = defaultdict(list)
    query = select(PharmacyStanding).where(PharmacyStanding.pharmacy_id.in_(ids)).order_by(PharmacyStanding.number)
    for row in await session.scalars(query):
        found[row.pharmacy_id].append(row)
    return found


async def names_of(session: AsyncSession, ids: Collection[UUID]) -> Mapping[UUID, str]:
    """Return the names of these pharmacies."""
    wanted = func.any(bindparam(None, list(ids), ARRAY(Uuid)))
    return {
        row.id: row.name
        for row in await session.execute(select(Pharmacy.id, Pharmacy.name).where(Pharmacy.id == wanted))
    }


async def list_keys(session: AsyncSession, pharmacy_id: UUID) -> list[tuple[ApiKey, int]]:
    """Return every key that speaks for a pharmacy, the newest first, with the number of pharmacies that it speaks for."""
    query = (
        select(ApiKey, func.cardinality(Account.pharmacy_ids))
        .join(Account)
        .where(_speaks_for(pharmacy_id))
        .order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    )
    return [(key, speaks_for) for key, speaks_for in await session.execute(query)]


async def has_key(session: AsyncSession, pharmacy_id: UUID, key_id: UUID, *, actor: Actor) -> bool:
    """Say whether a key speaks for this pharmacy; a chain's only to those who see all pharmacies of the chain."""
    query = select(Account.pharmacy_ids).join(ApiKey).where(ApiKey.id == key_id, _speaks_for(pharmacy_id))
    ids = (await session.execute(query)).scalar_one_or_none()
    if ids is None:
        return False
    seen = select(func.count()).where(Pharmacy.id.in_(ids), Pharmacy.division.startswith(actor.division or ""))
    return (await session.execute(seen)).scalar_one() == len(ids)


def _speaks_for(pharmacy_id: UUID) -> ColumnElement[bool]:
    return (Account.role == Role.PHARMACY) & Account.pharmacy_ids.contains([pharmacy_id])
