"""Looking up what cases told, what was registered of them, and what had to be."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.capture.models import DeclaredPurchase
from app.capture.rules import Declared, Entry, Ground, Registered, Subject, Verdict, late_until
from app.capture.rules import PurchaseStatus as Status
from app.capture.schemas import DeclaredFilter, DeclaredPurchaseOut
from app.cases.rules import Classification
from app.catalogue.directory import Directory
from app.catalogue.queries import CATALOGUE
from app.core.database import driver
from app.core.snapshots import versions
from app.pharmacies.models import Pharmacy
from app.pharmacies.queries import PHARMACIES, PharmacyDirectory
from app.pharmacies.rules import Standing
from app.regimes.queries import REGIMES
from app.regimes.rules import RegimeCalendar, RegimeKind
from app.registrations.models import Registration

_LOCK = 0x5E17_0025

_DECLARED = """
SELECT d.id, d.case_id, d.pharmacy_id, d.division, d.purchased_on, d.tolerance_days, d.drug,
       d.status, d.ground, d.registration_id, d.turn, d.retracted_at,
       c.case_number, c.disease, c.classification, c.onset_on, c.confirmed_at, c.person_id
FROM declared_purchases d JOIN cases c ON c.id = d.case_id
WHERE d.case_id = ANY($1::uuid[])
ORDER BY d.id
"""

# What is matched with a case, as buyer or as patient, by a rule or by a person, or waits for one; never a till's trial, never
# what was voided.
_REGISTERED = """
SELECT seen.case_id, r.id, r.pharmacy_id, r.division, r.client_reference, r.purchased_at,
       (r.purchased_at AT TIME ZONE INTERVAL '8 hours')::date AS day, r.regime = 'register_all' AS takes_all,
       seen.established,
       coalesce(array_agg(l.code) FILTER (WHERE l.code IS NOT NULL), '{}') AS lists,
       coalesce(array_agg(g.wording) FILTER (WHERE l.code IS NOT NULL), '{}') AS wordings
FROM (
    SELECT case_id, registration_id, bool_or(status <> 'possible') AS established FROM matches
    WHERE case_id = ANY($1::uuid[]) AND status IN ('counted', 'confirmed', 'possible')
    GROUP BY case_id, registration_id
) AS seen
JOIN registrations r ON r.id = seen.registration_id AND r.voided_at IS NULL AND NOT r.sandbox
LEFT JOIN registration_items i ON i.registration_id = r.id
LEFT JOIN listed_drugs g ON g.id = i.drug_id
LEFT JOIN drug_lists l ON l.id = g.list_id
GROUP BY seen.case_id, seen.established, r.id
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A declared purchase as it is kept, with the case that told of it."""

    declared: Declared
    case_id: UUID
    case_number: str
    disease: str
    person_id: UUID
    subject: Subject
    verdict: Verdict
    turn: int


@dataclass(frozen=True, slots=True)
class Duties:
    """What had to be registered where and when: drug lists, regimes and standings, as they are told now."""

    catalogue: Directory
    calendar: RegimeCalendar
    pharmacies: PharmacyDirectory

    @classmethod
    async def read(cls, session: AsyncSession) -> "Duties":
        """Read the reference data, from memory where it still holds."""
        known = await versions(session)
        return cls(
            await CATALOGUE.get(session, known), await REGIMES.get(session, known), await PHARMACIES.get(session, known)
        )

    def entry(self, division: str, day: date, drug: str | None) -> Entry | None:
        """Return the listed drug that a name means in a place on a day, whatever the list's version."""
        if drug is None:
            return None
        found = self.catalogue.resolver_for(division, day).resolve(name=drug).drug_id
        if found is None:
            return None
        listed = self.catalogue.drug(found)
        return listed.list_code, listed.wording

    def waived(self, purchase: Declared) -> Ground | None:
        """Return why a purchase did not have to be registered; None if it had to, on each day that it may have been."""
        regimes = [self.calendar.regime_on(purchase.division, day) for day in purchase.days]
        if not all(regime.registers for regime in regimes):
            return Ground.REGIME_COUNTS
        if purchase.pharmacy_id is not None:
            pharmacy = self.pharmacies[purchase.pharmacy_id]
            standings = {pharmacy.standing_on(day) for day in purchase.days}
            if standings & {None, Standing.CLOSED}:
                return Ground.PHARMACY_NOT_OPEN
        unlisted = purchase.drug is not None and purchase.entry is None
        if unlisted and any(regime.state is not RegimeKind.REGISTER_ALL for regime in regimes):
            return Ground.DRUG_UNLISTED
        return None


async def lock_judgement(session: AsyncSession) -> None:
    """Wait until no other transaction judges declared purchases; held until this one ends.

    Whoever changes a match judges afterwards in the same transaction, and whoever declares a purchase judges it there and then:
    of two at once the second sees what the first has written.
    """
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


