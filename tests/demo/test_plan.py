"""The plan as a story: the same for the same seed, complete at scale 1, and never close to a threshold."""

import ast
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import app.demo
from app.demo.caselists import LIST_MINUTE
from app.demo.casting import USUAL
from app.demo.courses import COURSES
from app.demo.rhythm import HOURS
from app.demo.script import (
    CHINA,
    DAYS,
    Door,
    Reclassify,
    ReviewReward,
    SendRegistrations,
    SetRegime,
    SetRoster,
    SetStanding,
    UploadCases,
)
from app.demo.story import plan
from app.demo.tills import Cause
from app.demo.truth import Terms, result_of
from tests.demo.stories import END, SEEDS, VARIETY, actions_of, case_rows, registration_rows, told

RECEIVED_WITHIN = timedelta(minutes=5)


class TestAPlan:
    def test_is_the_same_for_the_same_seed_and_end(self) -> None:
        assert plan(0.3, 7, END) == plan(0.3, 7, END)

    def test_differs_with_the_seed(self) -> None:
        assert told(1).hours != told(2).hours

    def test_ends_in_the_hour_of_its_end_and_begins_three_weeks_before(self) -> None:
        story = told()
        assert story.hours[-1].at <= END
        assert story.calendar.last_hour == END.replace(minute=0)
        assert story.calendar.first_day == END.astimezone(CHINA).date() - timedelta(days=DAYS)
        assert story.hours[0].at.astimezone(CHINA).date() == story.calendar.first_day

    def test_has_one_entry_for_each_hour_in_order(self) -> None:
        times = [hour.at for hour in told().hours]
        assert times == sorted(set(times))
        assert all((at.second, at.microsecond) == (0, 0) and at.minute in (0, LIST_MINUTE) for at in times)

    def test_has_bodies_that_are_json(self) -> None:
        for action in actions_of(told()):
            bodies = (
                [row.body for row in action.rows]
                if isinstance(action, SendRegistrations | UploadCases)
                else [getattr(action, "body", {})]
            )
            for body in bodies:
                assert json.loads(json.dumps(body)) == body

    def test_grows_with_the_scale(self) -> None:
        small, one, double = told(scale=0.25), told(), told(scale=2.0)
        created = [story.truth.registrations["created"] for story in (small, one, double)]
        assert created[0] * 3 < created[1] < created[2] / 1.8
        assert [len(story.pharmacies) for story in (small, one, double)] == [15, 60, 120]

    def test_stays_small_enough_to_be_played_in_a_minute(self) -> None:
        sends = [action for action in actions_of(told()) if isinstance(action, SendRegistrations)]
        requests = sum(len(action.rows) if action.door is Door.SINGLE else 1 for action in sends)
        assert 2500 <= sum(len(action.rows) for action in sends) <= 4000
        assert requests <= 3000

    @pytest.mark.parametrize("scale", [0, -1.0])
    def test_needs_a_positive_scale(self, scale: float) -> None:
        with pytest.raises(ValueError, match="scale"):
            plan(scale, 1, END)

    def test_needs_an_end_with_an_offset(self) -> None:
        with pytest.raises(ValueError, match="offset"):
            plan(1.0, 1, END.replace(tzinfo=None))

    def test_names_the_identities_that_must_not_be_found_in_plain_text(self) -> None:
        story = told()
        sample = story.facts.slips[0].body["buyer"]
        assert sample["name"].strip() in story.identities or len(sample["name"]) == 2
        assert all(len(word) > 2 for word in story.identities)
        assert not any(word.isdecimal() and len(word) < 11 for word in story.identities)


