"""What registrations, cases and matches say about a person, as far as it lies in somebody's division."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, and_, any_, column, func, or_, select, true, tuple_, union_all
from sqlalchemy import cast as as_type
from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.models import Case
from app.catalogue.models import ListedDrug
from app.core.sealing import HashKind, Keyring
from app.histories.rules import Wanted
from app.histories.schemas import BoughtOut, BuyerOut, MatchedOut, PurchaseOut, SearchField, SiteOut
from app.matching.models import Match
from app.matching.rules import MatchRole
from app.people.models import Person
from app.people.queries import Buyer
from app.pharmacies.models import Pharmacy
from app.registrations.models import Registration, RegistrationItem
from app.registrations.queries import REAL

_COLUMNS = {
    SearchField.DOCUMENT: Person.document_hash,
    SearchField.PHONE: Person.phone_hash,
    SearchField.NAME: Person.name_hash,
}

Place = tuple[datetime, UUID]
"""Where in a history: time of purchase and registration."""


@dataclass(frozen=True, slots=True)
class Sought:
    """The keyed hash of each field that a search gives; the first is the one that the fewest people share."""

    by_field: Mapping[SearchField, bytes]

    @classmethod
    def of(cls, wanted: Wanted, keyring: Keyring) -> "Sought":
        """Hash what is looked for."""
        person = wanted.person
        hashes: dict[SearchField, bytes] = {}
        if person.document is not None:
            hashes[SearchField.DOCUMENT] = keyring.hash(HashKind.DOCUMENT, person.document.comparable)
        if person.phone is not None:
            hashes[SearchField.PHONE] = keyring.hash(HashKind.PHONE, person.phone.comparable)
        if person.name is not None:
            hashes[SearchField.NAME] = keyring.hash(HashKind.NAME, person.name.comparable)
        return cls(hashes)


def _within(division: Any, scope: str | None) -> ColumnElement[bool]:
    return division.startswith(scope) if scope else true()


def _in_reach(scope: str | None) -> ColumnElement[bool]:
    """Whether a registration is a real one in the division."""
    return and_(REAL, _within(Registration.division, scope))


def _one_of(person_id: Any, presentations: Sequence[UUID]) -> ColumnElement[bool]:
    # One array, not one parameter for each: a person's presentations have no bound.
    return cast("ColumnElement[bool]", person_id == any_(as_type(list(presentations), ARRAY(Uuid))))


def _in_sight(scope: str | None) -> ColumnElement[bool]:
    """Whether a presentation was used in the division: by a buyer, by a patient or on a case list."""
    uses = [
        select(Registration.id).where(Registration.buyer_id == Person.id, _in_reach(scope)),
        select(Registration.id).where(Registration.patient_id == Person.id, _in_reach(scope)),
        select(Case.id).where(Case.person_id == Person.id, _within(Case.division, scope)),
    ]
    # Not EXISTS: for a few thousand people PostgreSQL hashes every registration of the division, twice, instead of looking
    # each person up in the index. That grows with the table; this does not.
    return or_(*(use.limit(1).correlate(Person).scalar_subquery().is_not(None) for use in uses))


async def find_candidates(session: AsyncSession, sought: Sought, *, scope: str | None, limit: int) -> list[UUID]:
    """Return presentations in sight that bear the most telling field of a search, `limit` at most."""
    field, value = next(iter(sought.by_field.items()))
    query = select(Person.id).where(_COLUMNS[field] == value, _in_sight(scope)).limit(limit)
    return list(await session.scalars(query))


async def summarise_buyers(
    session: AsyncSession, buyers: Collection[Buyer], sought: Sought, *, scope: str | None, limit: int
) -> list[BuyerOut]:
    """Return those of the buyers for whom every field holds, in one statement; the most recent purchase first.

    A field holds if any of the presentations in sight bears it: somebody may have shown a document here and told a phone
    there.
    """
    member = (
        func.unnest(
            as_type([one for buyer in buyers for one in buyer.presentations], ARRAY(Uuid)),
            as_type([buyer.id for buyer in buyers for _ in buyer.presentations], ARRAY(Uuid)),
        )
        .table_valued(column("person_id", Uuid), column("buyer_id", Uuid))
        .render_derived(name="member")
    )
    # A purchase for oneself under two presentations is one purchase, so registrations are counted once.
    sides = [
        select(member.c.buyer_id, Registration.id, Registration.purchased_at)
        .join(Registration, side == member.c.person_id)
        .where(Registration.voided_at.is_(None), _in_reach(scope))
        for side in (Registration.buyer_id, Registration.patient_id)
    ]
    purchase = union_all(*sides).subquery("purchase")
    bought = (
        select(
            purchase.c.buyer_id,
            func.count(purchase.c.id.distinct()).label("registrations"),
            func.min(purchase.c.purchased_at).label("first_at"),
            func.max(purchase.c.purchased_at).label("last_at"),
        )
        .group_by(purchase.c.buyer_id)
        .subquery("bought")
    )
    shown = (
        select(
            member.c.buyer_id,
            func.count().label("presentations"),
            # One buyer's documents are the same document, so any type of it tells what it is.
            func.min(Person.document_type).label("document_type"),
        )
        .join(Person, Person.id == member.c.person_id)
        .where(_in_sight(scope))
        .group_by(member.c.buyer_id)
        .having(and_(*(func.bool_or(_COLUMNS[field] == value) for field, value in sought.by_field.items())))
        .subquery("shown")
    )
    rows = await session.execute(
        select(shown, bought.c.registrations, bought.c.first_at, bought.c.last_at)
        .outerjoin(bought, bought.c.buyer_id == shown.c.buyer_id)
        .order_by(bought.c.last_at.desc().nulls_last(), shown.c.buyer_id)
        .limit(limit)
    )
    return [
        BuyerOut(
            id=row.buyer_id,
            presentations=row.presentations,
            document_type=row.document_type,
            registrations=row.registrations or 0,
            first_purchase_at=row.first_at,
            last_purchase_at=row.last_at,
            matched_fields=list(sought.by_field),
        )
        for row in rows
    ]


async def find_presentations_in_sight(
    session: AsyncSession, buyer: Buyer, *, scope: str | None, limit: int
) -> list[tuple[UUID, datetime]]:
    """Return a buyer's presentations in sight and when each first came, the newest first."""
    query = (
        select(Person.id, Person.created_at)
        .where(_one_of(Person.id, buyer.presentations), _in_sight(scope))
        .order_by(Person.created_at.desc(), Person.id.desc())
        .limit(limit)
    )
    return [(row.id, row.created_at) for row in await session.execute(query)]


