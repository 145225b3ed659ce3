"""Matches and their review, for epidemiologists."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Keys, Now, Router, Transaction
from app.core.pagination import Page, Paging
from app.matching import queries
from app.matching.reviews import review_match
from app.matching.rules import Act
from app.matching.schemas import MatchFilter, MatchOut, ReviewIn

router = Router(prefix="/v1/matches", tags=["matches"])

Viewer = Annotated[Actor, Depends(requires(Permission.READ_MATCHES))]
Reviewer = Annotated[Actor, Depends(requires(Permission.REVIEW_MATCHES))]
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "The match's status does not allow it"}}


@router.get("")
async def list_matches(
    session: Transaction,
    actor: Viewer,
    filters: Annotated[MatchFilter, Query()],
    paging: Paging,
) -> Page[MatchOut]:
    """List matches at pharmacies of your division, each with its evidence; the review queue is `status=possible`."""
    rows = await queries.list_matches(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.wanted,
        after=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=shown, next_cursor=cursor)


@router.get("/{match_id}")
async def get_match(match_id: UUID, session: Transaction, actor: Viewer) -> MatchOut:
    """Show one match with its evidence."""
    return await queries.get_match(session, match_id, scope=actor.division)


async def _reviewing(
    match_id: UUID, body: ReviewIn, session: Transaction, actor: Reviewer, now: Now, keyring: Keys
) -> Callable[[Act], Awaitable[MatchOut]]:
    async def review(act: Act) -> MatchOut:
        await review_match(session, match_id, act, reason=body.reason, actor=actor, now=now, keyring=keyring)
        return await queries.get_match(session, match_id, scope=actor.division)

    return review


Review = Annotated[Callable[[Act], Awaitable[MatchOut]], Depends(_reviewing)]


@router.post("/{match_id}/confirm", responses=_CONFLICT)
async def confirm_match(review: Review) -> MatchOut:
    """Say that the two are one person. All their matches count from now on, and rewards and alerts follow."""
    return await review(Act.CONFIRM)


@router.post("/{match_id}/reject", responses=_CONFLICT)
async def reject_match(review: Review) -> MatchOut:
    """Say that the two are different people: never these again. What counted is withdrawn, and rewards and alerts follow."""
    return await review(Act.REJECT)


@router.post("/{match_id}/reopen", responses=_CONFLICT)
async def reopen_match(review: Review) -> MatchOut:
    """Take a confirmation or rejection back: a possible match is in the queue again, another one counts again."""
    return await review(Act.REOPEN)
