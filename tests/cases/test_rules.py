"""What a row of a case list does to a known case."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cases.rules import Account, Classification, Verdict, check_times, compare
from app.people.documents import DocumentType
from app.people.rules import Identity
from tests.conftest import MOMENT
from tests.factories.identities import resident_number

CONFIRMED = MOMENT - timedelta(hours=3)
RANK = [Classification.SUSPECTED, Classification.PROBABLE, Classification.CONFIRMED]
WHOLE = Identity("王小样", DocumentType.RESIDENT_ID, resident_number(1), None, "+8613800138000", "440304005", "3 栋")


def an_account(**members: object) -> Account:
    account = Account("covid-19", Classification.SUSPECTED, WHOLE, date(2026, 2, 14), None, "440304005")
    return replace(account, **members)  # type: ignore[arg-type]


def excerpts(whole: Identity) -> st.SearchStrategy[Identity]:
    """Return what different lists may tell of one person: each leaves out what it does not know."""

    def leave_out(gone: frozenset[str]) -> Identity:
        names = {"document": ("document_type", "document_number"), "address": ("address_division", "address_line")}
        left_out = {name: None for key in gone for name in names.get(key, (key,))}
        if "document" in gone:
            left_out |= {"document_missing_reason": "left at home"}  # type: ignore[dict-item]
        if "document" in gone and "address" in gone:
            left_out |= {"birth_date": date(1970, 1, 1)}  # type: ignore[dict-item]
        elif "document" not in gone and "address" in gone:
            left_out |= {"document_old_form": True}  # type: ignore[dict-item]
        return replace(whole, **left_out)

    return st.frozensets(st.sampled_from(["name", "document", "phone", "address"])).map(leave_out)


def timed(account: Account) -> Account:
    return replace(account, confirmed_at=CONFIRMED if account.classification is Classification.CONFIRMED else None)


def accounts(identities: st.SearchStrategy[Identity] | None = None) -> st.SearchStrategy[Account]:
    """Return compatible rows about one case: they lack things, but never tell two stories."""
    return st.builds(
        Account,
        disease=st.just("covid-19"),
        classification=st.sampled_from(Classification),
        identity=identities or excerpts(WHOLE),
        onset_on=st.sampled_from([None, date(2026, 2, 14)]),
        confirmed_at=st.none(),
        division=st.just("440304005"),
    ).map(timed)


def rank(classification: Classification) -> int:
    return RANK.index(classification)


def known(identity: Identity) -> set[str]:
    values = {"name": identity.name, "document": identity.document_number, "phone": identity.phone}
    return {name for name, value in values.items() if value is not None}


class TestARowOfAList:
    @given(accounts(), accounts())
    def test_never_lowers_discards_or_revives(self, held: Account, told: Account) -> None:
        _, merged = compare(held, told)
        if Classification.DISCARDED in (held.classification, told.classification):
            assert merged.classification is held.classification
        else:
            assert rank(merged.classification) >= rank(held.classification)

    @given(accounts(), accounts())
    def test_never_takes_anything_away(self, held: Account, told: Account) -> None:
        _, merged = compare(held, told)
        assert known(merged.identity) >= known(held.identity)
        assert held.onset_on is None or merged.onset_on == held.onset_on

    @given(accounts(), accounts())
    def test_told_again_is_the_same(self, held: Account, told: Account) -> None:
        verdict, merged = compare(held, told)
        again, unchanged = compare(merged, told)
        assert unchanged == merged
        if verdict in (Verdict.SAME, Verdict.GAIN):
            assert again is Verdict.SAME
        else:
            assert (again, merged) == (verdict, held)

    @given(accounts(), accounts())
    def test_gains_exactly_if_something_changed(self, held: Account, told: Account) -> None:
        verdict, merged = compare(held, told)
        assert (verdict is Verdict.GAIN) == (merged != held)

    @given(st.lists(accounts(), min_size=2, max_size=5), st.randoms(use_true_random=False))
    def test_may_come_before_or_after_others_of_its_rank(self, rows: list[Account], random: object) -> None:
        rows = [timed(replace(row, classification=rows[0].classification)) for row in rows]
        shuffled = rows.copy()
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        merged = []
        for order in (rows, shuffled):
            account = order[0]
            for row in order[1:]:
                verdict, account = compare(account, row)
                assert verdict in (Verdict.SAME, Verdict.GAIN)
            merged.append(account)
        assert merged[0] == merged[1]

    @given(st.lists(accounts(), min_size=1, max_size=5))
    def test_in_whatever_order_leads_to_the_highest_classification(self, rows: list[Account]) -> None:
        told = [row for row in rows if row.classification is not Classification.DISCARDED]
        if not told:
            return
        account = told[0]
        for row in told[1:]:
            _, account = compare(account, row)
        assert rank(account.classification) == max(rank(row.classification) for row in told)

    @pytest.mark.parametrize(
        "members",
        [
            {"disease": "dengue"},
            {"division": "440304006"},
            {"onset_on": date(2026, 2, 13)},
            {"identity": replace(WHOLE, name="李小样")},
            {"identity": replace(WHOLE, phone="+8613800138001")},
            {"identity": replace(WHOLE, document_number=resident_number(2))},
            {"identity": replace(WHOLE, address_line="4 栋")},
            {"identity": Identity("王小样", birth_date=date(1970, 1, 2))},
        ],
    )
    def test_that_tells_something_else_is_a_contradiction(self, members: dict[str, object]) -> None:
        held = an_account()
        assert compare(held, an_account(**members)) == (Verdict.CONTRADICTION, held)
        raised = an_account(classification=Classification.CONFIRMED, confirmed_at=CONFIRMED, **members)
        assert compare(held, raised) == (Verdict.CONTRADICTION, held)

    def test_with_another_time_of_confirmation_is_a_contradiction(self) -> None:
        held = an_account(classification=Classification.CONFIRMED, confirmed_at=CONFIRMED)
        told = replace(held, confirmed_at=CONFIRMED + timedelta(minutes=1))
        assert compare(held, told)[0] is Verdict.CONTRADICTION

    @pytest.mark.parametrize(
        ("held", "told"),
        [
            (replace(WHOLE, name="Zhang San"), replace(WHOLE, name="ZHANG SAN")),
            (
                replace(WHOLE, document_type=DocumentType.HK_MACAU_PERMIT, document_number="H1234567800"),
                replace(WHOLE, document_type=DocumentType.HK_MACAU_PERMIT, document_number="H1234567801"),
            ),
            (WHOLE, replace(WHOLE, document_type=DocumentType.MEDICAL_INSURANCE_CARD)),
        ],
    )
    def test_with_another_spelling_of_the_same_person_is_the_same(self, held: Identity, told: Identity) -> None:
        assert compare(an_account(identity=held), an_account(identity=told)) == (
            Verdict.SAME,
            an_account(identity=held),
        )

    def test_with_a_document_settles_why_there_was_none(self) -> None:
        without = replace(WHOLE, document_type=None, document_number=None, document_missing_reason="lost")
        assert compare(an_account(identity=without), an_account())[1] == an_account()
        assert compare(an_account(), an_account(identity=without)) == (Verdict.SAME, an_account())


class TestTheTimesOfACase:
    @given(
        st.sampled_from(Classification),
        st.none() | st.dates(date(1890, 1, 1), date(2030, 1, 1)),
        st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    )
    def test_are_right_or_named_as_wrong(
        self, classification: Classification, onset_on: date | None, confirmed_at: datetime | None
    ) -> None:
        codes = {error.code for error in check_times(classification, onset_on, confirmed_at, MOMENT)}
        confirmed = classification is Classification.CONFIRMED
        assert ("confirmed_at_required" in codes) == (confirmed and confirmed_at is None)
        assert ("confirmed_at_not_allowed" in codes) == (not confirmed and confirmed_at is not None)
        assert ("in_future" in codes) == (confirmed_at is not None and confirmed_at > MOMENT)
        in_range = onset_on is None or date(1900, 1, 1) <= onset_on <= date(2026, 2, 15)
        assert ("onset_out_of_range" in codes) == (not in_range)

    def test_reckon_onset_in_days_of_china(self) -> None:
        late = datetime(2026, 2, 15, 16, 30, tzinfo=UTC)  # half past midnight of the 16th in Shenzhen
        assert check_times(Classification.SUSPECTED, date(2026, 2, 16), None, late) == []
        assert check_times(Classification.SUSPECTED, date(2026, 2, 16), None, late - timedelta(hours=1)) != []