async def list_purchases(
    session: AsyncSession, buyer: Buyer, *, scope: str | None, limit: int, after: Place | None
) -> list[PurchaseOut]:
    """Return what a person bought or was bought for, in time order; three statements, however many there are."""
    as_buyer = _one_of(Registration.buyer_id, buyer.presentations)
    as_patient = _one_of(Registration.patient_id, buyer.presentations)
    query = (
        select(
            Registration.id,
            Registration.purchased_at,
            Registration.received_at,
            Registration.flags,
            Registration.voided_at,
            Registration.division,
            Registration.pharmacy_id,
            Pharmacy.name,
            as_buyer.label("as_buyer"),
            func.coalesce(as_patient, False).label("as_patient"),
        )
        .join(Pharmacy, Pharmacy.id == Registration.pharmacy_id)
        .where(or_(as_buyer, as_patient), _in_reach(scope))
        .order_by(Registration.purchased_at, Registration.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(Registration.purchased_at, Registration.id) > after)
    rows = (await session.execute(query)).all()
    roles = {
        row.id: [
            *([MatchRole.BUYER] if row.as_buyer else []),
            *([MatchRole.PATIENT] if row.as_patient else []),
        ]
        for row in rows
    }
    items = await _items_of(session, roles.keys())
    matches = await _matches_of(session, roles)
    return [
        PurchaseOut(
            registration_id=row.id,
            purchased_at=row.purchased_at,
            received_at=row.received_at,
            roles=roles[row.id],
            pharmacy=SiteOut(id=row.pharmacy_id, name=row.name, division=row.division),
            items=items[row.id],
            flags=row.flags,
            voided_at=row.voided_at,
            matches=matches[row.id],
        )
        for row in rows
    ]


async def _items_of(session: AsyncSession, ids: Collection[UUID]) -> Mapping[UUID, list[BoughtOut]]:
    found: defaultdict[UUID, list[BoughtOut]] = defaultdict(list)
    rows = await session.execute(
        select(
            RegistrationItem.registration_id,
            RegistrationItem.line,
            RegistrationItem.drug_id,
            ListedDrug.wording.label("drug"),
            RegistrationItem.quantity,
        )
        .join(ListedDrug, ListedDrug.id == RegistrationItem.drug_id)
        .where(RegistrationItem.registration_id.in_(ids))
        .order_by(RegistrationItem.registration_id, RegistrationItem.line)
    )
    for row in rows:
        found[row.registration_id].append(
            BoughtOut(line=row.line, drug_id=row.drug_id, drug=row.drug, quantity=row.quantity)
        )
    return found


async def _matches_of(
    session: AsyncSession, roles: Mapping[UUID, Sequence[MatchRole]]
) -> Mapping[UUID, list[MatchedOut]]:
    found: defaultdict[UUID, list[MatchedOut]] = defaultdict(list)
    rows = await session.scalars(select(Match).where(Match.registration_id.in_(roles)).order_by(Match.id))
    for row in rows:
        if row.role in roles[row.registration_id]:
            found[row.registration_id].append(MatchedOut.model_validate(row, from_attributes=True))
    return found
