"""A pharmacy's own rhythm: who is regular is found in two, who is closed is left alone, who comes and goes gets time."""

from collections.abc import Callable
from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.capture.rhythms import (
    FEWEST_DAYS,
    HISTORY_DAYS,
    MOST_WAITED_DAYS,
    WAITED_DAYS,
    find_silence,
    rhythm_of,
    unbroken_since,
    waited_since,
)

START = date(2026, 1, 5)
"""A Monday."""
weekdays = st.frozensets(st.integers(0, 6), min_size=1)


def days_on(open_on: Callable[[date], bool], until: date, start: date = START) -> set[date]:
    """The days before `until` that are kept."""
    return {day for off in range((until - start).days) if open_on(day := start + timedelta(days=off))}


def found_after(reported: set[date], stopped: date) -> int:
    """Days from a pharmacy's last moment until the morning on which it is found; 0 is the morning of the first silent day."""
    for days in range(400):
        if find_silence(reported, stopped + timedelta(days=days)) is not None:
            return days
    raise AssertionError("never found")


class TestAPharmacyWithARhythm:
    @given(weekdays, st.integers(35, 120))
    def test_is_found_when_its_second_expected_day_has_passed(self, kept: frozenset[int], worked: int) -> None:
        stopped = START + timedelta(days=worked)
        reported = days_on(lambda day: day.weekday() in kept, stopped)
        found = stopped + timedelta(days=found_after(reported, stopped))
        missed = days_on(lambda day: day.weekday() in kept, found, max(reported) + timedelta(days=1))
        assert len(missed) == 2

    @settings(max_examples=30)
    @given(weekdays, st.integers(35, 120))
    def test_is_never_silent_while_it_keeps_it(self, kept: frozenset[int], worked: int) -> None:
        for off in range(worked):
            today = START + timedelta(days=off)
            assert find_silence(days_on(lambda day: day.weekday() in kept, today), today) is None

    @given(st.integers(2, 10), st.integers(60, 150))
    def test_of_every_so_many_days_is_found_within_two_of_them(self, every: int, worked: int) -> None:
        stopped = START + timedelta(days=worked - worked % every + 1)
        reported = days_on(lambda day: (day - START).days % every == 0, stopped)
        assert found_after(reported, stopped) <= 2 * every

    @given(weekdays, st.integers(40, 90))
    def test_that_took_one_day_off_has_taken_it(self, kept: frozenset[int], worked: int) -> None:
        if len(kept) < 3:
            return
        today = START + timedelta(days=worked)
        reported = days_on(lambda day: day.weekday() in kept, today)
        off = max(reported)
        assert find_silence(reported - {off}, today) is None

    def test_that_reports_today_has_ended_its_silence_at_once(self) -> None:
        stopped = START + timedelta(days=60)
        reported = days_on(lambda day: True, stopped)
        today = stopped + timedelta(days=5)
        assert find_silence(reported, today) is not None
        assert find_silence(reported | {today}, today) is None


class TestAPharmacyWithoutOne:
    @given(st.sets(st.integers(0, FEWEST_DAYS - 1)))
    def test_is_not_judged(self, offs: set[int]) -> None:
        reported = {START + timedelta(days=off) for off in offs}
        assert find_silence(reported, START + timedelta(days=365)) is None

    def test_that_comes_and_goes_is_given_the_time_that_it_has_taken(self) -> None:
        chance = Random(1)
        reported = days_on(lambda day: chance.random() < 0.4, START + timedelta(days=300))
        alarms = [
            find_silence({day for day in reported if day < today}, today) is not None
            for today in sorted(START + timedelta(days=off) for off in range(30, 300))
        ]
        # On so many days of 270 it would be asked about; none asks before a silence that is longer than all before it.
        assert sum(alarms) < 10


class TestARhythm:
    @given(st.sets(st.integers(0, 150), min_size=1))
    def test_is_a_share_of_each_day_of_the_week(self, offs: set[int]) -> None:
        reported = {START + timedelta(days=off) for off in offs}
        rhythm = rhythm_of(reported)
        if rhythm is None:
            return
        last = max(reported)
        window = [last - timedelta(days=off) for off in range(HISTORY_DAYS)]
        window = [day for day in window if day >= min(reported)]
        for weekday, share in enumerate(rhythm.shares):
            days = [day for day in window if day.weekday() == weekday]
            assert share == pytest.approx(len(reported.intersection(days)) / len(days))
        assert rhythm.limit >= 1.5

    def test_is_not_taken_from_the_silence_that_follows_it(self) -> None:
        stopped = START + timedelta(days=60)
        reported = days_on(lambda day: day.weekday() < 6, stopped)
        one, later = (
            find_silence(reported, stopped + timedelta(days=9)),
            find_silence(reported, stopped + timedelta(days=50)),
        )
        assert one is not None
        assert later is not None
        assert (later.limit, later.last_on) == (one.limit, one.last_on)
        assert later.expected > one.expected


class TestWhatHolds:
    @given(st.frozensets(st.integers(0, 59)), st.frozensets(st.integers(0, 59)), st.integers(0, 59))
    def test_has_held_since_the_day_before_which_it_did_not(
        self, held: frozenset[int], others: frozenset[int], today: int
    ) -> None:
        """Said by looking at each day; it is asked on those only on which something changes, and on some others."""
        changes = {
            START + timedelta(days=off) for off in range(61) if (off in held) != (off - 1 in held) or off in others
        }
        since = unbroken_since(lambda day: (day - START).days in held, changes, START + timedelta(days=today))
        by_hand = today
        while by_hand - 1 in held:
            by_hand -= 1
        assert since == (START + timedelta(days=by_hand) if today in held else None)

    def test_is_looked_for_as_far_back_as_reports_are_kept(self) -> None:
        today = START + timedelta(days=10_000)
        for changes in ([], [START], [today + timedelta(days=1)]):
            assert unbroken_since(lambda day: True, changes, today) == today - timedelta(days=MOST_WAITED_DAYS)

    def test_is_asked_once_for_each_change_however_long_it_has_held(self) -> None:
        today, asked = START + timedelta(days=300), list[date]()

        def holds(day: date) -> bool:
            asked.append(day)
            return True

        unbroken_since(holds, [START, START + timedelta(days=100)], today)
        assert len(asked) == 3


class TestAPharmacyThatNeverReported:
    @given(st.integers(0, 60))
    def test_is_waited_for_from_the_first_whole_day_on(self, days: int) -> None:
        long_ago = START - timedelta(days=9)
        since = waited_since(START, [long_ago, START], START + timedelta(days=days))
        assert since == (START if days >= WAITED_DAYS else None)

    def test_is_waited_for_from_the_last_of_its_duties_on(self) -> None:
        today, later = START + timedelta(days=40), START + timedelta(days=7)
        assert waited_since(START, [later, START], today) == later
        assert waited_since(START, [START, today], today) is None
        assert waited_since(START, [START, None], today) is None
