"""Sales: pharmacies state them, officials and epidemiologists read them; and what the server has of a pharmacy's days."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core import batches
from app.core.errors import FieldError, InvalidRequest
from app.core.http import Keys, Now, Router, Transaction
from app.core.pagination import Page, Paging
from app.registrations.service import PharmacyClosed
from app.sales import queries, service
from app.sales.schemas import (
    ReconciliationFilter,
    ReconciliationOut,
    SaleResult,
    SalesAnswer,
    SalesFilter,
    SalesIn,
    SalesOut,
)

router = Router(prefix="/v1", tags=["sales"])

Viewer = Annotated[Actor, Depends(requires(Permission.READ_SALES))]


@router.post(
    "/sales",
    status_code=201,
    responses={
        200: {"model": SalesAnswer, "description": "The same statement again: the same answer"},
        409: {"description": service.SalesStatementConflict.title},
        410: {"description": PharmacyClosed.title},
    },
)
async def report_sales(
    body: SalesIn,
    session: Transaction,
    now: Now,
    keyring: Keys,
    actor: Annotated[Actor, Depends(requires(Permission.REPORT_SALES))],
    response: Response,
) -> SalesAnswer:
    """State how much of each product was sold on a day: anonymous counts, wanted in every regime.

    A statement is about the whole day. A later one replaces it as a whole, and an empty one says that nothing was sold. Lines
    that mean no listed drug are told and not kept.
    """
    reported = await service.report_sales(session, body, actor=actor, now=now, keyring=keyring)
    if reported.duplicate:
        response.status_code = 200
    listed = [reported.drugs.get(line) for line in range(len(body.items))]
    return SalesAnswer(
        id=reported.id,
        pharmacy_id=reported.pharmacy_id,
        day=body.day,
        revision=reported.revision,
        in_force=reported.in_force,
        received_at=reported.received_at,
        items=[
            SaleResult(status="unlisted", drug_id=None, drug=None)
            if drug is None
            else SaleResult(status="listed", drug_id=drug[0], drug=drug[1])
            for drug in listed
        ],
        unlisted=listed.count(None),
        warnings=batches.shown(reported.warnings),
    )


@router.get("/sales")
async def list_sales(
    session: Transaction,
    actor: Viewer,
    filters: Annotated[SalesFilter, Query()],
    paging: Paging,
) -> Page[SalesOut]:
    """List the statements in force, the last received first. A pharmacy sees its own."""
    rows = await queries.list_sales(
        session,
        actor=actor,
        filters=filters,
        limit=paging.wanted,
        before=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=shown, next_cursor=cursor)


@router.get("/reconciliation", responses={404: {"description": "Not found"}})
async def reconcile_pharmacy(
    session: Transaction, actor: Viewer, filters: Annotated[ReconciliationFilter, Query()]
) -> ReconciliationOut:
    """Show a pharmacy's days as the server has them: registrations, packs per listed drug, stated sales, and the gap."""
    pharmacy_id = filters.pharmacy
    if pharmacy_id is None and len(actor.pharmacy_ids) == 1:
        pharmacy_id = next(iter(actor.pharmacy_ids))
    if pharmacy_id is None:
        raise InvalidRequest(errors=[FieldError("?pharmacy", "required", "Say which pharmacy")])
    return await queries.reconcile_pharmacy(session, pharmacy_id, filters.from_, filters.to, actor=actor)
