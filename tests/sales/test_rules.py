from collections.abc import Mapping
from datetime import date, datetime, timedelta
from itertools import groupby
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.regimes.rules import RegimeKind
from app.sales.rules import (
    Earlier,
    Entry,
    Facts,
    Fate,
    Received,
    judge,
    judge_times,
    reconcile,
)
from app.sales.schemas import StatementOut
from tests.conftest import MOMENT

DAY = date(2026, 2, 15)
PHARMACY = UUID(int=1)
ENTRIES = [Entry("gd37", "布洛芬"), Entry("gd37", "连花清瘟胶囊"), Entry("sz_plus2", "布洛芬")]


class Book:
    """A model of the table: statements of one pharmacy and day, as `judge` says."""

    def __init__(self) -> None:
        self.kept: list[Earlier] = []

    def send(self, content: int, stated_at: datetime | None, now: datetime) -> Fate:
        digest = bytes([content])
        verdict = judge(digest, stated_at, self.kept, now)
        if verdict.fate in (Fate.SUPERSEDES, Fate.SUPERSEDED):
            takes = verdict.fate is Fate.SUPERSEDES
            kept = [
                Earlier(one.id, one.revision, one.digest, one.stated_at, one.received_at, False) if takes else one
                for one in self.kept
            ]
            number = len(kept) + 1
            self.kept = [*kept, Earlier(UUID(int=number), number, digest, stated_at, now, takes)]
        return verdict.fate

    @property
    def in_force(self) -> int:
        [one] = [one for one in self.kept if one.in_force]
        return one.digest[0]


class TestTheStatementInForce:
    @given(
        st.lists(st.integers(0, 9), min_size=1, max_size=6).flatmap(
            lambda contents: st.tuples(
                st.just(contents),
                st.permutations(range(len(contents))),
                st.lists(st.integers(0, len(contents) - 1), max_size=10),
            )
        )
    )
    def test_is_the_one_stated_last_in_whatever_order_and_however_often_they_arrive(
        self, sent: tuple[list[int], list[int], list[int]]
    ) -> None:
        contents, order, repeats = sent
        book = Book()
        for arrival, number in enumerate([*order, *repeats]):
            book.send(contents[number], MOMENT - timedelta(hours=9 - number), MOMENT + timedelta(seconds=arrival))
        assert book.in_force == contents[-1]
        assert len(book.kept) == len(contents)

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=8))
    def test_without_times_is_the_one_received_last_and_repeats_add_nothing(self, sent: list[tuple[int, int]]) -> None:
        book = Book()
        for content, times in sent:
            for _ in range(times):
                book.send(content, None, MOMENT)
        assert book.in_force == sent[-1][0]
        assert len(book.kept) == len(list(groupby(content for content, _ in sent)))

    def test_with_the_same_time_and_other_content_is_a_contradiction(self) -> None:
        book = Book()
        fates = [book.send(content, MOMENT, MOMENT) for content in (1, 1, 2)]
        assert fates == [Fate.SUPERSEDES, Fate.REPEAT, Fate.CONFLICT]
        assert book.in_force == 1

    def test_may_go_back_to_an_earlier_count(self) -> None:
        book = Book()
        assert [book.send(content, None, MOMENT) for content in (1, 2, 1)] == [Fate.SUPERSEDES] * 3
        assert book.in_force == 1

    def test_of_a_till_that_tells_the_time_is_compared_with_the_receipt_of_one_that_does_not(self) -> None:
        book = Book()
        book.send(1, None, MOMENT)
        assert book.send(2, MOMENT - timedelta(minutes=1), MOMENT + timedelta(minutes=1)) is Fate.SUPERSEDED
        assert book.send(3, MOMENT + timedelta(minutes=1), MOMENT + timedelta(minutes=1)) is Fate.SUPERSEDES
        assert book.in_force == 3


class TestADay:
    @pytest.mark.parametrize(
        ("day", "stated_at", "codes"),
        [
            (DAY, None, []),
            (DAY - timedelta(days=30), MOMENT + timedelta(minutes=10), []),
            (DAY + timedelta(days=1), None, ["day_in_future"]),
            (DAY - timedelta(days=31), MOMENT + timedelta(minutes=11), ["day_too_long_ago", "stated_in_future"]),
        ],
    )
    def test_lies_within_thirty_days_and_not_ahead(
        self, day: date, stated_at: datetime | None, codes: list[str]
    ) -> None:
        assert [error.code for error in judge_times(day, stated_at, MOMENT)] == codes

    def test_is_one_in_china(self) -> None:
        before_midnight, after = (MOMENT.replace(hour=hour) for hour in (15, 16))
        tomorrow = DAY + timedelta(days=1)
        assert [error.code for error in judge_times(tomorrow, None, before_midnight)] == ["day_in_future"]
        assert judge_times(tomorrow, None, after) == []


DAYS = [DAY + timedelta(days=number) for number in range(4)]
quantities = st.dictionaries(st.tuples(st.sampled_from(DAYS), st.sampled_from(ENTRIES)), st.integers(0, 500))
regimes_of_days = st.tuples(*[st.sampled_from(RegimeKind) for _ in DAYS]).map(
    lambda kinds: dict(zip(DAYS, kinds, strict=True))
)


class TestAReconciliation:
    @given(quantities, quantities, st.sets(st.sampled_from(DAYS)), regimes_of_days)
    def test_agrees_with_counting_by_hand(
        self,
        registered: Mapping[tuple[date, Entry], int],
        counted: Mapping[tuple[date, Entry], int],
        stated_days: set[date],
        regimes: Mapping[date, RegimeKind],
    ) -> None:
        sold = {key: quantity for key, quantity in counted.items() if key[0] in stated_days}
        stated = {day: StatementOut(revision=1, received_at=MOMENT, unlisted=0) for day in stated_days}
        ids = {entry: UUID(int=number) for number, entry in enumerate(ENTRIES)}
        received = {day: Received(count=5, late=2, incomplete=1) for day in DAYS[:2]}
        told = reconcile(
            PHARMACY,
            DAYS[0],
            DAYS[-1] + timedelta(days=1),
            regimes,
            Facts(received, registered, stated, sold, ids),
        )
        assert [day.day for day in told.days] == DAYS
        short = 0
        for day in told.days:
            assert (day.registrations, day.on_time, day.late) == ((5, 3, 2) if day.day in DAYS[:2] else (0, 0, 0))
            shown = {Entry(drug.list, drug.drug): drug for drug in day.drugs}
            assert set(shown) == {entry for on, entry in {*registered, *sold} if on == day.day}
            for entry, drug in shown.items():
                assert drug.registered == registered.get((day.day, entry), 0)
                if day.day not in stated_days:
                    assert (drug.sold, drug.gap) == (None, None)
                    continue
                assert drug.sold == sold.get((day.day, entry), 0)
                if regimes[day.day] is RegimeKind.COUNTS:
                    assert drug.gap is None
                    continue
                assert drug.gap is not None
                assert drug.registered + drug.gap == drug.sold
                short += max(drug.gap, 0)
        assert told.registered == sum(registered.values())
        assert told.sold == sum(sold.values())
        assert told.unregistered == short
        assert told.days_without_statement == len(DAYS) - len(stated_days)