@pytest.mark.parametrize("seed", SEEDS)
class TestAStoryAtScaleOne:
    def test_has_every_criterion_fail_for_somebody_first(self, seed: int) -> None:
        assert set(told(seed).truth.decisions_by_first_unmet()) == {
            "case_confirmed",
            "listed_drug",
            "registered_before_confirmation",
            "registered_on_time",
            "within_window",
            "record_complete",
            "pharmacy_in_good_standing",
            "not_own_staff",
            "first_reporter",
            "under_cap",
        }

    def test_has_somebody_take_every_course(self, seed: int) -> None:
        facts = told(seed).facts
        seen = {case.course for case in facts.cases}
        seen |= {slip.purchase.story.removeprefix("case: ") for slip in facts.slips}
        assert {course.name for course in COURSES} | {USUAL, "background", "staff"} == seen

    def test_lets_each_course_fail_its_own_criterion(self, seed: int) -> None:
        story = told(seed)
        course_of = {case.number: case.course for case in story.facts.cases}
        unmet: dict[str, set[str | None]] = defaultdict(set)
        for decision in story.truth.decisions:
            unmet[course_of[decision.case_number]].add(decision.first_unmet)
        expected = {
            "cap": {None, "under_cap"},
            "sanctioned pharmacy": {"pharmacy_in_good_standing"},
            "late": {"registered_on_time"},
            "too early": {"within_window"},
            "no listed drug": {"listed_drug"},
            "after confirmation": {"registered_before_confirmation"},
            "list before till": {"registered_before_confirmation"},
            "incomplete": {"record_complete"},
            "no temperature": {"record_complete"},
            "own staff": {"not_own_staff"},
            "suspected only": {"case_confirmed"},
            "suspected without onset": {"case_confirmed"},
            "withdrawn when proposed": {"case_confirmed"},
            "withdrawn when suspected": {"case_confirmed"},
        }
        assert {course: unmet[course] for course in expected} == expected
        assert "first_reporter" in unmet["second reporter"]
        assert {"phone alone", "nothing kept", "no purchase", "never found"} & set(unmet) == set()

    def test_has_every_kind_of_row(self, seed: int) -> None:
        truth = told(seed).truth
        assert all(truth.registrations[result] > 0 for result in truth.registrations)
        assert set(truth.case_rows) == {"created", "updated", "duplicate", "conflict", "invalid"}
        assert set(truth.cases) - {"probable"} == {"suspected", "confirmed", "discarded"}
        assert all(count > 0 for count in truth.flags.values())

    def test_has_matches_of_both_strengths_and_roles_and_withdrawn_ones(self, seed: int) -> None:
        truth = told(seed).truth
        assert set(truth.matches_by("strength")) == {"certain", "strong"}
        assert set(truth.matches_by("role")) == {"buyer", "patient"}
        assert set(truth.matches_by("status")) == {"counted", "withdrawn"}

    def test_has_rewards_in_every_state(self, seed: int) -> None:
        states = told(seed).truth.decisions_by_status()
        assert set(states) == {"proposed", "not_eligible", "approved", "rejected", "paid", "reversed"}

    def test_has_all_kinds_of_documents(self, seed: int) -> None:
        kinds = {
            person["document"]["type"]
            for slip in told(seed).facts.slips
            for person in (slip.body["buyer"], slip.body["patient"])
            if person is not None and person["document"] is not None
        }
        assert len(kinds) == 6

    def test_has_all_kinds_of_actions(self, seed: int) -> None:
        kinds = {type(action) for action in actions_of(told(seed))}
        assert kinds == {
            SendRegistrations,
            UploadCases,
            Reclassify,
            SetRegime,
            SetStanding,
            SetRoster,
            ReviewReward,
        }


@pytest.mark.parametrize("seed", SEEDS)
class TestTheTruth:
    def test_adds_up(self, seed: int) -> None:
        story = told(seed)
        truth, rows = story.truth, len(list(registration_rows(story)))
        assert sum(truth.registrations.values()) == rows == len(story.facts.slips)
        assert truth.alerts["case.matched"] > len(truth.matches) == len(set(truth.matches))
        assert truth.alerts["match.withdrawn"] == truth.matches_by("status")["withdrawn"]
        assert truth.flags["fever"] <= truth.alerts["clue.reported"] <= truth.flags["fever"] + truth.flags["exposure"]
        assert len(truth.decisions) == len({(match.case_number, match.pharmacy) for match in truth.matches})
        assert sum(truth.decisions_by_status().values()) == len(truth.decisions)
        assert sum(truth.cases.values()) == truth.case_rows["created"] == len(story.facts.cases)

    def test_counts_the_results_as_the_slips_have_them(self, seed: int) -> None:
        story = told(seed)
        counted = Counter(result_of(story.facts, slip) for slip in story.facts.slips)
        assert {result: count for result, count in story.truth.registrations.items() if count} == counted

    def test_rewards_no_pharmacy_above_the_cap(self, seed: int) -> None:
        story = told(seed)
        month_of = {
            case.number: f"{case.was_confirmed_at:%Y-%m}" for case in story.facts.cases if case.was_confirmed_at
        }
        rewarded = Counter(
            (decision.pharmacy, month_of[decision.case_number])
            for decision in story.truth.decisions
            if decision.first_unmet is None
        )
        assert max(rewarded.values()) == Terms().rewards_per_month

    def test_keeps_the_money_of_what_was_paid(self, seed: int) -> None:
        truth = told(seed).truth
        states = truth.decisions_by_status()
        assert truth.paid == Terms().amount * (states["paid"] + states["reversed"])
        assert truth.reversed == Terms().amount * states["reversed"]


