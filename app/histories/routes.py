"""The epidemiologist's door to one person's past."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Keys, Now, Router, Transaction
from app.core.pagination import Paging, instant
from app.histories import service
from app.histories.schemas import BuyerSearchIn, BuyersOut, ContactsPage, HistoryPage, PurposeIn, RevealOut
from app.histories.service import MOST_MINUTES, Contacts

router = Router(prefix="/v1/buyers", tags=["buyers"])
case_router = Router(prefix="/v1/cases", tags=["cases"])

Searcher = Annotated[Actor, Depends(requires(Permission.SEARCH_BUYERS))]
Minutes = Annotated[int, Query(ge=1, le=MOST_MINUTES, description="How far apart two purchases may be, at most a day")]
_PLACE = (instant, UUID, instant, UUID)
Revealer = Annotated[Actor, Depends(requires(Permission.REVEAL_BUYERS))]


@router.post("/search")
async def search_buyers(
    search: BuyerSearchIn, session: Transaction, actor: Searcher, now: Now, keyring: Keys
) -> BuyersOut:
    """Find buyers by document, phone or name (all that are given must hold), without identities.

    In the body, so that no identity stands in a URL. Finds those who were registered, as buyer or patient, or listed as a case in
    your division. The search is written to the audit trail with its purpose, not with what was searched for. 422
    `purpose_contains_identity` where the purpose would give that away.
    """
    return await service.search_buyers(session, search, actor=actor, now=now, keyring=keyring)


@router.get("/{buyer_id}/history")
async def read_buyer_history(
    buyer_id: UUID,
    session: Transaction,
    actor: Searcher,
    now: Now,
    paging: Paging,
) -> HistoryPage:
    """Show a person's purchases in time order, as buyer and as patient, with pharmacies and matches, without identities.

    Any `buyer_id`, `patient_id` or `person_id` of the person leads here. Only what was registered in your division. The look is
    written to the audit trail.
    """
    after = paging.after_key(instant, UUID)
    history = await service.read_history(session, buyer_id, actor=actor, now=now, limit=paging.wanted, after=after)
    items, cursor = paging.cut(history.purchases, lambda row: (row.purchased_at, row.registration_id))
    return HistoryPage(id=history.buyer_id, items=items, next_cursor=cursor)


@router.get("/{buyer_id}/co-exposures")
async def find_co_exposures(
    buyer_id: UUID,
    session: Transaction,
    actor: Searcher,
    now: Now,
    paging: Paging,
    minutes: Minutes = 30,
) -> ContactsPage:
    """Show who else was registered at the same pharmacies within so many minutes before and after, without identities.

    Any `buyer_id`, `patient_id` or `person_id` of the person leads here. Only what was registered in your division, by the tills'
    times of purchase; voided registrations are left out. The look is written to the audit trail.
    """
    contacts = await service.find_co_exposures(
        session, buyer_id, minutes, actor=actor, now=now, limit=paging.wanted, after=paging.after_key(*_PLACE)
    )
    return _page(contacts, minutes, paging)


@case_router.get("/{case_id}/contacts")
async def trace_contacts(
    case_id: UUID,
    session: Transaction,
    actor: Searcher,
    now: Now,
    paging: Paging,
    minutes: Minutes = 30,
) -> ContactsPage:
    """Show who else was registered near the purchases matched with a case: at the same pharmacy, within so many minutes.

    Without identities. Matches that count lead to purchases, whatever the case's own division; only what was registered in yours is
    shown, by the tills' times of purchase, and no voided registration. The look is written to the audit trail.
    """
    contacts = await service.trace_contacts(
        session, case_id, minutes, actor=actor, now=now, limit=paging.wanted, after=paging.after_key(*_PLACE)
    )
    return _page(contacts, minutes, paging)


def _page(contacts: Contacts, minutes: int, paging: Paging) -> ContactsPage:
    items, cursor = paging.cut(
        contacts.found,
        lambda row: (row.exposure.purchased_at, row.exposure.registration_id, row.purchased_at, row.registration_id),
    )
    return ContactsPage(id=contacts.id, minutes=minutes, items=items, next_cursor=cursor)


@router.post("/{buyer_id}/reveal")
async def reveal_buyer(
    buyer_id: UUID,
    asked: PurposeIn,
    session: Transaction,
    actor: Revealer,
    now: Now,
    keyring: Keys,
    response: Response,
) -> RevealOut:
    """Reveal a person's names, documents, phones and addresses, for a stated purpose.

    Shows what was presented in your division. Who revealed whom and why is written to the audit trail.
    """
    response.headers["Cache-Control"] = "no-store"
    return await service.reveal_buyer(session, buyer_id, asked.purpose, actor=actor, now=now, keyring=keyring)
