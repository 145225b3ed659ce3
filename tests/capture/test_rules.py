"""Covering purchases: as many as can be, one drug for one purchase, and in whatever order the facts come."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, permutations
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.capture.rules import (
    ANY_OTHER,
    Declared,
    Ground,
    PurchaseStatus,
    Registered,
    Subject,
    can_cover,
    cover,
    judge,
    late_until,
)
from app.cases.rules import Classification
from app.core.clock import china_day
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU

DAY = date(2026, 2, 15)
PHARMACIES = (UUID(int=1), UUID(int=2))
ENTRIES = (("37", "布洛芬"), ("37", "连花清瘟胶囊(颗粒)"))
CONFIRMED = Subject(Classification.CONFIRMED, DAY, datetime(2026, 2, 17, tzinfo=UTC))

days = st.integers(-1, 1).map(lambda off: DAY + timedelta(days=off))


@st.composite
def tellings(draw: st.DrawFn) -> list[Declared]:
    """What a case may tell: each telling another, as the table holds them."""
    keys = draw(
        st.lists(
            st.tuples(
                # Mostly one place, few days: where there is little to choose from, one must give way to another.
                st.sampled_from([PHARMACIES[0], PHARMACIES[0], PHARMACIES[1], None]),
                st.sampled_from([FUTIAN, SHATOU, LUOHU]),
                days,
                st.sampled_from([*ENTRIES, ANY_OTHER, None, None]),
            ),
            max_size=5,
            unique_by=lambda key: (key[0] or key[1], key[2], key[3]),
        )
    )
    return [
        Declared(
            UUID(int=100 + number),
            pharmacy,
            SHATOU if pharmacy else division,
            day,
            draw(st.integers(0, 2)),
            None if entry is None else entry[1],
            None if entry in (None, ANY_OTHER) else entry,
            draw(st.integers(0, 9)) == 0,
        )
        for number, (pharmacy, division, day, entry) in enumerate(keys)
    ]


@st.composite
def registrations(draw: st.DrawFn) -> list[Registered]:
    """What a case's pharmacies may have registered."""
    found = []
    for number in range(draw(st.integers(0, 4))):
        day = draw(days)
        takes_all = draw(st.booleans())
        entries = draw(st.frozensets(st.sampled_from(ENTRIES), min_size=0 if takes_all else 1))
        at = datetime(day.year, day.month, day.day, draw(st.integers(0, 23)), tzinfo=UTC) - timedelta(hours=8)
        pharmacy = draw(st.sampled_from([PHARMACIES[0], *PHARMACIES]))
        found.append(
            Registered(UUID(int=200 + number), pharmacy, SHATOU, f"SYN-{number}", at, china_day(at), takes_all, entries)
        )
    return found


def most(purchases: list[Declared], registered: list[Registered]) -> int:
    """Count by trying everything how many purchases can be covered."""
    units = [(one, unit) for one in registered for unit in one.units]
    if not purchases:
        return 0
    first, *rest = purchases
    best = most(rest, registered)

    def place(left: list[Declared], free: frozenset[int]) -> int:
        if not left:
            return 0
        without = place(left[1:], free)
        fits = [at for at in free if can_cover(left[0], *units[at])]
        return max([without, *(1 + place(left[1:], free - {at}) for at in fits)])

    return max(best, place([first, *rest], frozenset(range(len(units)))))


