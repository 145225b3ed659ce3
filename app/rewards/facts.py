"""Gathering what the criteria need to know: one statement for any number of cases."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    ScalarSelect,
    String,
    Uuid,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.cases.models import Case
from app.matching.models import Match
from app.matching.passes import Strength
from app.matching.rules import MatchStatus
from app.people.models import Person
from app.pharmacies.models import PharmacyStanding, RosterEntry
from app.pharmacies.rules import Standing
from app.registrations.models import Registration, RegistrationItem, RegistrationRevision
from app.registrations.schemas import Flag
from app.rewards.criteria import Facts

_MOST_TELLING = [
    status.value
    for status in (
        MatchStatus.COUNTED,
        MatchStatus.CONFIRMED,
        MatchStatus.POSSIBLE,
        MatchStatus.REJECTED,
        MatchStatus.WITHDRAWN,
    )
]

# The day of the purchase in China.
_BOUGHT_ON = cast(func.timezone(literal_column("INTERVAL '8 hours'"), Registration.purchased_at), Date)


async def gather_facts(session: AsyncSession, case_ids: Collection[UUID]) -> list[Facts]:
    """Return the facts of every registration that is, or was, matched with one of these cases.

    Where a registration has two matches with a case (as buyer and as patient), the one that counts, or may, and is stronger speaks.
    """
    rows = await session.execute(
        select(
            Match.case_id,
            Match.registration_id,
            Match.status,
            Match.strength,
            Case.classification,
            Case.confirmed_at,
            Registration.pharmacy_id,
            Registration.division,
            Registration.purchased_at,
            Registration.received_at,
            func.coalesce(_first_flags(), Registration.flags).label("first_flags"),
            _amended().label("amended"),
            _standing().label("standing"),
            _has_listed_drug().label("listed"),
            _buyer_is_staff().label("staff"),
        )
        .join(Case, Case.id == Match.case_id)
        .join(Registration, Registration.id == Match.registration_id)
        .where(Match.case_id == func.any(bindparam(None, list(case_ids), ARRAY(Uuid))))
        .ext(distinct_on(Match.case_id, Match.registration_id))
        .order_by(
            Match.case_id,
            Match.registration_id,
            func.array_position(literal(_MOST_TELLING, ARRAY(String)), Match.status),
            func.array_position(literal([strength.value for strength in Strength], ARRAY(String)), Match.strength),
        )
    )
    return [
        Facts(
            case_id=row.case_id,
            pharmacy_id=row.pharmacy_id,
            registration_id=row.registration_id,
            division=row.division,
            classification=row.classification,
            confirmed_at=row.confirmed_at,
            strength=row.strength,
            match_status=row.status,
            had_listed_drug=row.listed,
            purchased_at=row.purchased_at,
            received_at=row.received_at,
            complete_at_first=Flag.INCOMPLETE not in row.first_flags,
            standing=row.standing,
            buyer_on_roster=row.staff,
            amended=row.amended,
        )
        for row in rows
    ]


def _standing() -> ScalarSelect[Standing]:
    """What was last said about the pharmacy's standing on the day of the purchase."""
    return (
        select(PharmacyStanding.standing)
        .where(PharmacyStanding.pharmacy_id == Registration.pharmacy_id, PharmacyStanding.valid_from <= _BOUGHT_ON)
        .order_by(PharmacyStanding.number.desc())
        .limit(1)
        .correlate(Registration)
        .scalar_subquery()
    )


def _has_listed_drug() -> ColumnElement[bool]:
    """Lines are kept only if they were on the catalogue at the time of purchase."""
    return (
        select(RegistrationItem.line)
        .where(RegistrationItem.registration_id == Registration.id)
        .correlate(Registration)
        .exists()
    )


def _first_flags() -> ScalarSelect[list[str]]:
    """The flags of the first revision; null where there is no other."""
    return (
        select(RegistrationRevision.flags)
        .where(RegistrationRevision.registration_id == Registration.id, RegistrationRevision.revision == 1)
        .correlate(Registration)
        .scalar_subquery()
    )


def _amended() -> ColumnElement[bool]:
    """Whether another buyer, patient or time of purchase was told after the case was known here.

    Taking it back does not heal it. The time counts because it decides whether the registration came on time.
    """
    following = aliased(RegistrationRevision)
    time_afterwards = func.coalesce(
        select(following.purchased_at)
        .where(
            following.registration_id == RegistrationRevision.registration_id,
            following.revision == RegistrationRevision.revision + 1,
        )
        .correlate(RegistrationRevision)
        .scalar_subquery(),
        Registration.purchased_at,
    )
    return (
        select(RegistrationRevision.revision)
        .where(
            RegistrationRevision.registration_id == Registration.id,
            or_(RegistrationRevision.identity_changed, RegistrationRevision.purchased_at != time_afterwards),
            RegistrationRevision.replaced_at >= Case.received_at,
        )
        .correlate(Registration, Case)
        .exists()
    )


def _buyer_is_staff() -> ColumnElement[bool]:
    """Whether the buyer worked at the pharmacy that day: the same document, or the same phone and name."""
    buyer, member = aliased(Person), aliased(Person)
    return (
        select(RosterEntry.id)
        .join(member, member.id == RosterEntry.person_id)
        .join(
            buyer,
            or_(
                buyer.document_hash == member.document_hash,
                (buyer.phone_hash == member.phone_hash) & (buyer.name_hash == member.name_hash),
            ),
        )
        .where(
            buyer.id == Registration.buyer_id,
            RosterEntry.pharmacy_id == Registration.pharmacy_id,
            RosterEntry.valid_from <= _BOUGHT_ON,
            or_(RosterEntry.valid_to.is_(None), RosterEntry.valid_to > _BOUGHT_ON),
        )
        .correlate(Registration)
        .exists()
    )
