"""The audit trail, for auditors."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.audit.queries import list_entries, verify_chain
from app.audit.schemas import AuditEntryOut, AuditFilter, AuditPage, IntegrityOut
from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Keys, Transaction
from app.core.pagination import Paging, page_of, row_number

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("")
async def list_audit_entries(
    session: Transaction,
    keyring: Keys,
    actor: Annotated[Actor, Depends(requires(Permission.READ_AUDIT))],
    filters: Annotated[AuditFilter, Query()],
    paging: Paging,
    request: Request,
    response: Response,
) -> AuditPage:
    """List who did what, newest first, and say whether the trail is whole."""
    after = paging.after_key(row_number)
    rows = await list_entries(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.limit + 1,
        before=None if after is None else int(str(after[0])),
    )
    shown, cursor = page_of(rows, paging, lambda row: (row.id,), request, response)
    integrity = await verify_chain(session, keyring=keyring)
    return AuditPage(
        items=[AuditEntryOut.model_validate(row) for row in shown],
        next_cursor=cursor,
        integrity=IntegrityOut.model_validate(integrity),
    )
