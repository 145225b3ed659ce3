"""Which of the two languages a caller would rather read, and what is said in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import FieldError
from app.core.languages import Language, Phrasebook, preferred


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


BOOK = Phrasebook(
    titles={"taken": "已占用"},
    fields={"short": ("At least {} of {}", "{1} 至少 {0} 个"), "empty": "请填写"},
    details={"Nothing": "没有", "Send {}, please": "请发送 {}", "At most {}": "最多 {}"},
)


class TestAPhrasebook:
    def test_tells_a_problem_and_leaves_what_programs_decide_by(self) -> None:
        errors = [{"pointer": "/a", "code": "short", "detail": "At least 3 of x"}]
        told = {
            "type": "about:blank",
            "title": "Taken",
            "status": 409,
            "code": "taken",
            "detail": "Nothing",
            "errors": errors,
        }
        said = BOOK.problem(told)
        assert said == told | {
            "title": "已占用",
            "detail": "没有",
            "errors": [{"pointer": "/a", "code": "short", "detail": "x 至少 3 个"}],
        }
        assert errors[0]["detail"] == "At least 3 of x"

    def test_leaves_what_is_not_in_it_as_it_was_written(self) -> None:
        told = {
            "title": "Odd",
            "status": 400,
            "code": "odd",
            "detail": "Well",
            "errors": [{"code": "odd", "detail": "Hm"}],
        }
        assert BOOK.problem(told) == told
        assert BOOK.message("short", "At least") == "At least"

    def test_carries_over_what_stands_in_a_sentence(self) -> None:
        assert BOOK.detail("Send a or b, please") == "请发送 a 或 b"
        assert BOOK.detail("At most {}") == "最多 {}"
        assert BOOK.message("taken", "x") == "已占用"

    def test_tells_warnings_and_leaves_where_they_point(self) -> None:
        told = [FieldError("/a", "short", "At least 3 of x"), FieldError("/b", "odd", "Hm")]
        assert BOOK.messages(told) == [FieldError("/a", "short", "x 至少 3 个"), FieldError("/b", "odd", "Hm")]

    @given(st.text(), st.text())
    def test_has_something_to_say_of_everything(self, code: str, sentence: str) -> None:
        assert isinstance(BOOK.detail(sentence), str)
        assert isinstance(BOOK.message(code, sentence), str)
