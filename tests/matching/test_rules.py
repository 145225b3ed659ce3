"""When two presentations are one person, and when a purchase lies near a case."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cases.rules import Classification
from app.core.clock import CHINA
from app.matching.passes import Agreement, Marks, Strength, compare
from app.matching.rules import POLICY, MatchingPolicy, counts, in_window
from app.people.documents import DocumentType

FEW = [b"one", b"two"]
ONSET = date(2026, 2, 15)


def _marks(document: tuple[str, bytes] | None, phone: bytes | None, name: bytes | None) -> Marks:
    kind, value = document or (None, None)
    return Marks(value and f"{kind}:".encode() + value, kind, phone, name)


DOCUMENTS = st.tuples(st.sampled_from([DocumentType.RESIDENT_ID, DocumentType.PASSPORT]), st.sampled_from(FEW))
MARKS = st.builds(_marks, st.none() | DOCUMENTS, st.none() | st.sampled_from(FEW), st.none() | st.sampled_from(FEW))


class TestTwoPresentations:
    @given(MARKS, MARKS)
    def test_compare_alike_from_both_sides(self, one: Marks, other: Marks) -> None:
        assert compare(one, other, same_city=True) == compare(other, one, same_city=True)

    @given(MARKS, MARKS)
    def test_are_certain_exactly_with_the_same_document(self, one: Marks, other: Marks) -> None:
        found = compare(one, other, same_city=True)
        certain = found is not None and found.by.strength is Strength.CERTAIN
        assert certain == (one.document is not None and one.document == other.document)

    @given(MARKS, MARKS)
    def test_are_nothing_without_a_document_or_a_name(self, one: Marks, other: Marks) -> None:
        assert compare(replace(one, document=None, name=None), other, same_city=True) is None
        assert compare(replace(one, document=None, phone=None), other, same_city=True) is None

    @given(MARKS)
    def test_that_lack_everything_are_never_equal(self, one: Marks) -> None:
        nobody = Marks(None, None, None, None)
        assert compare(nobody, nobody, same_city=True) is None
        assert compare(one, nobody, same_city=True) is None

    @given(MARKS, MARKS)
    def test_say_how_each_field_compares(self, one: Marks, other: Marks) -> None:
        found = compare(one, other, same_city=True)
        if found is None:
            return
        for name in ("document", "phone", "name"):
            mine, theirs = getattr(one, name), getattr(other, name)
            expected = Agreement.EQUAL if mine == theirs else Agreement.DIFFERS
            assert found.evidence[name] is (Agreement.ABSENT if None in (mine, theirs) else expected)

    @pytest.mark.parametrize(
        ("kind", "strength"), [(DocumentType.RESIDENT_ID, None), (DocumentType.PASSPORT, Strength.STRONG)]
    )
    def test_with_two_resident_numbers_are_two_people(self, kind: DocumentType, strength: Strength | None) -> None:
        one, other = _marks((kind, b"one"), b"phone", b"name"), _marks((kind, b"two"), b"phone", b"name")
        found = compare(one, other, same_city=True)
        assert (found and found.by.strength) == strength

    def test_with_one_resident_number_share_the_birth_date(self) -> None:
        marks = Marks(b"resident_id:one", DocumentType.RESIDENT_ID, None, None)
        found = compare(marks, marks, same_city=True)
        assert found is not None
        assert found.evidence["birth_date"] is Agreement.EQUAL


class TestTheWindow:
    @pytest.mark.parametrize(
        ("purchased_at", "near"),
        [
            ("2026-01-31T23:59:59.999999+08:00", False),
            ("2026-02-01T00:00:00+08:00", True),
            ("2026-01-31T16:00:00+00:00", True),
            ("2026-03-17T23:59:59.999999+08:00", True),
            ("2026-03-17T15:59:59+00:00", True),
            ("2026-03-17T16:00:00+00:00", False),
            ("2026-03-18T00:00:00+08:00", False),
        ],
    )
    def test_has_both_end_days_in_china(self, purchased_at: str, near: bool) -> None:
        assert in_window(datetime.fromisoformat(purchased_at), ONSET, None) is near

    @given(st.integers(-60, 60), st.times(), st.integers(0, 40), st.integers(0, 40))
    def test_counts_whole_days(self, days: int, time: object, lookback: int, after: int) -> None:
        purchased_at = datetime.combine(ONSET + timedelta(days=days), time, CHINA)  # type: ignore[arg-type]
        policy = MatchingPolicy("test", lookback, after)
        expected = -lookback <= days <= after
        assert in_window(purchased_at, ONSET, None, policy) is expected
        assert in_window(purchased_at.astimezone(UTC), ONSET, None, policy) is expected

    def test_goes_by_onset_before_confirmation(self) -> None:
        confirmed_at = datetime(2026, 4, 1, tzinfo=UTC)
        purchased_at = datetime(2026, 2, 1, 4, tzinfo=UTC)
        assert in_window(purchased_at, ONSET, confirmed_at)
        assert not in_window(purchased_at, None, confirmed_at)

    def test_goes_by_the_day_of_confirmation_in_china(self) -> None:
        confirmed_at = datetime(2026, 2, 15, 16, 0, tzinfo=UTC)  # midnight of the 16th in China
        first = datetime(2026, 2, 2, 0, 0, tzinfo=CHINA)
        assert in_window(first, None, confirmed_at)
        assert not in_window(first - timedelta(microseconds=1), None, confirmed_at)

    @given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
    def test_is_open_without_either(self, purchased_at: datetime) -> None:
        assert in_window(purchased_at, None, None)

    def test_is_a_fortnight_before_and_a_month_after(self) -> None:
        assert (POLICY.lookback_days, POLICY.after_days) == (14, 30)


@pytest.mark.parametrize("classification", Classification)
def test_all_but_discarded_cases_have_matches(classification: Classification) -> None:
    assert counts(classification) is (classification.value != "discarded")
