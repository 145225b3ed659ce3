from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.divisions.rules import within
from app.regimes.rules import (
    NOTHING_DECLARED,
    Period,
    Regime,
    RegimeCalendar,
    RegimeKind,
    RequiredField,
    Span,
    is_ended_by,
    overlaps,
)

DAY = date(2026, 2, 15)
ALL = frozenset(RequiredField)
PLACES = ("44", "4403", "440304", "440304005", "440303", "4401")
ORDER = (RegimeKind.COUNTS, RegimeKind.REGISTER, RegimeKind.REGISTER_ALL, RegimeKind.SUSPENDED)


def period(
    division: str = "440304",
    state: RegimeKind = RegimeKind.REGISTER,
    valid_from: date = date(2026, 1, 1),
    valid_to: date | None = None,
    *,
    disease: str = "covid-19",
    required: frozenset[RequiredField] = ALL,
) -> Period:
    return Period(division, disease, state, valid_from, valid_to, required)


days = st.integers(0, 40).map(lambda n: date(2026, 1, 1) + timedelta(days=n))


@st.composite
def calendars(draw: st.DrawFn) -> list[Period]:
    """Periods that do not overlap within a division and disease."""
    periods: list[Period] = []
    for disease in ("covid-19", "dengue", "measles"):
        for place in draw(st.sets(st.sampled_from(PLACES))):
            borders = sorted(draw(st.sets(days, min_size=1, max_size=6)))
            ends: list[date | None] = [*borders[1:], draw(st.sampled_from((None, borders[-1] + timedelta(days=3))))]
            for start, end in zip(borders, ends, strict=True):
                if draw(st.booleans()):
                    required = frozenset(draw(st.sets(st.sampled_from(tuple(RequiredField)))))
                    state = draw(st.sampled_from(tuple(RegimeKind)))
                    periods.append(period(place, state, start, end, disease=disease, required=required))
    return draw(st.permutations(periods))


def by_hand(periods: list[Period], division: str, day: date) -> Regime:
    """The rule as it is worded, without any arrangement of the data."""
    chosen: dict[str, Period] = {}
    for one in periods:
        holds = one.valid_from <= day and (one.valid_to is None or one.valid_to > day)
        if holds and within(division, one.division):
            rival = chosen.get(one.disease)
            if rival is None or len(one.division) > len(rival.division):
                chosen[one.disease] = one
    if not chosen:
        return NOTHING_DECLARED
    strictest = max(ORDER.index(one.state) for one in chosen.values())
    top = [one for one in chosen.values() if ORDER.index(one.state) == strictest]
    required: set[RequiredField] = set()
    asking: set[str] = set()
    for one in chosen.values():
        if one.state is not RegimeKind.COUNTS:
            required |= one.required
            asking.add(one.disease)
    return Regime(
        ORDER[strictest],
        tuple(sorted(one.disease for one in top)),
        frozenset(required),
        sorted((one.division for one in top), key=len)[-1],
        tuple(sorted(asking)),
    )


class TestTheRegimeOfAPlaceAndDay:
    def test_is_counts_where_nobody_declared_anything(self) -> None:
        regime = RegimeCalendar([]).regime_on("440304005", DAY)
        assert regime == NOTHING_DECLARED
        assert not regime.registers

    def test_comes_from_the_divisions_above(self) -> None:
        regime = RegimeCalendar([period("44")]).regime_on("440304005", DAY)
        assert (regime.state, regime.division) == (RegimeKind.REGISTER, "44")

    def test_is_that_of_the_narrowest_division_even_if_it_is_milder(self) -> None:
        calendar = RegimeCalendar([period("4403", RegimeKind.SUSPENDED), period("440304", RegimeKind.COUNTS)])
        assert calendar.regime_on("440304005", DAY).state is RegimeKind.COUNTS
        assert calendar.regime_on("440303001", DAY).state is RegimeKind.SUSPENDED

    def test_is_the_strictest_across_diseases_and_asks_for_what_either_needs(self) -> None:
        calendar = RegimeCalendar(
            [
                period(required=frozenset({RequiredField.ADDRESS})),
                period("44", RegimeKind.SUSPENDED, disease="dengue", required=frozenset({RequiredField.NAME})),
            ]
        )
        assert calendar.regime_on("440304005", DAY) == Regime(
            RegimeKind.SUSPENDED,
            ("dengue",),
            frozenset({RequiredField.ADDRESS, RequiredField.NAME}),
            "44",
            ("covid-19", "dengue"),
        )

    def test_requires_nothing_where_nothing_may_be_kept(self) -> None:
        assert RegimeCalendar([period(state=RegimeKind.COUNTS)]).regime_on("440304", DAY).required == frozenset()

    @pytest.mark.parametrize(("day", "state"), [(14, "register"), (15, "suspended"), (20, "suspended"), (21, "counts")])
    def test_changes_on_the_first_day_of_a_period_and_the_day_after_its_last(self, day: int, state: str) -> None:
        calendar = RegimeCalendar(
            [
                period(valid_to=DAY),
                period(state=RegimeKind.SUSPENDED, valid_from=DAY, valid_to=date(2026, 2, 21)),
            ]
        )
        assert calendar.regime_on("440304", date(2026, 2, day)).state == state

    @given(calendars(), st.sampled_from((*PLACES, "440304005001", "3101")), st.lists(days, min_size=1, max_size=4))
    def test_is_what_the_rule_says_word_by_word(self, periods: list[Period], place: str, asked: list[date]) -> None:
        calendar = RegimeCalendar(periods)
        for day in (*asked, *asked):  # twice: the second answer is a remembered one
            assert calendar.regime_on(place, day) == by_hand(periods, place, day)

    @given(calendars(), st.sampled_from((*PLACES, "440304005001", "3101")), days)
    def test_is_another_only_on_a_day_on_which_it_may_change(
        self, periods: list[Period], place: str, day: date
    ) -> None:
        calendar = RegimeCalendar(periods)
        held = calendar.look_up(place, day)
        assert held == calendar.regime_on(place, day)
        if day not in calendar.changes_in(place):
            assert calendar.look_up(place, day - timedelta(days=1)) == held


spans = st.builds(
    lambda start, length: Span(start, None if length is None else start + timedelta(days=length)),
    days,
    st.none() | st.integers(1, 20),
)


class TestTwoPeriods:
    @given(spans, spans)
    def test_overlap_exactly_when_they_share_a_day(self, a: Span, b: Span) -> None:
        horizon = [date(2026, 1, 1) + timedelta(days=n) for n in range(70)]

        def covered(span: Span) -> set[date]:
            return {d for d in horizon if span.valid_from <= d and (span.valid_to is None or d < span.valid_to)}

        assert overlaps(a, b) == overlaps(b, a) == bool(covered(a) & covered(b))

    def test_of_which_the_earlier_is_open_ended_leave_room_for_the_later(self) -> None:
        earlier, later = Span(date(2026, 1, 1), None), Span(DAY, None)
        assert is_ended_by(earlier, later)
        assert not is_ended_by(later, earlier)
        assert not is_ended_by(Span(date(2026, 1, 1), date(2026, 3, 1)), later)
        assert not is_ended_by(earlier, earlier)
