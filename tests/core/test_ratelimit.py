"""Budgets that refill, whatever is asked of them."""

from hypothesis import given
from hypothesis import strategies as st

from app.core import ratelimit
from app.core.ids import new_id
from app.core.ratelimit import Budget, Meter

ONE, OTHER = new_id(), new_id()
LONG_UP = 1_000_000.0


def ten_a_second() -> Meter:
    return Meter(Budget("synthetic", per_second=10, burst=20))


class TestABudget:
    def test_gives_its_burst_at_once_and_then_refuses(self) -> None:
        meter = ten_a_second()
        assert [meter.spend(ONE, LONG_UP).remaining for _ in range(20)] == list(range(19, -1, -1))
        refused = meter.spend(ONE, LONG_UP)
        assert (refused.allowed, refused.remaining, refused.wait_seconds) == (False, 0, 1)

    def test_refills_at_its_rate(self) -> None:
        meter = ten_a_second()
        for _ in range(20):
            meter.spend(ONE, LONG_UP)
        assert [meter.spend(ONE, LONG_UP + 0.5).allowed for _ in range(6)] == [True] * 5 + [False]

    def test_never_holds_more_than_its_burst(self) -> None:
        meter = ten_a_second()
        meter.spend(ONE, LONG_UP)
        assert [meter.spend(ONE, LONG_UP + 3600).allowed for _ in range(21)] == [True] * 20 + [False]

    def test_of_one_key_is_not_touched_by_another(self) -> None:
        meter = ten_a_second()
        for _ in range(100):
            meter.spend(ONE, LONG_UP)
        assert meter.spend(OTHER, LONG_UP).remaining == 19

    def test_lets_a_batch_run_into_debt_once_and_then_waits_until_it_is_paid(self) -> None:
        meter = ten_a_second()
        assert meter.spend(ONE, LONG_UP, 70).allowed
        refused = meter.spend(ONE, LONG_UP)
        assert refused.wait_seconds == 6  # 50 units of debt, and one to spend
        assert not meter.spend(ONE, LONG_UP + 5).allowed
        assert meter.spend(ONE, LONG_UP + 5.2).allowed

    def test_tells_the_policy_and_what_is_left(self) -> None:
        meter = ten_a_second()
        assert meter.fields(meter.spend(ONE, LONG_UP)) == (
            (b"ratelimit-policy", b'"synthetic";q=20;w=2'),
            (b"ratelimit", b'"synthetic";r=19;t=1'),
        )

    def test_remembers_a_bounded_number_of_keys(self, monkeypatch) -> None:  # type: ignore[no-untyped-def]
        monkeypatch.setattr(ratelimit, "MOST_KEYS", 100)
        meter = ten_a_second()
        for number in range(1_000):
            meter.spend(new_id(), LONG_UP + number / 1000)
            assert len(meter._full_at) <= 100

    @given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 30)), min_size=1, max_size=60))
    def test_never_gives_more_than_burst_rate_and_one_batch(self, asked: list[tuple[float, int]]) -> None:
        meter = ten_a_second()
        moment, taken, last = LONG_UP, 0, 0
        for pause, units in asked:
            moment += pause
            if meter.spend(ONE, moment, units).allowed:
                taken, last = taken + units, units
        assert taken - last <= 20 + 10 * (moment - LONG_UP) + 0.1

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=80))
    def test_that_refuses_says_when_it_will_not(self, pauses: list[float]) -> None:
        meter = ten_a_second()
        moment = LONG_UP
        for pause in pauses:
            moment += pause / 10
            standing = meter.spend(ONE, moment, 5)
            if not standing.allowed:
                assert meter.spend(ONE, moment + standing.wait_seconds).allowed
                moment += standing.wait_seconds
