from datetime import date, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pharmacies.rules import (
    PharmacyFacts,
    Standing,
    Statement,
    changes_something,
    fold_code,
    standing_on,
    uscc_warnings,
)

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
ACTIVE, SUSPENDED, CLOSED = Standing
FIRST = date(2026, 1, 1)

days = st.integers(0, 30).map(lambda n: FIRST + timedelta(days=n))
histories = st.lists(st.builds(Statement, st.sampled_from(tuple(Standing)), days), max_size=6)


def said(*statements: tuple[Standing, int]) -> list[Statement]:
    return [Statement(standing, date(2026, 1, day)) for standing, day in statements]


class TestACreditCode:
    # Codes of listed companies, which stand in their published reports.
    @pytest.mark.parametrize("code", ["914403001922038216", "9144030071526726XG", "91440300708461136T"])
    def test_of_a_known_company_passes(self, code: str) -> None:
        assert uscc_warnings(code) == []

    def test_with_a_wrong_check_character_is_a_warning(self) -> None:
        assert [found.code for found in uscc_warnings("91440300MA5EXAMPLE")] == ["uscc_check_failed"]

    @given(st.integers(0, 16), st.sampled_from(ALPHABET))
    def test_notices_any_single_wrong_character(self, place: int, other: str) -> None:
        code = "914403001922038216"
        changed = code[:place] + other + code[place + 1 :]
        assert bool(uscc_warnings(changed)) == (changed != code)

    @given(st.integers(0, 15))
    def test_notices_any_swap_of_neighbours(self, place: int) -> None:
        code = "9144030071526726XG"
        swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
        assert bool(uscc_warnings(swapped)) == (swapped != code)

    @given(st.text(max_size=30))
    def test_has_one_way_of_writing(self, text: str) -> None:
        assert fold_code(fold_code(text)) == fold_code(text)


class TestTheStandingOnADay:
    def test_is_none_before_the_first_statement(self) -> None:
        assert standing_on(said((ACTIVE, 5)), date(2026, 1, 4)) is None
        assert standing_on(said((ACTIVE, 5)), date(2026, 1, 5)) is ACTIVE

    def test_ends_the_duty_to_register_only_when_it_is_closed(self) -> None:
        facts = PharmacyFacts(UUID(int=1), "440304", tuple(said((ACTIVE, 5), (SUSPENDED, 10), (CLOSED, 15))))
        assert [day for day in range(1, 20) if facts.has_duty_on(date(2026, 1, day))] == list(range(5, 15))

    def test_is_what_was_said_last_even_of_days_gone_by(self) -> None:
        history = said((ACTIVE, 1), (ACTIVE, 15), (SUSPENDED, 10))
        assert standing_on(history, date(2026, 1, 9)) is ACTIVE
        assert standing_on(history, date(2026, 1, 20)) is SUSPENDED

    @given(histories, st.builds(Statement, st.sampled_from(tuple(Standing)), days), days)
    def test_follows_a_new_statement_from_its_day_on_and_stays_before(
        self, history: list[Statement], new: Statement, day: date
    ) -> None:
        after = standing_on([*history, new], day)
        assert after is (new.standing if day >= new.valid_from else standing_on(history, day))

    @given(histories, st.builds(Statement, st.sampled_from(tuple(Standing)), days))
    def test_is_changed_by_a_statement_exactly_if_some_day_differs(
        self, history: list[Statement], new: Statement
    ) -> None:
        horizon = [FIRST + timedelta(days=n) for n in range(-2, 35)]
        differs = any(standing_on(history, day) is not standing_on([*history, new], day) for day in horizon)
        assert changes_something(history, new) == differs
