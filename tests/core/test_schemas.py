from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.core.schemas import Code, Day, DivisionCode, Instant, Label, LongText, Reason, ShortText


def reads(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


class TestAnInstant:
    @given(st.datetimes(datetime(1901, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - made aware
    def test_is_read_as_it_was_written(self, instant: datetime) -> None:
        assert TypeAdapter(Instant).validate_python(instant.isoformat()) == instant
        assert TypeAdapter(Instant).validate_json(f'"{instant.isoformat()}"') == instant

    @pytest.mark.parametrize(
        "value",
        [
            *("2026-02-15", "2026-02-15T09:41Z", "2026-02-15T09:41:07", "20260215T094107Z", "1771119667", "now", ""),
            *("2026-02-15T09:41:07+8", "２026-02-15T09:41:07Z", "1899-12-31T23:59:59Z", "2201-01-01T00:00:00Z"),
            *(1771119667, 1771119667.5, None, True),
        ],
    )
    def test_is_nothing_else(self, value: Any) -> None:
        assert not reads(Instant, value)


class TestADay:
    @pytest.mark.parametrize(
        "value", ["20260215", 20260215, "2026-2-15", "2026-02-30", "1899-12-31", "２026-02-15", None]
    )
    def test_is_written_in_one_way(self, value: Any) -> None:
        assert reads(Day, "2026-02-15")
        assert not reads(Day, value)


class TestAText:
    @pytest.mark.parametrize("kind", [ShortText, LongText, Label, Reason])
    @pytest.mark.parametrize("text", ["a\x00", "a\nb", "\x7f", "\x85", "\ud800", "x" * 501])
    def test_holds_no_control_characters_nor_half_ones(self, kind: Any, text: str) -> None:
        assert reads(kind, "王小明 – ok 𠮷")
        assert not reads(kind, text)

    @pytest.mark.parametrize("kind", [Label, Reason])
    def test_that_must_be_there_is_not_blank(self, kind: Any) -> None:
        assert not reads(kind, "  ")


class TestACode:
    @pytest.mark.parametrize("code", ["44", "4403", "440304", "440304005", "440304005001"])
    def test_of_a_division_has_one_of_five_lengths(self, code: str) -> None:
        assert reads(DivisionCode, code)
        for wrong in (code[:-1], code + "\n", code[:-1] + "%", code[:-1] + "４", f" {code}"):
            assert not reads(DivisionCode, wrong)

    @given(st.text(max_size=70))
    def test_is_lower_case_ascii(self, text: str) -> None:
        assert reads(Code, text) == (
            1 <= len(text) <= 64 and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        )