class TestCovering:
    @given(tellings(), registrations())
    def test_covers_as_many_as_can_be(self, purchases: list[Declared], registered: list[Registered]) -> None:
        assert len(cover(purchases, registered)) == most(purchases, registered)

    @given(tellings(), registrations())
    def test_gives_each_drug_of_a_registration_to_one(
        self, purchases: list[Declared], registered: list[Registered]
    ) -> None:
        covering = cover(purchases, registered)
        told = {one.id: one for one in purchases}
        for one in registered:
            mine = [told[purchase] for purchase, found in covering.items() if found.id == one.id]
            assert len(mine) <= len(one.units)
            assert all(any(can_cover(purchase, one, unit) for unit in one.units) for purchase in mine)
            for entry in ENTRIES:
                assert sum(purchase.entry == entry for purchase in mine) <= (entry in one.entries)

    @given(tellings(), registrations(), st.randoms(use_true_random=False))
    def test_depends_on_the_facts_alone(
        self, purchases: list[Declared], registered: list[Registered], chance: Random
    ) -> None:
        expected = judge(CONFIRMED, purchases, registered, {})
        chance.shuffle(purchases)
        chance.shuffle(registered)
        # Nor on the ids, which follow the arrival.
        renamed = [
            Registered(UUID(int=300 + number), *(getattr(one, name) for name in Registered.__slots__[1:]))
            for number, one in enumerate(registered)
        ]
        before = {new.id: old.id for new, old in zip(renamed, registered, strict=True)}
        again = judge(CONFIRMED, purchases, renamed, {})
        assert {
            purchase: (verdict.status, verdict.ground, before.get(verdict.registration_id or UUID(int=0)))
            for purchase, verdict in again.items()
        } == {
            purchase: (verdict.status, verdict.ground, verdict.registration_id)
            for purchase, verdict in expected.items()
        }

    @given(tellings(), registrations())
    def test_is_taken_from_nothing_by_one_more_registration(
        self, purchases: list[Declared], registered: list[Registered]
    ) -> None:
        # Purchases and registrations complement each other (Shapley 1962), and the order of precedence stays.
        covered = [cover(purchases, registered[:number]).keys() for number in range(len(registered) + 1)]
        assert all(fewer <= more for fewer, more in pairwise(covered))

    def test_gives_way_to_whom_nothing_else_covers(self) -> None:
        """The first prefers the fourteenth, on which it was told; for the second there is only that."""
        sold = [
            Registered(
                UUID(int=200 + off), PHARMACIES[0], SHATOU, str(off), at, at.date(), False, frozenset(ENTRIES[:1])
            )
            for off in (0, 1)
            for at in [datetime(2026, 2, 13 + off, 2, tzinfo=UTC)]
        ]
        told = [
            Declared(UUID(int=100 + off), PHARMACIES[0], SHATOU, date(2026, 2, 14 + off), 1, None, None)
            for off in (0, 1)
        ]
        covering = cover(told, sold)
        assert [covering[one.id].day.day for one in told] == [13, 14]

    def test_gives_way_where_another_drug_does_as_well(self) -> None:
        both = Registered(
            UUID(int=200), PHARMACIES[0], SHATOU, "A", datetime(2026, 2, 15, tzinfo=UTC), DAY, False, frozenset(ENTRIES)
        )
        anything = Declared(UUID(int=100), PHARMACIES[0], SHATOU, DAY, 0, None, None)
        named = [
            Declared(UUID(int=101 + number), PHARMACIES[0], SHATOU, DAY, 1, entry[1], entry)
            for number, entry in enumerate(ENTRIES)
        ]
        for told in permutations([anything, named[0]]):
            assert len(cover(told, [both])) == 2
        assert set(cover([anything, *named], [both])) == {one.id for one in named}


class TestAVerdict:
    @given(tellings(), registrations(), st.sampled_from(list(Classification)))
    def test_is_given_once_for_each_purchase_and_names_what_covers_it(
        self, purchases: list[Declared], registered: list[Registered], classification: Classification
    ) -> None:
        subject = Subject(classification, DAY, None)
        waived = {one.id: Ground.REGIME_COUNTS for one in purchases if one.division == LUOHU}
        verdicts = judge(subject, purchases, registered, waived)
        assert verdicts.keys() == {one.id for one in purchases}
        for one in purchases:
            verdict = verdicts[one.id]
            assert (verdict.status is PurchaseStatus.COVERED) == (verdict.registration_id is not None)
            assert (verdict.ground is Ground.RETRACTED) == one.retracted
            if classification is Classification.DISCARDED:
                assert verdict.status is PurchaseStatus.NOT_JUDGED
            if one.id in waived:
                assert verdict.status is not PurchaseStatus.MISSED

    def test_says_that_a_person_must_look_at_a_match_first(self) -> None:
        [told] = [Declared(UUID(int=100), PHARMACIES[0], SHATOU, DAY, 0, None, None)]
        at = datetime(2026, 2, 15, tzinfo=UTC)
        maybe = Registered(
            UUID(int=200), PHARMACIES[0], SHATOU, "A", at, DAY, False, frozenset(ENTRIES), established=False
        )
        elsewhere = replace(maybe, pharmacy_id=PHARMACIES[1])
        confirmed = replace(maybe, established=True)
        for registered, ground in (
            (maybe, "match_unreviewed"),
            (elsewhere, "not_registered"),
            (confirmed, "registered"),
        ):
            assert judge(CONFIRMED, [told], [registered], {})[told.id].ground == ground

    def test_may_change_until_the_last_till_has_reported(self) -> None:
        assert late_until(DAY, 0) == datetime(2026, 3, 17, 16, tzinfo=UTC)
        assert late_until(DAY, 2) == datetime(2026, 3, 19, 16, tzinfo=UTC)
