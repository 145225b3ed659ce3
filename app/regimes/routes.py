"""Regimes: everybody reads them, officials declare them."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Now, Router, Transaction
from app.core.pagination import Page, Paging
from app.regimes import service
from app.regimes.queries import list_regimes as find_regimes
from app.regimes.schemas import RegimeFilter, RegimeIn, RegimeOut

router = Router(prefix="/v1/regimes", tags=["regimes"])


@router.get("")
async def list_regimes(
    session: Transaction,
    actor: Annotated[Actor, Depends(requires(Permission.READ_REGIMES))],
    filters: Annotated[RegimeFilter, Query()],
    paging: Paging,
) -> Page[RegimeOut]:
    """List declared states, the latest to begin first: of your division, of those below it and of those above it."""
    before = paging.after_key(date.fromisoformat, UUID)
    rows = await find_regimes(session, scope=actor.division, filters=filters, limit=paging.wanted, before=before)
    shown, cursor = paging.cut(rows, lambda row: (row.valid_from, row.id))
    return Page(items=[RegimeOut.model_validate(row) for row in shown], next_cursor=cursor)


@router.post("", status_code=201, responses={409: {"description": service.RegimeOverlap.title}})
async def declare_regime(
    body: RegimeIn,
    session: Transaction,
    now: Now,
    actor: Annotated[Actor, Depends(requires(Permission.DECLARE_REGIMES))],
) -> RegimeOut:
    """Put a division into a state. A state until further notice that began earlier ends where this one begins."""
    return RegimeOut.model_validate(await service.declare_regime(session, body, actor=actor, now=now))
