"""Phones. Every number here is synthetic or an example number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.people.phones import INVALID, Phone, normalise_phone


def full_width(text: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in text)


class TestAPhone:
    @pytest.mark.parametrize(
        "raw",
        [
            "13800138000",
            "138 0013 8000",
            "138-0013-8000",
            "１３８００１３８０００",
            "+8613800138000",
            "＋８６　１３８－００１３－８０００",
            "+86 138 0013 8000",
            "(+86)13800138000",
            "008613800138000",
            "86-13800138000",
            "013800138000",
            "\u202d13800138000\u202c",
            " 13800138000\t",
            "138\u30fc0013\u30fc8000",
        ],
    )
    def test_of_the_mainland_is_the_same_however_it_is_written(self, raw: str) -> None:
        assert normalise_phone(raw) == Phone("+8613800138000")

    @pytest.mark.parametrize(
        ("raw", "number"),
        [
            ("0755-83001234", "+8675583001234"),
            ("(0755) 8300 1234", "+8675583001234"),
            ("（0755）8300-1234", "+8675583001234"),
            ("+86 755 83001234", "+8675583001234"),
            ("+86 (0)755 83001234", "+8675583001234"),
            ("8675583001234", "+8675583001234"),
            ("010-65001234", "+861065001234"),
            ("021 5500 1234", "+862155001234"),
            ("0662-3301234", "+866623301234"),
            ("+852 9123 4567", "+85291234567"),
            ("85291234567", "+85291234567"),
            ("00852 2123 4567", "+85221234567"),
            ("+853 6612 3456", "+85366123456"),
            ("+886 912 345 678", "+886912345678"),
            ("+886 0912 345 678", "+886912345678"),
            ("886-2-2345-6789", "+886223456789"),
            ("+1 (202) 555-0123", "+12025550123"),
            ("+44 20 7946 0018", "+442079460018"),
            ("0081-3-1234-5678", "+81312345678"),
        ],
    )
    def test_is_written_in_e164(self, raw: str, number: str) -> None:
        assert normalise_phone(raw) == Phone(number)

    @pytest.mark.parametrize(
        "raw",
        [
            "",
            "+",
            "00",
            "0",
            "1380013800",
            "138001380000",
            "12800138000",
            "83001234",  # which area?
            "0755-03001234",
            "0755-830012345",
            "026-55001234",  # no such area
            "400 800 1234",
            "95588",
            "0755-83001234-801",
            "13800138000/13900139000",
            "13800138000 13900139000",
            "+86 12345",
            "+852 1123 4567",
            "+853 6612 345",
            "+0 123 456 789",
            "+123456",
            "+1234567890123456",
            "++8613800138000",
            "١٣٨٠٠١٣٨٠٠٠",
            "①③⑧⓪⓪①③⑧⓪⓪⓪",
            "无",
            "\ud800",
        ],
    )
    def test_of_another_form_is_refused(self, raw: str) -> None:
        assert normalise_phone(raw) == INVALID

    @given(st.text(st.characters(), max_size=40) | st.text("0123456789+- ()86", max_size=20))
    def test_is_the_same_after_it_was_normalised(self, raw: str) -> None:
        result = normalise_phone(raw)
        if isinstance(result, Phone):
            assert normalise_phone(result.number) == result
            assert result.number not in repr(result)

    @given(st.from_regex(r"(\+86|0086|86)?[ -]?1[3-9][0-9]{9}|0[0-9]{9,11}|\+[0-9]{6,16}", fullmatch=True))
    def test_means_the_same_in_full_width(self, raw: str) -> None:
        assert normalise_phone(full_width(raw)) == normalise_phone(raw)
