"""How a reward is decided: the registration that counts, the first reporter, the month's places, the money.

Pure functions over the facts of `criteria.py`. The order in which facts arrive never matters: whatever has to be put in
order is ordered by instants and, where those are equal, by identifiers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.core.clock import china_day
from app.rewards.criteria import (
    Award,
    Criterion,
    CriterionCode,
    Facts,
    Policy,
    Rival,
    all_met,
    first_unmet,
    own_criteria,
    with_cap,
    with_first_reporter,
)


class DecisionStatus(StrEnum):
    """Where a decision stands in its life."""

    PROPOSED = "proposed"
    NOT_ELIGIBLE = "not_eligible"
    APPROVED = "approved"
    REJECTED = "rejected"
    PAID = "paid"
    REVERSED = "reversed"


class Act(StrEnum):
    """What moves a decision on. `evaluate`, `withdraw` and `reopen` follow from facts, the others from an official."""

    EVALUATE = "evaluate"
    APPROVE = "approve"
    REJECT = "reject"
    PAY = "pay"
    REVERSE = "reverse"
    WITHDRAW = "withdraw"
    REOPEN = "reopen"


class EntryKind(StrEnum):
    """What a ledger entry is for."""

    AWARD = "award"
    REVERSAL = "reversal"


OPEN = frozenset({DecisionStatus.PROPOSED, DecisionStatus.NOT_ELIGIBLE})
"""Still computed anew whenever the facts change."""

HELD = frozenset({DecisionStatus.APPROVED, DecisionStatus.PAID})
"""Granted by an official: holds the first place and a place under the cap until it is reversed."""


@dataclass(frozen=True, slots=True)
class Move:
    """One arrow (or bundle of arrows) in the life of a decision."""

    sources: frozenset[DecisionStatus]
    targets: frozenset[DecisionStatus]


TRANSITIONS: Mapping[Act, Move] = {
    Act.EVALUATE: Move(OPEN, OPEN),
    Act.APPROVE: Move(frozenset({DecisionStatus.PROPOSED}), frozenset({DecisionStatus.APPROVED})),
    Act.REJECT: Move(frozenset({DecisionStatus.PROPOSED}), frozenset({DecisionStatus.REJECTED})),
    Act.PAY: Move(frozenset({DecisionStatus.APPROVED}), frozenset({DecisionStatus.PAID})),
    Act.REVERSE: Move(HELD, frozenset({DecisionStatus.REVERSED})),
    Act.WITHDRAW: Move(HELD, frozenset({DecisionStatus.REVERSED})),
    Act.REOPEN: Move(frozenset({DecisionStatus.REVERSED}), OPEN),
}
"""When each act is possible. Who may do it is a matter of roles and stands in `auth/rules.py`."""


Key = tuple[UUID, UUID]
"""(case, pharmacy): what a decision is about."""

Month = tuple[UUID, date]
"""(pharmacy, first day of a month in China): what a cap is about."""

NOTHING = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Candidate:
    """The registration on which a pharmacy's decision about a case rests, and the criteria that it meets by itself."""

    facts: Facts
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Contender:
    """A decision that takes a place in its pharmacy's month: held by an official's grant, or meeting points 1 to 11."""

    case_id: UUID
    pharmacy_id: UUID
    confirmed_at: datetime
    held: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy says about one (case, pharmacy)."""

    status: DecisionStatus
    amount: Decimal
    criteria: tuple[Criterion, ...]
    first_unmet: CriterionCode | None


def month_of(confirmed_at: datetime) -> date:
    """Return the first day of the month, in China, in which a case was confirmed."""
    return china_day(confirmed_at).replace(day=1)


def policy_in_force(policies: Sequence[tuple[datetime, Policy]], at: datetime) -> Policy:
    """Return the policy with the latest `valid_from` that is not after an instant; the highest version where two tie.

    Before the oldest policy the oldest one holds, so that there always is one.
    """
    ordered = sorted(policies, key=lambda pair: (pair[0], pair[1].version))
    in_force = [policy for valid_from, policy in ordered if valid_from <= at]
    return in_force[-1] if in_force else ordered[0][1]


def choose(facts: Iterable[Facts], policy: Policy) -> dict[UUID, Candidate]:
    """Return, for each pharmacy that was matched with one case, the registration on which its decision rests.

    The earliest received of those that meet points 1 to 10; where none does, the one that meets most, then the earliest.
    """
    candidates: dict[UUID, list[Candidate]] = defaultdict(list)
    for fact in facts:
        candidates[fact.pharmacy_id].append(Candidate(fact, own_criteria(fact, policy)))
    return {pharmacy: min(those, key=_preference) for pharmacy, those in candidates.items()}


def judge(
    candidates: Mapping[UUID, Candidate], policy: Policy, standing: Mapping[UUID, DecisionStatus]
) -> dict[UUID, Candidate]:
    """Return each pharmacy's candidate with the eleventh criterion added: who, of all pharmacies, was first?

    `standing` has the statuses of decisions that exist already for this case. A granted reward holds the first place; a
    rejected or reversed one does not compete for it, because nobody is paid for it.
    """
    competing = [
        candidate
        for pharmacy, candidate in candidates.items()
        if all_met(candidate.criteria) and standing.get(pharmacy, DecisionStatus.PROPOSED) in OPEN
    ]
    holders = {pharmacy for pharmacy, status in standing.items() if status in HELD}
    winner = min(competing, key=_preference, default=None)
    judged = {}
    for pharmacy, candidate in candidates.items():
        rival = None
        if holders and pharmacy not in holders:
            rival = Rival(None)
        elif not holders and winner is not None and winner.facts.pharmacy_id != pharmacy:
            rival = Rival(winner.facts.received_at)
        judged[pharmacy] = Candidate(candidate.facts, with_first_reporter(candidate.criteria, policy, rival))
    return judged


def contender(candidate: Candidate) -> Contender | None:
    """Return the place that a judged candidate asks for in its pharmacy's month, None if it meets too little."""
    facts = candidate.facts
    if facts.confirmed_at is None or not all_met(candidate.criteria[:11]):
        return None
    return Contender(facts.case_id, facts.pharmacy_id, facts.confirmed_at, held=False)