@pytest.mark.parametrize(("seed", "scale", "end"), VARIETY)
class TestNothingHangsOnMinutes:
    """Whatever is planned in an hour is received within its first five minutes, in any order."""

    def test_between_purchase_and_receipt(self, seed: int, scale: float, end: datetime) -> None:
        for slip in told(seed, scale, end).facts.slips:
            delay = slip.sent_at - slip.purchase.at
            assert timedelta(0) <= delay < timedelta(days=29)
            assert abs(delay - Terms().on_time) > 2 * RECEIVED_WITHIN

    def test_between_receipt_and_confirmation(self, seed: int, scale: float, end: datetime) -> None:
        story = told(seed, scale, end)
        sent_at = {slip.reference: slip.sent_at for slip in story.facts.slips if slip.cause is Cause.FIRST}
        purchased_at = {slip.reference: slip.purchase.at for slip in story.facts.slips}
        confirmed_at = {case.number: case.was_confirmed_at for case in story.facts.cases}
        for match in story.truth.matches:
            confirmed = confirmed_at[match.case_number]
            if confirmed is None:
                continue
            assert not sent_at[match.client_reference] <= confirmed <= sent_at[match.client_reference] + RECEIVED_WITHIN
            days = (confirmed.astimezone(CHINA).date() - purchased_at[match.client_reference].date()).days
            assert days != Terms().window_days

    def test_between_two_registrations_of_one_case(self, seed: int, scale: float, end: datetime) -> None:
        story = told(seed, scale, end)
        sent_at = {slip.reference: slip.sent_at for slip in story.facts.slips if slip.cause is Cause.FIRST}
        of_case: dict[str, list[datetime]] = defaultdict(list)
        for match in story.truth.matches:
            of_case[match.case_number].append(sent_at[match.client_reference])
        on_time = [hours for hours in of_case.values() if len(hours) > 1]
        assert all(len(set(hours)) == len(hours) for hours in on_time)

    def test_between_two_confirmations(self, seed: int, scale: float, end: datetime) -> None:
        confirmed = [case.was_confirmed_at for case in told(seed, scale, end).facts.cases if case.was_confirmed_at]
        assert len(set(confirmed)) == len(confirmed)
        assert all(instant.astimezone(UTC).month == instant.month for instant in confirmed)

    def test_between_the_rows_of_an_hour(self, seed: int, scale: float, end: datetime) -> None:
        story = told(seed, scale, end)
        results = defaultdict(list)
        for at, row in registration_rows(story):
            results[at, row.body["client_reference"]].append(row)
        for at, row in case_rows(story):
            results[at, row.body["case_number"]].append(row)
        assert all(row == rows[0] for rows in results.values() for row in rows)

    def test_between_officials_and_the_work_they_wait_for(self, seed: int, scale: float, end: datetime) -> None:
        for hour in told(seed, scale, end).hours:
            if any(isinstance(action, ReviewReward | Reclassify | UploadCases) for action in hour.actions):
                assert hour.quiet
            if any(isinstance(action, SetRegime | SetStanding | SetRoster) for action in hour.actions):
                assert not any(isinstance(action, SendRegistrations) for action in hour.actions)


class TestTheSimulator:
    def test_knows_nothing_of_the_service(self) -> None:
        for module in Path(app.demo.__path__[0]).glob("*.py"):
            for node in ast.walk(ast.parse(module.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in names:
                    assert not name.startswith("app") or name.startswith("app.demo"), f"{module.name} imports {name}"

    def test_sells_in_the_rhythm_of_a_till(self) -> None:
        sold = Counter(slip.purchase.at.hour for slip in told(scale=2.0).facts.slips if slip.cause is Cause.FIRST)
        assert set(sold) == set(HOURS)
        evening, opening = sold[19] + sold[20], sold[8] + sold[9]
        assert 1.5 < evening / opening < 2.5  # 192 to 100 in the table
