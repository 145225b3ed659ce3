"""Which of the two languages a caller would rather read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.languages import Language, preferred


class TestThePreferredLanguage:
    @pytest.mark.parametrize(
        ("field", "language"),
        [
            (None, "zh"),
            ("", "zh"),
            ("*", "zh"),
            ("en", "en"),
            ("EN-gb", "en"),
            ("zh-Hans-CN", "zh"),
            ("fr", "zh"),
            ("fr, en;q=0.1", "en"),
            ("en;q=0.8, zh-CN;q=0.9", "zh"),
            ("en;q=0.9, zh-CN;q=0.8", "en"),
            ("zh;q=0, *", "en"),
            ("zh;q=0", "zh"),
            ("en-US,en;q=0.9,zh;q=1.0", "zh"),
            ("en;q=nonsense", "zh"),
            ("en;q=7", "zh"),
            ("en ; q=1", "en"),
        ],
    )
    def test_is_the_one_with_the_most_weight(self, field: str | None, language: str) -> None:
        assert preferred(field) == Language(language)

    @pytest.mark.parametrize(
        ("field", "language"),
        [
            ("", "en"),
            ("*", "en"),
            ("de", "en"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
            ("ZH-Hant-HK", "zh"),
            ("zh;q=0", "en"),
            (";;,,;q=nan", "en"),
        ],
    )
    def test_is_what_the_door_says_otherwise(self, field: str, language: str) -> None:
        assert preferred(field, Language.EN) == Language(language)

    @given(st.text())
    def test_is_one_of_the_two_whatever_was_sent(self, field: str) -> None:
        assert preferred(field) in Language
