"""Looking at a buyer: each look is written down, with its purpose where it needs one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.core.clock import china_day
from app.core.errors import InvalidRequest, NotFound
from app.core.sealing import Keyring
from app.histories import exposures, queries
from app.histories.queries import Place, Sought
from app.histories.rules import judge_purpose, read_search
from app.histories.schemas import BuyerSearchIn, BuyersOut, ContactOut, PresentationOut, PurchaseOut, RevealOut
from app.people.queries import Buyer, buyers_of, open_people
from app.people.rules import reveal

MOST_BUYERS = 100
MOST_CANDIDATES = 10_000
"""Presentations that a search may look through. The commonest names have more in a large city."""
MOST_REVEALED = 100
MOST_MINUTES = 1_440
"""The longest time within which two purchases may be called a contact."""


class PurposeContainsIdentity(InvalidRequest):
    """The purpose names the person whom it is about. It is kept in plain text, so it must not; say it with a case number."""

    code, title = "purpose_contains_identity", "The purpose must not name the person"


class SearchTooWide(InvalidRequest):
    """More than 10,000 presentations bear what was searched for; add a document or a phone."""

    code, title = "search_too_wide", "Too many people bear this name"


@dataclass(frozen=True, slots=True)
class History:
    """The buyer, and as many purchases as were asked for."""

    buyer_id: UUID
    purchases: Sequence[PurchaseOut]


@dataclass(frozen=True, slots=True)
class Contacts:
    """The case or the buyer, and as many contacts as were asked for."""

    id: UUID
    found: Sequence[ContactOut]


async def search_buyers(
    session: AsyncSession, search: BuyerSearchIn, *, actor: Actor, now: datetime, keyring: Keyring
) -> BuyersOut:
    """Find buyers by document, phone or name among those known in the actor's division; 100 at most.

    Raises:
        InvalidRequest: nothing is searched for, or an identifier is malformed.
        PurposeContainsIdentity: the purpose names the person searched for.
        SearchTooWide: too many people bear the name.
    """
    wanted = read_search(search, china_day(now))
    if isinstance(wanted, list):
        raise InvalidRequest(errors=wanted)
    if problems := judge_purpose(search.purpose, [wanted.person.identity]):
        raise PurposeContainsIdentity(errors=problems)
    sought = Sought.of(wanted, keyring)
    candidates = await queries.find_candidates(session, sought, scope=actor.division, limit=MOST_CANDIDATES + 1)
    if len(candidates) > MOST_CANDIDATES:
        raise SearchTooWide
    buyers = {buyer.id: buyer for buyer in (await buyers_of(session, candidates)).values()}
    found = await queries.summarise_buyers(
        session, buyers.values(), sought, scope=actor.division, limit=MOST_BUYERS + 1
    )
    shown = found[:MOST_BUYERS]
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="buyers.searched",
        subject=("buyers", None),
        division=actor.division,
        purpose=search.purpose,
        detail={"by": [field.value for field in wanted.fields], "results": len(shown)},
    )
    return BuyersOut(items=shown, truncated=len(found) > len(shown))


async def read_history(
    session: AsyncSession, person_id: UUID, *, actor: Actor, now: datetime, limit: int, after: Place | None
) -> History:
    """Return a person's purchases in time order, as buyer and as patient, within the actor's division.

    Raises:
        NotFound: nothing in the actor's division concerns this person.
    """
    buyer = await _get_buyer(session, person_id)
    if not await queries.find_presentations_in_sight(session, buyer, scope=actor.division, limit=1):
        raise NotFound
    purchases = await queries.list_purchases(session, buyer, scope=actor.division, limit=limit, after=after)
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="buyer.history_read",
        subject=("buyer", buyer.id),
        division=actor.division,
    )
    return History(buyer.id, purchases)


async def trace_contacts(
    session: AsyncSession,
    case_id: UUID,
    minutes: int,
    *,
    actor: Actor,
    now: datetime,
    limit: int,
    after: exposures.Place | None,
) -> Contacts:
    """Return who else was registered near the purchases that are matched with a case, within the actor's division.

    Raises:
        NotFound: the case neither is listed in the actor's division nor has a match there.
    """
    person_id = await exposures.find_listed_person(session, case_id, scope=actor.division)
    if person_id is None:
        raise NotFound
    trace = await exposures.trace_case(session, case_id, person_id, scope=actor.division)
    found = await exposures.find_contacts(
        session, trace, timedelta(minutes=minutes), scope=actor.division, limit=limit, after=after
    )
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="case.contacts_traced",
        subject=("case", case_id),
        division=actor.division,
        detail={"minutes": minutes},
    )
    return Contacts(case_id, found)


async def find_co_exposures(
    session: AsyncSession,
    person_id: UUID,
    minutes: int,
    *,
    actor: Actor,
    now: datetime,
    limit: int,
    after: exposures.Place | None,
) -> Contacts:
    """Return who else was registered near a person's purchases, as buyer and as patient, within the actor's division.

    Raises:
        NotFound: nothing in the actor's division concerns this person.
    """
    buyer = await _get_buyer(session, person_id)
    if not await queries.find_presentations_in_sight(session, buyer, scope=actor.division, limit=1):
        raise NotFound
    trace = await exposures.trace_buyer(session, buyer, scope=actor.division)
    found = await exposures.find_contacts(
        session, trace, timedelta(minutes=minutes), scope=actor.division, limit=limit, after=after
    )
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="buyer.co_exposures_found",
        subject=("buyer", buyer.id),
        division=actor.division,
        detail={"minutes": minutes},
    )
    return Contacts(buyer.id, found)


async def reveal_buyer(
    session: AsyncSession, person_id: UUID, purpose: str, *, actor: Actor, now: datetime, keyring: Keyring
) -> RevealOut:
    """Open what a person presented in the actor's division, the newest first; 100 presentations at most.

    Raises:
        NotFound: nothing in the actor's division concerns this person.
        PurposeContainsIdentity: the purpose names this person.
        KeyUnknown, SealBroken: a presentation cannot be opened.
    """
    buyer = await _get_buyer(session, person_id)
    found = await queries.find_presentations_in_sight(session, buyer, scope=actor.division, limit=MOST_REVEALED + 1)
    if not found:
        raise NotFound
    shown = found[:MOST_REVEALED]
    identities = await open_people(session, [presentation for presentation, _ in shown], keyring)
    if problems := judge_purpose(purpose, identities.values()):
        raise PurposeContainsIdentity(errors=problems)
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="buyer.revealed",
        subject=("buyer", buyer.id),
        division=actor.division,
        purpose=purpose,
        detail={"presentations": len(shown)},
    )
    return RevealOut(
        id=buyer.id,
        presentations=[PresentationOut(id=one, presented_at=at, **dict(reveal(identities[one]))) for one, at in shown],
        truncated=len(found) > len(shown),
    )


async def _get_buyer(session: AsyncSession, person_id: UUID) -> Buyer:
    buyer = (await buyers_of(session, [person_id])).get(person_id)
    if buyer is None:
        raise NotFound
    return buyer
