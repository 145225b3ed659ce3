"""What a case told of its purchases, and the net in figures."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.capture import figure_queries, queries, service, silences
from app.capture.figures import CaptureFilter, CaptureOut, FigureFilter, TimelinessOut
from app.capture.schemas import (
    DeclaredFilter,
    DeclaredPurchaseOut,
    DeclaredPurchasesIn,
    DeclaredPurchasesOut,
    RetractionIn,
    SilenceFilter,
    SilenceOut,
    UnheardFilter,
    UnheardOut,
)
from app.cases.queries import get_case
from app.core.http import Keys, Now, Router, Transaction
from app.core.pagination import Page, Paging
from app.sales.queries import find_gaps
from app.sales.schemas import GapFilter, GapsOut

purchases = Router(prefix="/v1/cases/{case_id}/declared-purchases", tags=["cases"])

surveillance = Router(prefix="/v1/surveillance", tags=["surveillance"])

Interviewer = Annotated[Actor, Depends(requires(Permission.DECLARE_PURCHASES))]
Viewer = Annotated[Actor, Depends(requires(Permission.READ_CASES))]
Watcher = Annotated[Actor, Depends(requires(Permission.READ_SURVEILLANCE))]


@purchases.post(
    "",
    status_code=201,
    responses={
        200: {"model": DeclaredPurchasesOut, "description": "Told before"},
        409: {"description": service.DeclaredPurchaseConflict.title},
    },
)
async def declare_purchases(
    case_id: UUID,
    told: DeclaredPurchasesIn,
    session: Transaction,
    actor: Interviewer,
    now: Now,
    keyring: Keys,
    response: Response,
) -> DeclaredPurchasesOut:
    """Record what a case told the interviewer of its purchases, all of it or nothing; each is `covered` or a miss at once.

    The same place, day and drug again is the same purchase. What is known of it changes by itself with registrations, corrections,
    matches and the case; a miss is told of as `purchase.missed`, and so is its end.
    """
    declared = await service.declare_purchases(session, case_id, told, actor=actor, now=now, keyring=keyring)
    if not declared.created:
        response.status_code = 200
    return DeclaredPurchasesOut(
        items=await queries.show_declared(session, declared.purchases, scope=actor.division),
    )


@purchases.get("")
async def list_declared_purchases(
    case_id: UUID,
    session: Transaction,
    actor: Viewer,
    filters: Annotated[DeclaredFilter, Query()],
    paging: Paging,
) -> Page[DeclaredPurchaseOut]:
    """List what a case told of its purchases, in the order in which it came, with what is known of each now."""
    await get_case(session, case_id, scope=actor.division)
    rows = await queries.list_declared(
        session,
        case_id,
        filters=filters,
        limit=paging.wanted,
        after=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=await queries.show_declared(session, shown, scope=actor.division), next_cursor=cursor)


@purchases.post("/{purchase_id}/retract")
async def retract_purchase(
    case_id: UUID,
    purchase_id: UUID,
    retraction: RetractionIn,
    session: Transaction,
    actor: Interviewer,
    now: Now,
    keyring: Keys,
) -> DeclaredPurchaseOut:
    """Take back what a case told, with a reason: it stays visible and counts for nothing. It can be told anew."""
    row = await service.retract_purchase(
        session, case_id, purchase_id, retraction.reason, actor=actor, now=now, keyring=keyring
    )
    return (await queries.show_declared(session, [row], scope=actor.division))[0]


@surveillance.get("/capture")
async def show_capture(session: Transaction, actor: Watcher, filters: Annotated[CaptureFilter, Query()]) -> CaptureOut:
    """Show how much of what cases told was registered, with its interval, and how many purchases nobody registered.

    Counts are of pharmacies and divisions and are shown as they are, for those who must act on them; they are not for publication.
    """
    return await figure_queries.count_capture(session, scope=actor.division, filters=filters)


@surveillance.get("/timeliness")
async def show_timeliness(
    session: Transaction, actor: Watcher, filters: Annotated[FigureFilter, Query()]
) -> TimelinessOut:
    """Show how soon after the purchase registrations came, and how often each required field was there."""
    return await figure_queries.measure_timeliness(session, scope=actor.division, filters=filters)


@surveillance.get("/gaps")
async def list_gaps(session: Transaction, actor: Watcher, filters: Annotated[GapFilter, Query()]) -> GapsOut:
    """List what was sold and not registered, the widest gap first; a pharmacy's days stand in its reconciliation."""
    return GapsOut(items=await find_gaps(session, scope=actor.division, filters=filters))


@surveillance.get("/silences")
async def list_silences(
    session: Transaction,
    actor: Watcher,
    filters: Annotated[SilenceFilter, Query()],
    paging: Paging,
) -> Page[SilenceOut]:
    """List times in which a pharmacy that usually reports did not, the last found first. A statement of no sales is a report."""
    rows = await silences.list_silences(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.wanted,
        before=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=[SilenceOut.model_validate(row) for row in shown], next_cursor=cursor)


@surveillance.get("/never-reported")
async def list_pharmacies_that_never_reported(
    session: Transaction,
    actor: Watcher,
    now: Now,
    filters: Annotated[UnheardFilter, Query()],
    paging: Paging,
) -> Page[UnheardOut]:
    """List pharmacies of which nothing has ever come though purchases had to be registered there for two weeks and more.

    None of them is closed; a suspended one has its duty still. One leaves the list with its first registration or statement,
    also one of no sales, or when it has no duty any more.
    """
    rows = await silences.list_unheard(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.wanted,
        after=paging.after(UUID),
        now=now,
    )
    shown, cursor = paging.cut(rows, lambda row: (row.pharmacy_id,))
    return Page(items=shown, next_cursor=cursor)