async def stored_of_cases(session: AsyncSession, case_ids: Collection[UUID], duties: Duties) -> list[Stored]:
    """Return every purchase that these cases told of, retracted ones too."""
    connection = await driver(session)
    rows = await connection.fetch(_DECLARED, list(case_ids))
    return [
        Stored(
            Declared(
                row["id"],
                row["pharmacy_id"],
                row["division"],
                row["purchased_on"],
                row["tolerance_days"],
                row["drug"],
                duties.entry(row["division"], row["purchased_on"], row["drug"]),
                row["retracted_at"] is not None,
            ),
            row["case_id"],
            row["case_number"],
            row["disease"],
            row["person_id"],
            Subject(Classification(row["classification"]), row["onset_on"], row["confirmed_at"]),
            Verdict(Status(row["status"]), Ground(row["ground"]), row["registration_id"]),
            row["turn"],
        )
        for row in rows
    ]


async def registered_of_cases(session: AsyncSession, case_ids: Collection[UUID]) -> Mapping[UUID, list[Registered]]:
    """Return the registrations that concern each of these cases."""
    connection = await driver(session)
    found: defaultdict[UUID, list[Registered]] = defaultdict(list)
    for row in await connection.fetch(_REGISTERED, list(case_ids)):
        found[row["case_id"]].append(
            Registered(
                row["id"],
                row["pharmacy_id"],
                row["division"],
                row["client_reference"],
                row["purchased_at"],
                row["day"],
                row["takes_all"],
                frozenset(zip(row["lists"], row["wordings"], strict=True)),
                row["established"],
            )
        )
    return found


async def cases_declared_at(session: AsyncSession, pharmacy_ids: Collection[UUID]) -> set[UUID]:
    """Return the cases that told of a purchase at one of these pharmacies."""
    query = select(DeclaredPurchase.case_id).where(DeclaredPurchase.pharmacy_id.in_(pharmacy_ids)).distinct()
    return set(await session.scalars(query))


async def cases_after(session: AsyncSession, last: UUID | None, limit: int) -> Sequence[UUID]:
    """Return cases that told of a purchase, in the order of their ids, from behind the last one on."""
    query = select(DeclaredPurchase.case_id).distinct().order_by(DeclaredPurchase.case_id).limit(limit)
    if last is not None:
        query = query.where(DeclaredPurchase.case_id > last)
    return (await session.scalars(query)).all()


async def find_pharmacies_named(
    session: AsyncSession, names: Collection[str], scope: str | None
) -> Mapping[str, list[UUID]]:
    """Return the real pharmacies of a division that bear each of these names."""
    query = select(Pharmacy.name, Pharmacy.id).where(Pharmacy.name.in_(names), Pharmacy.sandbox.is_(False))
    if scope:
        query = query.where(Pharmacy.division.startswith(scope))
    found: defaultdict[str, list[UUID]] = defaultdict(list)
    for name, pharmacy_id in await session.execute(query):
        found[name].append(pharmacy_id)
    return found


async def list_declared(
    session: AsyncSession, case_id: UUID, *, filters: DeclaredFilter, limit: int, after: UUID | None
) -> Sequence[DeclaredPurchase]:
    """Return what a case told, in the order in which it came here."""
    query = select(DeclaredPurchase).where(DeclaredPurchase.case_id == case_id).order_by(DeclaredPurchase.id)
    if after is not None:
        query = query.where(DeclaredPurchase.id > after)
    if filters.status is not None:
        query = query.where(DeclaredPurchase.status == filters.status)
    return (await session.scalars(query.limit(limit))).all()


async def show_declared(
    session: AsyncSession, rows: Sequence[DeclaredPurchase], *, scope: str | None
) -> list[DeclaredPurchaseOut]:
    """Return purchases as they are shown to somebody of a division."""
    duties = await Duties.read(session)
    covering = {row.registration_id for row in rows if row.registration_id is not None}
    places = await session.execute(select(Registration.id, Registration.division).where(Registration.id.in_(covering)))
    in_sight = {found for found, division in places if division.startswith(scope or "")}
    columns = [
        name
        for name in DeclaredPurchaseOut.model_fields
        if name not in ("listed_drug", "registration_id", "late_until")
    ]
    shown = []
    for row in rows:
        entry = duties.entry(row.division, row.purchased_on, row.drug)
        shown.append(
            DeclaredPurchaseOut(
                **{name: getattr(row, name) for name in columns},
                listed_drug=None if entry is None else entry[1],
                registration_id=row.registration_id if row.registration_id in in_sight else None,
                late_until=late_until(row.purchased_on, row.tolerance_days),
            )
        )
    return shown
