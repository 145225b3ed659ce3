"""Matches, for epidemiologists."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Transaction
from app.core.pagination import Page, Paging, page_of
from app.matching import queries
from app.matching.schemas import MatchFilter, MatchOut

router = APIRouter(prefix="/v1/matches", tags=["matches"])

Viewer = Annotated[Actor, Depends(requires(Permission.READ_MATCHES))]


@router.get("")
async def list_matches(
    session: Transaction,
    actor: Viewer,
    filters: Annotated[MatchFilter, Query()],
    paging: Paging,
    request: Request,
    response: Response,
) -> Page[MatchOut]:
    """List matches at pharmacies of your division, each with its evidence, the newest first."""
    after = paging.after_key(UUID)
    rows = await queries.list_matches(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.limit + 1,
        before=None if after is None else UUID(str(after[0])),
    )
    shown, cursor = page_of(rows, paging, lambda row: (row.id,), request, response)
    return Page(items=list(shown), next_cursor=cursor)


@router.get("/{match_id}")
async def get_match(match_id: UUID, session: Transaction, actor: Viewer) -> MatchOut:
    """Show one match with its evidence."""
    return await queries.get_match(session, match_id, scope=actor.division)
