"""Names. Every person here is synthetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.people.names import EMPTY, INVALID, Name, fold, normalise_name


def comparable(raw: str) -> str:
    name = normalise_name(raw)
    assert isinstance(name, Name), name
    return name.comparable


class TestAName:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("王小明", " 王小明　"),
            ("张三", "张　三"),
            ("张三", "张 \u200b三"),
            ("阿卜杜拉·买买提", "阿卜杜拉•买买提"),
            ("阿卜杜拉·买买提", "阿卜杜拉・买买提"),
            ("阿卜杜拉·买买提", "阿卜杜拉 ‧ 买买提"),
            ("阿卜杜拉·买买提", "阿卜杜拉.买买提"),
            ("阿卜杜拉·买买提", "阿卜杜拉．买买提"),
            ("阿卜杜拉·买买提", "阿卜杜拉･买买提"),
            ("Maria Garcia", "ＭＡＲＩＡ　ＧＡＲＣＩＡ"),
            ("Maria Garcia", "maria\u00a0 garcia"),
            ("Jürgen Groß", "JU\u0308RGEN GROSS"),
            ("王一", "王\u2f00"),  # Kangxi radical one
            ("葛小明", "葛\U000e0100小明"),  # ideographic variation selector
            ("神田", "\ufa19田"),  # compatibility ideograph
        ],
    )
    def test_is_the_same_however_it_is_written(self, one: str, other: str) -> None:
        assert comparable(one) == comparable(other)

    @pytest.mark.parametrize(
        ("one", "other"), [("王小明", "王晓明"), ("Li Na", "Lina"), ("张三", "张三丰"), ("J. Li", "J Li")]
    )
    def test_stays_apart_from_another(self, one: str, other: str) -> None:
        assert comparable(one) != comparable(other)

    def test_keeps_its_case_where_it_is_shown(self) -> None:
        assert normalise_name("Ｍaria  GARCIA") == Name("Maria GARCIA", "maria garcia")

    @pytest.mark.parametrize("raw", ["", " ", "\u3000", "---", "？？", "***", "·", "\u200b", "123", "（）"])
    def test_without_a_letter_is_missing(self, raw: str) -> None:
        assert normalise_name(raw) == EMPTY

    @pytest.mark.parametrize("raw", ["王\ue863", "\ue863", "\U00020087", "\U00031350"])
    def test_may_have_rare_characters(self, raw: str) -> None:
        assert isinstance(normalise_name(raw), Name)

    @pytest.mark.parametrize("raw", ["王\x00明", "王\x1b[2J", "王\ud800", "王" * 201, "\ufdfa" * 12])
    def test_of_no_person_is_refused(self, raw: str) -> None:
        assert normalise_name(raw) == INVALID

    @given(st.text(st.characters(), max_size=60))
    def test_is_the_same_after_it_was_normalised(self, raw: str) -> None:
        result = normalise_name(raw)
        if isinstance(result, Name):
            assert normalise_name(result.value) == result
            assert fold(result.value) == result.comparable
            assert result.comparable
            result.value.encode()  # can be sealed
            assert repr(result) == "Name()"

    @given(st.text("ABCdefg xyz", min_size=1, max_size=20))
    def test_means_the_same_in_full_width(self, raw: str) -> None:
        wide = "".join("\u3000" if c == " " else chr(ord(c) + 0xFEE0) for c in raw)
        assert normalise_name(wide) == normalise_name(raw)
