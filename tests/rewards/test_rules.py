"""Properties of the decision: who wins, what a month holds, what the ledger says – whatever the order of the facts."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rewards.criteria import Award, CriterionCode, Facts, Policy, all_met
from app.rewards.rules import (
    HELD,
    NOTHING,
    OPEN,
    TRANSITIONS,
    Act,
    Contender,
    DecisionStatus,
    EntryKind,
    as_policy,
    can,
    choose,
    decide,
    judge,
    ledger_entry,
    month_of,
    places,
    policy_in_force,
)

START = datetime(2026, 2, 10, tzinfo=UTC)
CASES = [UUID(int=100 + n) for n in range(5)]
PHARMACIES = [UUID(int=200 + n) for n in range(3)]
# Of one case: whatever its registrations say, these are the same.
CASE_FACTS = {
    case: {
        "classification": "confirmed" if n != 4 else "suspected",
        "confirmed_at": START + timedelta(days=4 + n // 2) if n != 4 else None,
    }
    for n, case in enumerate(CASES)
}


def facts(number: int, case: UUID, pharmacy: UUID, **changes: Any) -> Facts:
    purchased = START + timedelta(minutes=number)
    values: dict[str, Any] = {
        "case_id": case,
        "pharmacy_id": pharmacy,
        "registration_id": UUID(int=1000 + number),
        "division": "440304005",
        "strength": "certain",
        "match_status": "counted",
        "had_listed_drug": True,
        "purchased_at": purchased,
        "received_at": purchased + timedelta(minutes=1),
        "complete_at_first": True,
        "standing": "active",
        "buyer_on_roster": False,
        "amended": False,
        **CASE_FACTS.get(case, CASE_FACTS[CASES[0]]),
        **changes,
    }
    return Facts(**values)


@st.composite
def worlds(draw: st.DrawFn) -> list[Facts]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(CASES),
                st.sampled_from(PHARMACIES),
                st.integers(0, 40),  # minutes until the server received it: ties happen
                st.booleans(),
                st.booleans(),
                st.sampled_from(["counted", "counted", "counted", "withdrawn"]),
            ),
            max_size=25,
        )
    )
    return [
        facts(
            n,
            case,
            pharmacy,
            purchased_at=START,
            received_at=START + timedelta(minutes=minutes),
            complete_at_first=complete,
            buyer_on_roster=staff and complete,
            match_status=status,
        )
        for n, (case, pharmacy, minutes, complete, staff, status) in enumerate(rows)
    ]


policies = st.builds(Policy, award=st.sampled_from(Award), cap_per_month=st.integers(0, 4))


def same_for_all(policy: Policy) -> dict[UUID, Policy]:
    return dict.fromkeys(CASES, policy)


class TestTheDecision:
    @given(worlds(), policies, st.randoms())
    def test_does_not_depend_on_the_order_of_the_facts(
        self, world: list[Facts], policy: Policy, random: Random
    ) -> None:
        shuffled = list(world)
        random.shuffle(shuffled)
        assert decide(shuffled, same_for_all(policy), {}) == decide(world, same_for_all(policy), {})

    @given(worlds(), policies)
    def test_is_one_per_case_and_pharmacy_with_every_criterion(self, world: list[Facts], policy: Policy) -> None:
        verdicts = decide(world, same_for_all(policy), {})
        assert set(verdicts) == {(f.case_id, f.pharmacy_id) for f in world}
        for verdict in verdicts.values():
            assert [c.code for c in verdict.criteria] == list(CriterionCode)
            assert (verdict.status is DecisionStatus.PROPOSED) == all_met(verdict.criteria)
            assert (verdict.first_unmet is None) == all_met(verdict.criteria)
            assert verdict.amount == (policy.amount if all_met(verdict.criteria) else NOTHING)

    @given(worlds(), policies)
    def test_never_goes_over_the_cap_of_a_month(self, world: list[Facts], policy: Policy) -> None:
        verdicts = decide(world, same_for_all(policy), {})
        awards = Counter(
            (pharmacy, month_of(CASE_FACTS[case]["confirmed_at"]))  # type: ignore[arg-type]
            for (case, pharmacy), verdict in verdicts.items()
            if verdict.status is DecisionStatus.PROPOSED
        )
        assert all(count <= policy.cap_per_month for count in awards.values())

    @given(worlds())
    def test_has_exactly_one_first_reporter_where_somebody_meets_points_1_to_10(self, world: list[Facts]) -> None:
        verdicts = decide(world, same_for_all(Policy()), {})
        for case in CASES:
            firsts = [v for (c, _), v in verdicts.items() if c == case and v.criteria[10].met]
            somebody = any(all_met(v.criteria[:10]) for (c, _), v in verdicts.items() if c == case)
            assert len(firsts) == (1 if somebody else 0)

    @given(worlds(), st.sampled_from(PHARMACIES), policies)
    def test_leaves_a_granted_reward_alone_and_gives_no_second_one(
        self, world: list[Facts], holder: UUID, policy: Policy
    ) -> None:
        standing = {(CASES[0], holder): DecisionStatus.APPROVED}
        verdicts = decide(world, same_for_all(policy), standing)
        assert (CASES[0], holder) not in verdicts
        if policy.award is Award.FIRST:
            assert not any(v.criteria[10].met for (case, _), v in verdicts.items() if case == CASES[0])

    @given(worlds(), policies, st.integers(0, 24))
    def test_never_takes_a_reward_away_because_a_registration_meets_more(
        self, world: list[Facts], policy: Policy, index: int
    ) -> None:
        if index >= len(world):
            return
        mine = world[index]
        better = replace(mine, complete_at_first=True, buyer_on_roster=False, match_status="counted")
        before = decide(world, same_for_all(policy), {})
        after = decide([*world[:index], better, *world[index + 1 :]], same_for_all(policy), {})
        key = (mine.case_id, mine.pharmacy_id)
        # Another case of the same pharmacy may lose its place in the month to this one; this one itself loses nothing.
        if before[key].status is DecisionStatus.PROPOSED:
            assert after[key].status is DecisionStatus.PROPOSED

    @given(worlds(), policies)
    def test_is_the_same_when_computed_case_by_case_with_the_others_as_contenders(
        self, world: list[Facts], policy: Policy
    ) -> None:
        whole = decide(world, same_for_all(policy), {})
        for case in CASES:
            others = [
                Contender(c, p, CASE_FACTS[c]["confirmed_at"], held=False)  # type: ignore[arg-type]
                for (c, p), v in whole.items()
                if c != case and v.first_unmet in (None, CriterionCode.UNDER_CAP)
            ]
            part = decide([f for f in world if f.case_id == case], same_for_all(policy), {}, others)
            assert part == {key: verdict for key, verdict in whole.items() if key[0] == case}


class TestTheRegistrationThatCounts:
    case, pharmacy = CASES[0], PHARMACIES[0]

    def chosen(self, *world: Facts) -> int:
        return choose(world, Policy())[self.pharmacy].facts.registration_id.int - 1000

    def test_is_the_earliest_received_that_meets_points_1_to_10(self) -> None:
        late = facts(1, self.case, self.pharmacy)
        early = facts(2, self.case, self.pharmacy, received_at=START)
        earliest_but_incomplete = facts(
            3, self.case, self.pharmacy, received_at=START - timedelta(hours=1), complete_at_first=False
        )
        assert self.chosen(late, early, earliest_but_incomplete) == 2

    def test_is_the_one_that_meets_most_where_none_meets_all(self) -> None:
        two_missing = facts(1, self.case, self.pharmacy, complete_at_first=False, buyer_on_roster=True)
        one_missing = facts(2, self.case, self.pharmacy, buyer_on_roster=True)
        another_missing_later = facts(3, self.case, self.pharmacy, complete_at_first=False)
        assert self.chosen(two_missing, another_missing_later, one_missing) == 2


class TestTheFirstReporter:
    def test_is_not_the_rejected_one(self) -> None:
        world = [facts(1, CASES[0], PHARMACIES[0]), facts(2, CASES[0], PHARMACIES[1])]
        verdicts = decide(world, same_for_all(Policy()), {(CASES[0], PHARMACIES[0]): DecisionStatus.REJECTED})
        assert {key[1]: v.status for key, v in verdicts.items()} == {PHARMACIES[1]: DecisionStatus.PROPOSED}

    def test_is_the_holder_of_a_granted_reward_even_when_another_was_earlier(self) -> None:
        world = [facts(1, CASES[0], PHARMACIES[0]), facts(2, CASES[0], PHARMACIES[1])]
        candidates = choose(world, Policy())
        judged = judge(candidates, Policy(), {PHARMACIES[1]: DecisionStatus.PAID})
        assert judged[PHARMACIES[1]].criteria[10].met
        assert judged[PHARMACIES[0]].criteria[10].en == "The reward for this case has been granted to another pharmacy."

    def test_is_decided_by_the_identifier_when_two_were_received_at_one_instant(self) -> None:
        world = [
            facts(2, CASES[0], PHARMACIES[0], received_at=START),
            facts(1, CASES[0], PHARMACIES[1], received_at=START),
        ]
        verdicts = decide(world, same_for_all(Policy()), {})
        assert verdicts[CASES[0], PHARMACIES[1]].status is DecisionStatus.PROPOSED
        assert verdicts[CASES[0], PHARMACIES[0]].first_unmet is CriterionCode.FIRST_REPORTER


class TestTheMonth:
    pharmacy = PHARMACIES[0]

    def asks(self, day: int, number: int, *, held: bool = False) -> Contender:
        return Contender(UUID(int=number), self.pharmacy, datetime(2026, 2, day, tzinfo=UTC), held)

    def test_is_ordered_by_confirmation_and_then_by_case(self) -> None:
        place = places([self.asks(5, 9), self.asks(3, 7), self.asks(3, 6)])
        assert [case.int for case, _ in sorted(place, key=lambda key: place[key])] == [6, 7, 9]

    def test_gives_granted_rewards_the_first_places(self) -> None:
        place = places([self.asks(3, 1), self.asks(9, 2, held=True)])
        assert place == {(UUID(int=2), self.pharmacy): 1, (UUID(int=1), self.pharmacy): 2}

    def test_begins_at_midnight_in_china(self) -> None:
        last = datetime(2026, 1, 31, 15, 59, 59, tzinfo=UTC)
        assert (month_of(last).month, month_of(last + timedelta(seconds=1)).month) == (1, 2)

    def test_of_another_pharmacy_or_date_is_another_one(self) -> None:
        place = places([self.asks(3, 1), Contender(UUID(int=2), PHARMACIES[1], START, held=False)])
        assert set(place.values()) == {1}


class TestThePolicyInForce:
    def test_is_the_latest_that_had_begun(self) -> None:
        first, second = Policy(version=1), Policy(version=2)
        history = [(START + timedelta(days=1), second), (START, first)]
        assert policy_in_force(history, START + timedelta(days=1)) is second
        assert policy_in_force(history, START + timedelta(hours=23)) is first
        assert policy_in_force(history, START - timedelta(days=1)) is first

    def test_is_read_from_what_is_stored(self) -> None:
        stored = {
            "on_time_hours": 12,
            "window_days": 7,
            "award": "every",
            "amount": "50000.00",
            "currency": "CNY",
            "cap_per_month": 2,
        }
        assert as_policy(4, stored) == Policy(4, 12, 7, Award.EVERY, Decimal("50000.00"), "CNY", 2)


class TestTheLife:
    @pytest.mark.parametrize("act", list(Act))
    def test_names_the_sources_of_every_act(self, act: Act) -> None:
        assert TRANSITIONS[act].sources
        assert TRANSITIONS[act].targets

    @pytest.mark.parametrize(
        ("act", "possible"),
        [
            (Act.APPROVE, {"proposed"}),
            (Act.REJECT, {"proposed"}),
            (Act.PAY, {"approved"}),
            (Act.REVERSE, {"approved", "paid"}),
            (Act.WITHDRAW, {"approved", "paid"}),
            (Act.REOPEN, {"reversed"}),
            (Act.EVALUATE, {"proposed", "not_eligible"}),
        ],
    )
    def test_allows_each_act_from_these_statuses_only(self, act: Act, possible: set[str]) -> None:
        assert {status.value for status in DecisionStatus if can(act, status)} == possible

    def test_lets_nothing_but_a_reversal_touch_a_granted_reward(self) -> None:
        leading_away = {act for act, move in TRANSITIONS.items() if move.sources & HELD and not move.targets <= HELD}
        assert leading_away == {Act.REVERSE, Act.WITHDRAW}


class TestTheLedger:
    @given(st.lists(st.integers(0, 99), max_size=40), st.integers(1, 10**9))
    def test_sums_to_the_balance_after_any_walk_through_the_life(self, walk: list[int], fen: int) -> None:
        amount = Decimal(fen) / 100
        status, entries = DecisionStatus.PROPOSED, []
        for step in walk:
            ways = sorted(target for act, move in TRANSITIONS.items() if can(act, status) for target in move.targets)
            if not ways:
                break
            target = ways[step % len(ways)]
            if entry := ledger_entry(status, target, amount):
                entries.append(entry)
            status = target
            balance = sum((value for _, value in entries), NOTHING)
            assert balance == (amount if status is DecisionStatus.PAID else NOTHING)
        kinds = [kind for kind, _ in entries]
        assert kinds == [EntryKind.AWARD, EntryKind.REVERSAL] * (len(kinds) // 2) + [EntryKind.AWARD] * (len(kinds) % 2)

    def test_awards_when_paid_and_takes_back_when_a_paid_one_is_reversed(self) -> None:
        amount = Decimal("1000.00")
        assert ledger_entry(DecisionStatus.APPROVED, DecisionStatus.PAID, amount) == (EntryKind.AWARD, amount)
        assert ledger_entry(DecisionStatus.PAID, DecisionStatus.REVERSED, amount) == (EntryKind.REVERSAL, -amount)

    def test_moves_no_money_for_what_was_approved_but_never_paid(self) -> None:
        assert ledger_entry(DecisionStatus.APPROVED, DecisionStatus.REVERSED, Decimal("1000.00")) is None

    def test_counts_open_decisions_as_nothing(self) -> None:
        assert all(ledger_entry(before, after, Decimal(1)) is None for before in OPEN for after in OPEN)
