"""When two names sound or look alike. All of them are made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.matching.alikeness import LOOK_ALIKES, look_alike, shape, sound_alike, sounds

# The first name that is read loads a library; a machine may be busy.
NAMES = st.text("王汪黄小晓样阳洋单山曾增·wangxiaoy ", min_size=1, max_size=6)


class TestTwoNames:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("王小样", "汪晓阳"),
            ("王小样", "wang xiaoyang"),
            ("王小样", "xiaoyang wang"),
            ("王小样", "wáng xiǎo-yàng"),
            ("劉德樣", "刘德样"),
            ("单小样", "山晓阳"),  # as a surname it is Shan, never Dan
            ("尉迟小样", "玉池晓阳"),
            ("吕样", "lyu yang"),
            ("吕样", "lü yang"),
            ("王长样", "王常阳"),  # chang or zhang
            ("王长样", "王掌阳"),
            ("maría josé dela cruz", "dela cruz maria jose"),
            ("o'brien, sean", "sean obrien"),
            ("买买提·阿样", "买买提阿洋"),
        ],
    )
    def test_sound_alike(self, one: str, other: str) -> None:
        assert sound_alike(one, other)
        assert sound_alike(other, one)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("王小样", "李小样"),
            ("单小样", "丹小样"),
            ("李安", "连"),
            ("王小样", "wang yang"),
            ("安娜", "ivan"),
            ("王", "·"),
        ],
    )
    def test_do_not_sound_alike(self, one: str, other: str) -> None:
        assert not sound_alike(one, other)

    @pytest.mark.parametrize(("one", "other"), [("王小睛", "王小晴"), ("李己未", "李已末"), ("王小清", "王小睛")])
    def test_look_alike(self, one: str, other: str) -> None:
        assert look_alike(one, other)

    @given(NAMES, NAMES)
    def test_are_alike_from_both_sides(self, one: str, other: str) -> None:
        assert sound_alike(one, other) == sound_alike(other, one)
        assert look_alike(one, other) == look_alike(other, one)

    @given(NAMES, NAMES)
    def test_that_sound_alike_have_a_way_of_writing_in_common(self, one: str, other: str) -> None:
        """So nobody is missed who is looked for by these."""
        if sound_alike(one, other):
            assert sounds(one) & sounds(other)

    def test_without_a_sound_are_like_no_other(self) -> None:
        for silent in ("·", "Иван", "123"):
            assert sounds(silent) == frozenset()
            assert not sound_alike(silent, silent)

    def test_of_any_length_have_few_ways_of_writing(self) -> None:
        assert len(sounds("长重乐行")) <= 4**3
        assert len(sounds("长" * 200)) == 1


class TestTheTable:
    def test_has_each_character_once(self) -> None:
        characters = "".join(LOOK_ALIKES)
        assert len(characters) == len(set(characters))
        assert all(len(group) > 1 for group in LOOK_ALIKES)

    @given(st.sampled_from(LOOK_ALIKES))
    def test_takes_all_of_a_group_for_each_other(self, group: str) -> None:
        assert {shape(character) for character in group} == {group[0]}
