"""Reading lists, their entries and aliases."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from app.catalogue.directory import Directory, Drug, Limit, Listing
from app.catalogue.models import DrugAlias, DrugLimit, DrugList, ListedDrug, UnresolvedProduct
from app.catalogue.schemas import UnresolvedFilter
from app.catalogue.vocabulary import AliasKind
from app.catalogue.wording import parse_wording
from app.core.snapshots import Snapshot


async def find_newest(session: AsyncSession, code: str) -> DrugList | None:
    """Return the newest version of a list, None if it was never loaded."""
    query = select(DrugList).where(DrugList.code == code).order_by(DrugList.version.desc()).limit(1)
    return (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()


async def versions_of(session: AsyncSession, code: str) -> Sequence[DrugList]:
    """Return every version of a list, oldest first."""
    query = select(DrugList).where(DrugList.code == code).order_by(DrugList.version)
    return (await session.scalars(query)).all()


async def drug_ids_of(session: AsyncSession, list_id: UUID) -> dict[str, UUID]:
    """Return the ids of a list's entries by wording."""
    rows = await session.execute(select(ListedDrug.wording, ListedDrug.id).where(ListedDrug.list_id == list_id))
    return {row.wording: row.id for row in rows}


async def aliases_of(session: AsyncSession, list_id: UUID) -> dict[tuple[AliasKind, str], UUID]:
    """Return whose aliases there are in a list: entry by kind and value."""
    query = select(DrugAlias.kind, DrugAlias.value, DrugAlias.drug_id).join(ListedDrug)
    rows = await session.execute(query.where(ListedDrug.list_id == list_id))
    return {(row.kind, row.value): row.drug_id for row in rows}


async def find_list_of(session: AsyncSession, drug_id: UUID) -> DrugList | None:
    """Return the list in which an entry stands, None if there is no such entry."""
    query = select(DrugList).join(ListedDrug).where(ListedDrug.id == drug_id)
    return (await session.scalars(query)).one_or_none()


async def load_directory(session: AsyncSession) -> Directory:
    """Read all lists with their entries, aliases and limits: four statements."""
    aliases: defaultdict[UUID, list[tuple[AliasKind, str]]] = defaultdict(list)
    order = (DrugAlias.drug_id, DrugAlias.kind, DrugAlias.value)
    for row in await session.execute(select(*order).order_by(*order)):
        aliases[row.drug_id].append((row.kind, row.value))
    limits = {
        (row.list_code, row.wording): Limit(row.most_per_purchase, row.most_per_buyer, row.within_days)
        for row in await session.scalars(select(DrugLimit).execution_options(populate_existing=True))
    }
    lists = (await session.scalars(select(DrugList))).all()
    codes = {listing.id: listing.code for listing in lists}
    drugs: defaultdict[UUID, list[Drug]] = defaultdict(list)
    for drug in await session.scalars(select(ListedDrug).order_by(ListedDrug.list_id, ListedDrug.position)):
        drugs[drug.list_id].append(
            Drug(
                drug.id,
                drug.list_id,
                codes[drug.list_id],
                drug.wording,
                parse_wording(drug.wording),
                drug.kind,
                drug.name_en,
                drug.syndrome,
                drug.confirmed,
                drug.source_url,
                tuple(aliases[drug.id]),
                limits.get((codes[drug.list_id], drug.wording)),
            )
        )
    return Directory(
        [
            Listing(
                row.id,
                row.code,
                row.version,
                row.name,
                row.division,
                row.valid_from,
                row.valid_to,
                row.published_size,
                row.source,
                tuple(drugs[row.id]),
            )
            for row in lists
        ]
    )


CATALOGUE = Snapshot("catalogue", load_directory)
"""The catalogue in memory: `(await CATALOGUE.get(session)).resolver_for(division, day).resolve(name=…)`."""

FEWEST_PHARMACIES = 2
FEWEST_TIMES = 3


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A code or name that tills sent and nobody knew. `drug_id` is what lines with this code were found to be by name."""

    kind: AliasKind
    value: str
    pharmacies: int
    times: int
    first_seen_on: date
    last_seen_on: date
    drug_id: UUID | None
    division: str


async def list_unresolved(
    session: AsyncSession,
    *,
    scope: str | None,
    filters: UnresolvedFilter,
    today: date,
    limit: int,
    after: tuple[int, str, str] | None,
) -> list[Unresolved]:
    """Return what tills within a scope sent and no list in force knows, the most frequent first.

    A name is shown if two pharmacies sent it, or if it holds a listed one and came three times: what a single clerk typed
    once may be anything.
    """
    seen = UnresolvedProduct
    pharmacies, times = func.count().label("pharmacies"), func.sum(seen.times).label("times")
    query = (
        select(
            *(seen.kind, seen.value, pharmacies, times),
            func.min(seen.first_seen_on).label("first_seen_on"),
            func.max(seen.last_seen_on).label("last_seen_on"),
            func.array_agg(aggregate_order_by(seen.drug_id, seen.last_seen_on.desc(), seen.pharmacy_id))
            .filter(seen.drug_id.is_not(None))
            .label("drugs"),
            func.min(seen.division).label("division"),
        )
        .where(~_is_alias(today))
        .group_by(seen.kind, seen.value)
        .having(
            or_(
                seen.kind != AliasKind.NAME,
                pharmacies >= FEWEST_PHARMACIES,
                and_(func.bool_or(seen.resembles), times >= FEWEST_TIMES),
            )
        )
        .order_by(times.desc(), seen.kind.desc(), seen.value.desc())
        .limit(limit)
    )
    for division in (scope, filters.division):
        if division is not None:
            query = query.where(seen.division.startswith(division))
    if filters.kind is not None:
        query = query.where(seen.kind == filters.kind)
    if after is not None:
        query = query.having(tuple_(times, seen.kind, seen.value) < after)
    return [
        Unresolved(
            *(row.kind, row.value, row.pharmacies, row.times, row.first_seen_on, row.last_seen_on),
            drug_id=row.drugs[0] if row.drugs else None,
            division=row.division,
        )
        for row in await session.execute(query)
    ]


def _is_alias(today: date) -> ColumnElement[bool]:
    """Say whether a list in force where the product was sent knows it by now."""
    known = (
        select(DrugAlias.drug_id)
        .join(ListedDrug)
        .join(DrugList)
        .where(
            DrugAlias.kind == UnresolvedProduct.kind,
            DrugAlias.value == UnresolvedProduct.value,
            UnresolvedProduct.division.startswith(DrugList.division),
            DrugList.valid_from <= today,
            or_(DrugList.valid_to.is_(None), DrugList.valid_to > literal(today)),
        )
    )
    return known.correlate(UnresolvedProduct).exists()
