"""Each criterion against the facts that decide it, at its edges."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.rewards.criteria import Award, CriterionCode, Facts, Policy, Rival, assess, first_unmet

CASE, PHARMACY, REGISTRATION = UUID(int=1), UUID(int=2), UUID(int=3)
CONFIRMED = datetime(2026, 2, 17, 12, 10, tzinfo=UTC)  # 20:10 in China
PURCHASED = datetime(2026, 2, 15, 1, 41, tzinfo=UTC)
GOOD = Facts(
    case_id=CASE,
    pharmacy_id=PHARMACY,
    registration_id=REGISTRATION,
    division="440304005",
    classification="confirmed",
    confirmed_at=CONFIRMED,
    strength="certain",
    match_status="counted",
    had_listed_drug=True,
    purchased_at=PURCHASED,
    received_at=PURCHASED + timedelta(minutes=2),
    complete_at_first=True,
    standing="active",
    buyer_on_roster=False,
    amended=False,
)
POLICY = Policy()


def unmet(**changes: Any) -> list[str]:
    return [c.code.value for c in assess(replace(GOOD, **changes), POLICY) if not c.met]


# Where one of points 1-10 fails, `first_reporter` cannot be met either.
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"classification": "suspected"}, "case_confirmed"),
        ({"classification": "probable"}, "case_confirmed"),
        ({"classification": "discarded"}, "case_confirmed"),
        ({"strength": "possible", "match_status": "possible"}, "identity_established"),
        ({"match_status": "rejected"}, "identity_established"),
        ({"match_status": "withdrawn"}, "identity_established"),
        ({"had_listed_drug": False}, "listed_drug"),
        (
            {"purchased_at": CONFIRMED - timedelta(hours=1), "received_at": CONFIRMED},
            "registered_before_confirmation",
        ),
        ({"received_at": PURCHASED + timedelta(hours=24, seconds=1)}, "registered_on_time"),
        (
            {
                "purchased_at": CONFIRMED - timedelta(days=14, seconds=1),
                "received_at": CONFIRMED - timedelta(days=14),
            },
            "within_window",
        ),
        ({"complete_at_first": False}, "record_complete"),
        ({"standing": "suspended"}, "pharmacy_in_good_standing"),
        ({"standing": "closed"}, "pharmacy_in_good_standing"),
        ({"standing": None}, "pharmacy_in_good_standing"),
        ({"buyer_on_roster": True}, "not_own_staff"),
        ({"amended": True}, "unaltered"),
    ],
)
def test_one_failing_fact_fails_its_criterion_and_no_other_of_the_first_ten(changes: dict[str, Any], code: str) -> None:
    assert unmet(**changes) == [code, "first_reporter"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strength": "strong"},
        {"strength": "possible", "match_status": "confirmed"},
        {"purchased_at": CONFIRMED - timedelta(hours=1), "received_at": CONFIRMED - timedelta(microseconds=1)},
        {"received_at": PURCHASED + timedelta(hours=24)},
        # A till whose clock runs ahead: received before it says the purchase was.
        {"received_at": PURCHASED - timedelta(minutes=9)},
        {"purchased_at": CONFIRMED - timedelta(days=14), "received_at": CONFIRMED - timedelta(days=14)},
    ],
)
def test_facts_on_the_right_side_of_every_edge_meet_all_twelve(changes: dict[str, Any]) -> None:
    assert unmet(**changes) == []


def test_a_case_without_a_time_of_confirmation_fails_what_is_measured_from_it() -> None:
    assert unmet(confirmed_at=None) == ["registered_before_confirmation", "within_window", "first_reporter"]


def test_a_purchase_after_the_confirmation_is_not_within_the_window() -> None:
    late = {"purchased_at": CONFIRMED + timedelta(minutes=1), "received_at": CONFIRMED + timedelta(minutes=2)}
    assert unmet(**late) == ["registered_before_confirmation", "within_window", "first_reporter"]


def test_the_criteria_are_always_all_twelve_in_their_order() -> None:
    for facts in (GOOD, replace(GOOD, classification="discarded", confirmed_at=None, match_status="withdrawn")):
        assert [c.code for c in assess(facts, POLICY)] == list(CriterionCode)


def test_another_pharmacy_that_was_earlier_takes_the_first_place() -> None:
    rival = Rival(PURCHASED)
    assert first_unmet(assess(GOOD, POLICY, rival=rival)) is CriterionCode.FIRST_REPORTER
    assert first_unmet(assess(GOOD, replace(POLICY, award=Award.EVERY), rival=rival)) is None


def test_the_place_in_the_month_is_held_against_the_cap() -> None:
    assert first_unmet(assess(GOOD, POLICY, place=3)) is None
    assert first_unmet(assess(GOOD, POLICY, place=4)) is CriterionCode.UNDER_CAP


def test_what_fails_earlier_uses_no_place_of_the_month() -> None:
    criteria = assess(replace(GOOD, had_listed_drug=False), POLICY, place=99)
    assert criteria[-1].met


@pytest.mark.parametrize(
    ("changes", "code", "zh", "en"),
    [
        (
            {},
            CriterionCode.REGISTERED_ON_TIME,
            "购买后0小时2分钟收到登记,未超过24小时。",
            "Received 0 h 2 min after the purchase, within 24 h.",
        ),
        (
            {"received_at": PURCHASED + timedelta(hours=24, seconds=1)},
            CriterionCode.REGISTERED_ON_TIME,
            "购买后24小时1分钟收到登记,超过24小时。",
            "Received 24 h 1 min after the purchase, later than 24 h.",
        ),
        (
            {},
            CriterionCode.REGISTERED_BEFORE_CONFIRMATION,
            "服务器于2026-02-15 09:43:00收到登记,早于2026-02-17 20:10:00确诊。",
            "Received 2026-02-15 09:43:00, before the confirmation 2026-02-17 20:10:00.",
        ),
        (
            {"purchased_at": CONFIRMED - timedelta(days=14, seconds=1)},
            CriterionCode.WITHIN_WINDOW,
            "购买在确诊前14天1小时,超过14天。",
            "Purchased 14 d 1 h before the confirmation, more than 14 days.",
        ),
        (
            {"classification": "probable"},
            CriterionCode.CASE_CONFIRMED,
            "病例分类为临床诊断,尚未确诊。",
            "The case is classified probable, not confirmed.",
        ),
    ],
)
def test_the_detail_can_be_read_out_with_times_of_china(
    changes: dict[str, Any], code: CriterionCode, zh: str, en: str
) -> None:
    criterion = next(c for c in assess(replace(GOOD, **changes), POLICY) if c.code is code)
    assert (criterion.zh, criterion.en) == (zh, en)


def test_the_default_policy_is_the_documented_one() -> None:
    assert Policy(1, 24, 14, Award.FIRST, Decimal("1000.00"), "CNY", 3) == POLICY
