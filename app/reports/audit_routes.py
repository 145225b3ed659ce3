"""The audit trail, for auditors."""

from typing import Annotated

from fastapi import Depends, Query

from app.audit.queries import list_entries, read_integrity
from app.audit.schemas import AuditEntryOut, AuditFilter, AuditPage, IntegrityOut
from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Keys, Router, Transaction
from app.core.pagination import Paging, row_number

router = Router(prefix="/v1/audit", tags=["audit"])


@router.get("")
async def list_audit_entries(
    session: Transaction,
    keyring: Keys,
    actor: Annotated[Actor, Depends(requires(Permission.READ_AUDIT))],
    filters: Annotated[AuditFilter, Query()],
    paging: Paging,
) -> AuditPage:
    """List who did what, newest first, and say whether the trail is whole."""
    rows = await list_entries(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.wanted,
        before=paging.after(row_number),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    integrity = await read_integrity(session, shown, keyring=keyring)
    return AuditPage(
        items=[AuditEntryOut.model_validate(row) for row in shown],
        next_cursor=cursor,
        integrity=IntegrityOut.model_validate(integrity),
    )
