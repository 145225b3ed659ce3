"""What a reviewer can do with a match: confirm it, reject it, take either back.

A review speaks of two people, not of one purchase: it holds for every registration of the one and every case of the other, now and
later, however often lists are sent again. What it changes in matches is seen at once; rewards and alerts follow in a job.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.core import jobs
from app.core.errors import Conflict, InvalidRequest
from app.core.sealing import Keyring
from app.matching.models import Match, Review
from app.matching.queries import hold_match, people_of
from app.matching.rules import ALLOWED, Act, MatchStatus, Said, status_of
from app.matching.service import REVIEWED
from app.people.plain import naming
from app.people.queries import open_people


class MatchTransitionNotAllowed(Conflict):
    """The match stands where this act has no place; `detail` names its status. Somebody may have reviewed it before."""

    code, title = "match_transition_not_allowed", "The match's status does not allow this"


async def review_match(
    session: AsyncSession, match_id: UUID, act: Act, *, reason: str, actor: Actor, now: datetime, keyring: Keyring
) -> None:
    """Say that the two people of a match are one, or two, or take back what was said; what each act does tells `Act`.

    Raises:
        NotFound, MatchTransitionNotAllowed.
        InvalidRequest: the reason names one of the two.
    """
    match, others = await hold_match(session, match_id, scope=actor.division)
    if match.pair is None:
        raise MatchTransitionNotAllowed(
            "The match is from before there were reviews; `sentinel rematch` judges it anew"
        )
    if match.status not in ALLOWED[act]:
        raise MatchTransitionNotAllowed(f"The match is {match.status.value}")
    identities = await open_people(session, await people_of(session, match), keyring)
    if errors := naming("/reason", "reason_contains_identity", reason, identities.values()):
        raise InvalidRequest(errors=errors)
    last = await session.scalar(select(func.max(Review.number)).where(Review.pair == match.pair))
    review = Review(
        pair=match.pair,
        number=(last or 0) + 1,
        match_id=match.id,
        act=act,
        strength=match.strength,
        reason=reason,
        account_id=actor.account_id,
        account_name=actor.name,
        at=now,
    )
    session.add(review)
    _show((match, *others), Said(act, match.strength), now)
    await session.flush()
    await audit.record(
        session,
        actor=actor,
        now=now,
        action=f"match.{_DONE[act]}",
        subject=("match", match.id),
        division=match.division,
        detail={"rule": match.rule},
    )
    await jobs.enqueue(session, REVIEWED, [{"review_id": review.id}])


_DONE = {Act.CONFIRM: "confirmed", Act.REJECT: "rejected", Act.REOPEN: "reopened"}


def _show(matches: Sequence[Match], said: Said, now: datetime) -> None:
    """Let the matches that hold show what was said. Their turn stays: the job that follows tells subscribers."""
    for match in matches:
        status = status_of(match.strength, said)
        if match.status is not MatchStatus.WITHDRAWN and match.status is not status:
            match.status, match.changed_at = status, now
