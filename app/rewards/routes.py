"""Rewards: officials read policies and decisions, approve, reject, pay and reverse."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Now, Router, Transaction
from app.core.languages import Language, preferred, said_in
from app.core.pagination import Page, Paging
from app.rewards import queries, service
from app.rewards.rules import as_policy
from app.rewards.schemas import (
    CriterionOut,
    DecisionFilter,
    DecisionOut,
    JudgementIn,
    PoliciesOut,
    PolicyOut,
    RefusalIn,
    TransitionOut,
)

router = Router(prefix="/v1/rewards", tags=["rewards"])

Reader = Annotated[Actor, Depends(requires(Permission.READ_REWARDS))]
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"description": "The decision's status, or who asks, does not allow it"}
}
Official = Annotated[Actor, Depends(requires(Permission.DECIDE_REWARDS))]
Verb = Callable[..., Awaitable[None]]
"""What an official does to a decision."""


async def preferred_language(
    response: Response,
    accept_language: Annotated[
        str | None, Header(description="`zh` or `en`; English unless Chinese is preferred")
    ] = None,
) -> Language:
    """Return the language in which criteria are read out, and say on the response which it is."""
    language = preferred(accept_language, Language.EN)
    response.headers.update(said_in(language))
    return language


Spoken = Annotated[Language, Depends(preferred_language)]


def shown(row: Mapping[str, Any], language: Language) -> DecisionOut:
    """Return a decision as it is shown, its criteria in one language."""
    criteria = [CriterionOut(code=one["code"], met=one["met"], detail=one[language]) for one in row["criteria"]]
    history = [TransitionOut.model_validate(step) for step in row["history"]]
    told = {name: row[name] for name in DecisionOut.model_fields if name not in ("criteria", "history")}
    return DecisionOut(**told, criteria=criteria, history=history)


async def _decision(session: AsyncSession, decision_id: UUID, actor: Actor, language: Language) -> DecisionOut:
    return shown(await queries.get_decision(session, decision_id, scope=actor.division), language)


@router.get("/policies")
async def list_reward_policies(session: Transaction, actor: Reader) -> PoliciesOut:
    """List every version of the reward policy, the newest first."""
    items = []
    for row in await queries.list_policies(session):
        policy = as_policy(row.version, row.parameters)
        items.append(
            PolicyOut(
                version=policy.version,
                valid_from=row.valid_from,
                on_time_hours=policy.on_time_hours,
                window_days=policy.window_days,
                award=policy.award,
                amount=policy.amount,
                currency=policy.currency,
                cap_per_month=policy.cap_per_month,
                created_at=row.created_at,
                created_by=row.created_by,
            )
        )
    return PoliciesOut(items=items)


@router.get("/decisions")
async def list_reward_decisions(
    session: Transaction,
    actor: Reader,
    filters: Annotated[DecisionFilter, Query()],
    language: Spoken,
    paging: Paging,
) -> Page[DecisionOut]:
    """List decisions with every criterion and their history, the last made first."""
    rows = await queries.list_decisions(
        session, scope=actor.division, filters=filters, limit=paging.wanted, before=paging.after(UUID)
    )
    cut, cursor = paging.cut(rows, lambda row: (row["id"],))
    return Page(items=[shown(row, language) for row in cut], next_cursor=cursor)


@router.get("/decisions/{decision_id}")
async def get_reward_decision(session: Transaction, actor: Reader, decision_id: UUID, language: Spoken) -> DecisionOut:
    """Show one decision with every criterion and its history."""
    return await _decision(session, decision_id, actor, language)


async def _judging(
    session: Transaction, now: Now, actor: Official, decision_id: UUID, language: Spoken
) -> Callable[[Verb, str | None], Awaitable[DecisionOut]]:
    async def judge(verb: Verb, reason: str | None) -> DecisionOut:
        await verb(session, decision_id, actor=actor, now=now, reason=reason)
        return await _decision(session, decision_id, actor, language)

    return judge


Judge = Annotated[Callable[[Verb, str | None], Awaitable[DecisionOut]], Depends(_judging)]


@router.post("/decisions/{decision_id}/approve", responses=_CONFLICT)
async def approve_reward(judge: Judge, body: JudgementIn | None = None) -> DecisionOut:
    """Grant a proposed reward. Another official has to pay it."""
    return await judge(service.approve_reward, body.reason if body else None)


@router.post("/decisions/{decision_id}/reject", responses=_CONFLICT)
async def reject_reward(judge: Judge, body: RefusalIn) -> DecisionOut:
    """Refuse a proposed reward, with a reason. The next pharmacy that registered the case moves up."""
    return await judge(service.reject_reward, body.reason)


@router.post("/decisions/{decision_id}/pay", responses=_CONFLICT)
async def pay_reward(judge: Judge, body: JudgementIn | None = None) -> DecisionOut:
    """Note that an approved reward was paid; not by the official who approved it (409 `same_official`)."""
    return await judge(service.pay_reward, body.reason if body else None)


@router.post("/decisions/{decision_id}/reverse", responses=_CONFLICT)
async def reverse_reward(judge: Judge, body: RefusalIn) -> DecisionOut:
    """Take a granted reward back because its entry proved false, with a reason."""
    return await judge(service.reverse_reward, body.reason)
