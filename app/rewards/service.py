"""What can be done with rewards: compute decisions, approve, reject, pay, reverse."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import SYSTEM, Actor
from app.core import jobs
from app.core.errors import AppError
from app.core.ids import new_id
from app.rewards import queries
from app.rewards.changes import Changes, Decided
from app.rewards.criteria import Facts, Policy, with_cap
from app.rewards.facts import gather_facts
from app.rewards.rules import (
    HELD,
    OPEN,
    Act,
    Candidate,
    Contender,
    DecisionStatus,
    Key,
    Month,
    Verdict,
    as_stored,
    can,
    conclude,
    contender,
    from_stored,
    is_live,
    judge_all,
    month_of,
    places,
    policy_in_force,
)

DUE = jobs.declare("rewards.due")
"""Decisions about cases are to be computed anew; payload `{"case_ids": […]}`."""

_CASES_PER_JOB = 500

_DISCARDED = "The case was withdrawn"
_UNFOUNDED = "The match on which it rested was withdrawn: the registration no longer bears it out"


class TransitionNotAllowed(AppError):
    """The decision is not in a status from which this is possible; `detail` names the status. Only a proposed one can be
    approved or rejected, an approved one paid, an approved or paid one reversed.
    """

    status, code, title = 409, "transition_not_allowed", "The decision's status does not allow this"


class SameOfficial(AppError):
    """Whoever approved a reward may not pay it as well; another official has to."""

    status, code, title = 409, "same_official", "Another official must pay"


async def evaluate_later(session: AsyncSession, case_ids: Collection[UUID]) -> None:
    """Have the decisions about these cases computed once the transaction, which changes what they rest on, has committed."""
    ids = list(case_ids)
    chunks = [ids[start : start + _CASES_PER_JOB] for start in range(0, len(ids), _CASES_PER_JOB)]
    await jobs.enqueue(session, DUE, [{"case_ids": chunk} for chunk in chunks])


async def evaluate_cases(session: AsyncSession, case_ids: Collection[UUID], *, now: datetime) -> list[Decided]:
    """Compute the decisions about these cases anew, and the places in the months that they touch.

    Runs under one lock, so that two evaluations never both find the last place free. Doing it again changes nothing. Granted
    rewards are left alone unless the match on which they rest was withdrawn: then they are reversed, and what was paid is taken
    back in the ledger. They open again when there is a match with the confirmed case after all.

    Returns:
        The decisions that are new or whose status has changed.
    """
    if not case_ids:
        return []
    await queries.lock_rewards(session)
    facts = await gather_facts(session, case_ids)
    rows = {(row["case_id"], row["pharmacy_id"]): row for row in await queries.decisions_of_cases(session, case_ids)}
    changes = Changes(now, SYSTEM)
    _withdraw(facts, rows, changes)

    history = await queries.policy_history(session)
    by_version = {policy.version: policy for _, policy in history}
    policies = {fact.case_id: policy_in_force(history, fact.confirmed_at or now) for fact in facts}
    standing = {key: DecisionStatus(row["status"]) for key, row in rows.items() if not _may_reopen(row)}
    judged = {
        key: candidate
        for key, candidate in judge_all(facts, policies, standing).items()
        if standing.get(key, DecisionStatus.PROPOSED) in OPEN and (key in rows or is_live(candidate.facts))
    }
    asking = [one for candidate in judged.values() if (one := contender(candidate))]
    # The months in which a place may become free, and those in which one is asked for.
    months = {_month(row) for row in rows.values() if row["confirmed_at"] is not None}
    months |= {(one.pharmacy_id, month_of(one.confirmed_at)) for one in asking}
    others = [
        row
        for row in await queries.contenders_in_months(session, months)
        if (row["case_id"], row["pharmacy_id"]) not in judged
    ]
    place = places([*asking, *(_as_contender(row) for row in others)])

    for key, candidate in judged.items():
        verdict = conclude(candidate.criteria, policies[key[0]], place.get(key, 1))
        _settle(rows.get(key), candidate, policies[key[0]], verdict, changes)
    # Others that wait meet points 1 to 11, so only what is said of their place can change.
    moved = [
        row["id"] for row in others if row["status"] in OPEN and row["cap"] != _said_of_place(row, by_version, place)
    ]
    for row in await queries.decisions_by_id(session, moved):
        eleven = from_stored(row["criteria"])[:11]
        verdict = conclude(eleven, by_version[row["policy_version"]], place[row["case_id"], row["pharmacy_id"]])
        _apply(row, verdict, {}, changes)
    await changes.write(session)
    return changes.decided


def _withdraw(facts: Iterable[Facts], rows: Mapping[Key, dict[str, Any]], changes: Changes) -> None:
    """Reverse what was granted on a match that no longer holds, whichever side it was that withdrew it."""
    by_ground = {(fact.case_id, fact.registration_id): fact for fact in facts}
    for (case_id, _), row in rows.items():
        ground = by_ground.get((case_id, row["registration_id"]))
        if row["status"] not in HELD or (ground is not None and is_live(ground)):
            continue
        discarded = ground is not None and ground.classification == "discarded"
        before = DecisionStatus(row["status"])
        row.update(status=DecisionStatus.REVERSED, withdrawn=True, updated_at=changes.now)
        changes.change(row)
        changes.step(row, Act.WITHDRAW, before, _DISCARDED if discarded else _UNFOUNDED)


def _settle(
    row: dict[str, Any] | None, candidate: Candidate, policy: Policy, verdict: Verdict, changes: Changes
) -> None:
    """Note what a verdict changes about one decision, or that it is a new one."""
    facts = candidate.facts
    values = {
        "registration_id": facts.registration_id,
        "policy_version": policy.version,
        "currency": policy.currency,
        "confirmed_at": facts.confirmed_at,
    }
    if row is None:
        new = {
            "id": new_id(),
            "case_id": facts.case_id,
            "pharmacy_id": facts.pharmacy_id,
            "division": facts.division,
            **values,
            **_said(verdict),
            "created_at": changes.now,
            "updated_at": changes.now,
        }
        changes.new.append(new)
        changes.step(new, Act.EVALUATE, None)
    elif row["status"] in OPEN or (verdict.criteria[0].met and is_live(facts)):
        _apply(row, verdict, values, changes)


def _apply(row: dict[str, Any], verdict: Verdict, values: Mapping[str, Any], changes: Changes) -> None:
    """Note the difference between a stored decision and a verdict, if there is any."""
    before = DecisionStatus(row["status"])
    wanted = {**values, **_said(verdict)}
    if before is DecisionStatus.REVERSED:
        wanted.update(withdrawn=False, approved_by=None)
    differing = {name: value for name, value in wanted.items() if row[name] != value}
    if not differing:
        return
    row.update(differing, updated_at=changes.now)
    changes.change(row)
    if row["status"] is not before:
        changes.step(row, Act.EVALUATE if before in OPEN else Act.REOPEN, before)


def _said(verdict: Verdict) -> dict[str, Any]:
    return {
        "status": verdict.status,
        "amount": verdict.amount,
        "criteria": as_stored(verdict.criteria),
        "first_unmet": verdict.first_unmet,
    }


def _said_of_place(row: Mapping[str, Any], policies: Mapping[int, Policy], place: Mapping[Key, int]) -> dict[str, Any]:
    (cap,) = as_stored(with_cap((), policies[row["policy_version"]], place[row["case_id"], row["pharmacy_id"]]))
    return cap


def _may_reopen(row: Mapping[str, Any]) -> bool:
    return row["status"] == DecisionStatus.REVERSED and bool(row["withdrawn"])


def _month(row: Mapping[str, Any]) -> Month:
    return row["pharmacy_id"], month_of(row["confirmed_at"])


def _as_contender(row: Mapping[str, Any]) -> Contender:
    return Contender(row["case_id"], row["pharmacy_id"], row["confirmed_at"], held=row["status"] in HELD)


async def approve_reward(
    session: AsyncSession, decision_id: UUID, *, actor: Actor, now: datetime, reason: str | None = None
) -> None:
    """Grant a proposed reward; another official pays it.

    Raises:
        NotFound, TransitionNotAllowed.
    """
    await _act(session, decision_id, Act.APPROVE, DecisionStatus.APPROVED, actor, now, reason)


async def reject_reward(session: AsyncSession, decision_id: UUID, *, actor: Actor, now: datetime, reason: str) -> None:
    """Refuse a proposed reward. The next pharmacy that registered the case, if any, becomes the first reporter.

    Raises:
        NotFound, TransitionNotAllowed.
    """
    case_id = await _act(session, decision_id, Act.REJECT, DecisionStatus.REJECTED, actor, now, reason)
    await evaluate_cases(session, [case_id], now=now)


async def pay_reward(
    session: AsyncSession, decision_id: UUID, *, actor: Actor, now: datetime, reason: str | None = None
) -> None:
    """Note that an approved reward was paid, with its entry in the ledger.

    Raises:
        NotFound, TransitionNotAllowed, SameOfficial.
    """
    await _act(session, decision_id, Act.PAY, DecisionStatus.PAID, actor, now, reason)


async def reverse_reward(session: AsyncSession, decision_id: UUID, *, actor: Actor, now: datetime, reason: str) -> None:
    """Take a granted reward back because its entry proved false; what was paid is taken back in the ledger.

    Such a decision never opens again by itself. The next pharmacy, if any, becomes the first reporter.

    Raises:
        NotFound, TransitionNotAllowed.
    """
    case_id = await _act(session, decision_id, Act.REVERSE, DecisionStatus.REVERSED, actor, now, reason)
    await evaluate_cases(session, [case_id], now=now)


async def _act(
    session: AsyncSession,
    decision_id: UUID,
    act: Act,
    after: DecisionStatus,
    actor: Actor,
    now: datetime,
    reason: str | None,
) -> UUID:
    """Do an official's act; return the case that the decision is about."""
    # The lock of the evaluation: an official never acts on a status that is just being computed anew.
    await queries.lock_rewards(session)
    row = await queries.get_decision_row(session, decision_id, scope=actor.division)
    before = DecisionStatus(row["status"])
    if not can(act, before):
        raise TransitionNotAllowed(f"The decision is {before.value}")
    if act is Act.PAY and row["approved_by"] == actor.account_id:
        raise SameOfficial
    row.update(status=after, updated_at=now)
    if act is Act.APPROVE:
        row["approved_by"] = actor.account_id
    changes = Changes(now, actor)
    changes.change(row)
    changes.step(row, act, before, reason)
    await changes.write(session)
    return UUID(str(row["case_id"]))