def places(contenders: Iterable[Contender]) -> dict[Key, int]:
    """Return each contender's place in its pharmacy's month, counted from 1.

    Granted rewards come first; the others follow in the order in which their cases were confirmed, then by case.
    """
    months: dict[Month, list[Contender]] = defaultdict(list)
    for one in contenders:
        months[one.pharmacy_id, month_of(one.confirmed_at)].append(one)
    return {
        (one.case_id, one.pharmacy_id): place
        for those in months.values()
        for place, one in enumerate(sorted(those, key=lambda c: (not c.held, c.confirmed_at, c.case_id)), start=1)
    }


def conclude(eleven: tuple[Criterion, ...], policy: Policy, place: int) -> Verdict:
    """Return the verdict: proposed when all twelve criteria are met, otherwise not eligible and worth nothing."""
    criteria = with_cap(eleven, policy, place)
    unmet = first_unmet(criteria)
    if unmet is None:
        return Verdict(DecisionStatus.PROPOSED, policy.amount, criteria, None)
    return Verdict(DecisionStatus.NOT_ELIGIBLE, NOTHING, criteria, unmet)


def decide(
    facts: Iterable[Facts],
    policies: Mapping[UUID, Policy],
    standing: Mapping[Key, DecisionStatus],
    others: Iterable[Contender] = (),
) -> dict[Key, Verdict]:
    """Return the verdict for every open (case, pharmacy) of some cases.

    Args:
        facts: all registrations that were matched with those cases.
        policies: the policy of each case.
        standing: the statuses of decisions that exist already for those cases.
        others: contenders for places in the same pharmacies' months that are not open decisions of those cases.
    """
    judged = judge_all(facts, policies, standing)
    asking = [one for key, candidate in judged.items() if (one := contender(candidate)) and _is_open(standing, key)]
    place = places([*others, *asking])
    return {
        key: conclude(candidate.criteria, policies[key[0]], place.get(key, 1))
        for key, candidate in judged.items()
        if _is_open(standing, key)
    }


def judge_all(
    facts: Iterable[Facts], policies: Mapping[UUID, Policy], standing: Mapping[Key, DecisionStatus]
) -> dict[Key, Candidate]:
    """Return the judged candidates of several cases, keyed by (case, pharmacy)."""
    by_case: dict[UUID, list[Facts]] = defaultdict(list)
    for fact in facts:
        by_case[fact.case_id].append(fact)
    decided: dict[UUID, dict[UUID, DecisionStatus]] = defaultdict(dict)
    for (case, pharmacy), status in standing.items():
        decided[case][pharmacy] = status
    judged: dict[Key, Candidate] = {}
    for case, those in by_case.items():
        policy = policies[case]
        for pharmacy, candidate in judge(choose(those, policy), policy, decided[case]).items():
            judged[case, pharmacy] = candidate
    return judged


def is_live(facts: Facts) -> bool:
    """Return whether a decision is called for at all: only where the persons are the same, not while that is a mere possibility."""
    return facts.match_status in ("counted", "confirmed")


def can(act: Act, status: DecisionStatus) -> bool:
    """Return whether an act is possible for a decision in this status."""
    return status in TRANSITIONS[act].sources


def ledger_entry(before: DecisionStatus, after: DecisionStatus, amount: Decimal) -> tuple[EntryKind, Decimal] | None:
    """Return what one step writes into the ledger: an award when paid, its reversal when a paid one is reversed.

    Reversing what was approved but never paid moves no money.
    """
    if after is DecisionStatus.PAID:
        return EntryKind.AWARD, amount
    if before is DecisionStatus.PAID:
        return EntryKind.REVERSAL, -amount
    return None


def as_policy(version: int, parameters: Mapping[str, object]) -> Policy:
    """Return the policy that a stored version describes."""
    return Policy(
        version=version,
        on_time_hours=int(str(parameters["on_time_hours"])),
        window_days=int(str(parameters["window_days"])),
        award=Award(str(parameters["award"])),
        amount=Decimal(str(parameters["amount"])),
        currency=str(parameters["currency"]),
        cap_per_month=int(str(parameters["cap_per_month"])),
    )


def as_stored(criteria: Iterable[Criterion]) -> list[dict[str, Any]]:
    """Return criteria in the form in which a decision keeps them."""
    return [{"code": one.code.value, "met": one.met, "zh": one.zh, "en": one.en} for one in criteria]


def from_stored(stored: Iterable[Mapping[str, Any]]) -> tuple[Criterion, ...]:
    """Return the criteria that a decision keeps."""
    return tuple(Criterion(CriterionCode(one["code"]), one["met"], one["zh"], one["en"]) for one in stored)


def _preference(candidate: Candidate) -> tuple[int, datetime, UUID]:
    met = sum(criterion.met for criterion in candidate.criteria[:10])
    return (-met, candidate.facts.received_at, candidate.facts.registration_id)


def _is_open(standing: Mapping[Key, DecisionStatus], key: Key) -> bool:
    return standing.get(key, DecisionStatus.PROPOSED) in OPEN
