"""Intervals and estimates: what was published, what can be computed by hand, and what must always hold."""

from math import comb, isclose, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.capture.estimates import Estimate, NoEstimate, estimate_total, wilson

counts = st.integers(0, 120)


def by_trying(declared: int, registered: int, both: int) -> tuple[int, int]:
    """Return the first and the last total under which neither tail is too unlikely, in whole numbers."""
    known = declared + registered - both
    fitting = []
    for total in range(known, 40 * known):
        ways = {
            shared: comb(registered, shared) * comb(total - registered, declared - shared)
            for shared in range(min(declared, registered) + 1)
        }
        few = sum(count for shared, count in ways.items() if shared <= both)
        many = sum(count for shared, count in ways.items() if shared >= both)
        if 40 * min(few, many) > comb(total, declared):
            fitting.append(total)
    assert fitting == list(range(fitting[0], fitting[-1] + 1))
    return fitting[0], fitting[-1]


class TestTheIntervalOfAShare:
    # Newcombe 1998, table I, method 3 (score, no correction for continuity).
    @pytest.mark.parametrize(
        ("successes", "trials", "low", "high"),
        [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_is_the_published_one(self, successes: int, trials: int, low: float, high: float) -> None:
        found = wilson(successes, trials)
        assert found is not None
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)

    @given(counts, counts)
    def test_ends_where_the_score_test_rejects(self, successes: int, failures: int) -> None:
        trials = successes + failures
        found = wilson(successes, trials)
        if found is None:
            assert trials == 0
            return
        observed = successes / trials
        assert 0 <= found.low <= observed <= found.high <= 1
        for end, exact in ((found.low, successes == 0), (found.high, failures == 0)):
            if not exact:
                assert isclose(abs(observed - end), 1.959963984540054 * sqrt(end * (1 - end) / trials), rel_tol=1e-6)

    @given(counts, counts)
    def test_of_failures_is_the_mirror_of_that_of_successes(self, successes: int, failures: int) -> None:
        one, other = wilson(successes, successes + failures), wilson(failures, successes + failures)
        if one is not None and other is not None:
            assert isclose(one.low, 1 - other.high, abs_tol=1e-12)
            assert isclose(one.high, 1 - other.low, abs_tol=1e-12)

    @given(st.integers(0, 50), st.integers(1, 50))
    def test_narrows_with_more_of_the_same(self, successes: int, failures: int) -> None:
        few, many = wilson(successes, successes + failures), wilson(4 * successes, 4 * (successes + failures))
        assert few is not None
        assert many is not None
        assert many.high - many.low < few.high - few.low

    @pytest.mark.parametrize(("successes", "trials"), [(2, 1), (-1, 1), (1, 0)])
    def test_needs_counts(self, successes: int, trials: int) -> None:
        with pytest.raises(ValueError, match="than"):
            wilson(successes, trials)


class TestTheEstimateOfAll:
    def test_is_the_textbook_s(self) -> None:
        """Ten turtles marked, fifteen caught, five of them marked."""
        found = estimate_total(10, 15, 5)
        assert isinstance(found, Estimate)
        assert isclose(found.total, 11 * 16 / 6 - 1)
        assert isclose(found.variance, 11 * 16 * 5 * 10 / (36 * 7))
        assert (found.interval.low, found.interval.high) == by_trying(10, 15, 5)

    def test_of_samples_that_agree_is_what_both_have(self) -> None:
        """Nobody slipped through: 30 told, the same 30 registered."""
        found = estimate_total(30, 30, 30)
        assert isinstance(found, Estimate)
        assert (found.total, found.variance, found.interval.low) == (30, 0, 30)
        # One more, unknown to either: 1 in 31 that neither sample has it. Two more: 1 in 496.
        assert found.interval.high == 31

    @pytest.mark.parametrize(
        ("declared", "registered", "both", "reason"),
        [
            (0, 0, 0, NoEstimate.NOTHING_DECLARED),
            (0, 5, 0, NoEstimate.NOTHING_DECLARED),
            (5, 0, 0, NoEstimate.NOTHING_REGISTERED),
            (5, 5, 0, NoEstimate.NOTHING_IN_BOTH),
        ],
    )
    def test_is_none_where_it_would_mean_nothing(
        self, declared: int, registered: int, both: int, reason: NoEstimate
    ) -> None:
        assert estimate_total(declared, registered, both) is reason

    @pytest.mark.parametrize(("declared", "registered", "both"), [(1, 2, 2), (2, 1, 2), (1, 1, -1)])
    def test_needs_samples(self, declared: int, registered: int, both: int) -> None:
        with pytest.raises(ValueError, match="in both"):
            estimate_total(declared, registered, both)

    @given(st.integers(1, 120), counts, counts)
    def test_holds_what_is_known_and_is_the_same_from_either_side(self, both: int, one: int, other: int) -> None:
        found = estimate_total(both + one, both + other, both)
        assert isinstance(found, Estimate)
        assert estimate_total(both + other, both + one, both) == found
        known = both + one + other
        assert known <= found.interval.low <= found.interval.high
        assert known - 1e-9 <= found.total <= found.interval.high

    @given(st.integers(1, 12), st.integers(0, 8), st.integers(0, 8))
    def test_has_the_interval_that_trying_every_number_gives(self, both: int, one: int, other: int) -> None:
        found = estimate_total(both + one, both + other, both)
        assert isinstance(found, Estimate)
        if both > 2:  # else the end is far away
            assert (found.interval.low, found.interval.high) == by_trying(both + one, both + other, both)

    @given(st.integers(2, 120), counts, counts)
    def test_grows_as_less_is_in_both(self, both: int, one: int, other: int) -> None:
        declared, registered = both + one, both + other
        more, less = estimate_total(declared, registered, both), estimate_total(declared, registered, both - 1)
        assert isinstance(more, Estimate)
        assert isinstance(less, Estimate)
        assert less.total > more.total
