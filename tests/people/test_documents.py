"""Identity documents. Every number here is synthetic: made for a test or printed as an example in a standard."""

from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.people.documents import (
    BIRTH_DATE_INVALID,
    CHECKSUM_WRONG,
    NUMBER_INVALID,
    Document,
    DocumentType,
    check_character,
    lengthen,
    normalise_document,
)
from app.people.findings import Problem

TODAY = date(2026, 2, 15)
RESIDENT = DocumentType.RESIDENT_ID
HK, TAIWAN = DocumentType.HK_MACAU_PERMIT, DocumentType.TAIWAN_PERMIT
FOREIGNER, PASSPORT = DocumentType.FOREIGNER_PERMANENT_RESIDENCE, DocumentType.PASSPORT
INSURANCE = DocumentType.MEDICAL_INSURANCE_CARD


def checked(first_17: str) -> str:
    return first_17 + check_character(first_17)


def accepted(kind: DocumentType, raw: str) -> Document:
    document = normalise_document(kind, raw, TODAY)
    assert isinstance(document, Document), document
    return document


def full_width(text: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in text)


@st.composite
def resident_numbers(draw: st.DrawFn) -> str:
    area = draw(st.sampled_from(["440304", "440309", "110105", "650000", "810000", "820000", "830000"]))
    born = draw(st.dates(date(1800, 1, 1), TODAY))
    return checked(f"{area}{born:%Y%m%d}".replace(" ", "0") + f"{draw(st.integers(0, 999)):03}")


class TestTheCheckCharacter:
    @pytest.mark.parametrize("number", ["11010519491231002X", "440524188001010014"])
    def test_is_that_of_the_examples_of_gb_11643_1999_annex_a(self, number: str) -> None:
        assert check_character(number[:17]) == number[17]

    @given(st.text("0123456789", min_size=17, max_size=17))
    def test_is_iso_7064_mod_11_2(self, first_17: str) -> None:
        # The recursive definition of the standard, instead of the weights of the code.
        product = 0
        for digit in first_17:
            product = (product + int(digit)) * 2 % 11
        assert check_character(first_17) == "0123456789X"[(12 - product) % 11]


class TestAResidentNumber:
    @pytest.mark.parametrize(
        "raw",
        [
            "11010519491231002X",
            "11010519491231002x",
            "110105 19491231 002X",
            "110105-19491231-002x",
            "１１０１０５１９４９１２３１００２Ｘ",
            "１１０１０５１９４９１２３１００２ｘ",
            " 11010519491231002X\n",
            "\u202d11010519491231002X\u202c",
            "110105\u300019491231\u2014002X",
        ],
    )
    def test_is_the_same_however_it_is_written(self, raw: str) -> None:
        document = accepted(RESIDENT, raw)
        assert document.number == "11010519491231002X"
        assert document.comparable == "resident_id:11010519491231002X"
        assert document.notices == ()

    @pytest.mark.parametrize("area", ["440309", "440304", "810000", "820000", "830000", "710000", "659012", "500101"])
    def test_of_a_known_province_passes_without_a_word(self, area: str) -> None:
        assert accepted(RESIDENT, checked(f"{area}19900307123")).notices == ()

    @pytest.mark.parametrize("area", ["000000", "010101", "470101", "840000", "810001", "820104"])
    def test_of_an_unknown_area_passes_with_a_notice(self, area: str) -> None:
        assert [n.code for n in accepted(RESIDENT, checked(f"{area}19900307123")).notices] == ["document_area_unknown"]

    @pytest.mark.parametrize(
        "raw", ["", "X", "1101051949123100", "11010519491231002XX", "X10105194912310021", "1101051949123100２２2",
                "١١٠١٠٥١٩٤٩١٢٣١٠٠٢X", "11010519491231002ⅹ", "11010519491231002\ud800", "1234567890123456"]
    )  # fmt: skip
    def test_of_another_form_is_refused(self, raw: str) -> None:
        assert normalise_document(RESIDENT, raw, TODAY) == NUMBER_INVALID

    @pytest.mark.parametrize(
        "born",
        ["19490230", "19491301", "19490001", "19490100", "17991231", "20260216", "99990101", "00000000", "19000229"],
    )
    def test_with_an_impossible_birth_date_is_refused(self, born: str) -> None:
        assert normalise_document(RESIDENT, checked(f"440304{born}001"), TODAY) == BIRTH_DATE_INVALID

    @pytest.mark.parametrize("born", ["20260215", "18000101", "20000229"])
    def test_with_a_rare_but_real_birth_date_passes(self, born: str) -> None:
        assert accepted(RESIDENT, checked(f"440304{born}001")).born == date.fromisoformat(born)

    @given(resident_numbers(), st.integers(0, 17), st.sampled_from("0123456789X"))
    def test_with_any_one_character_wrong_is_refused(self, number: str, at: int, other: str) -> None:
        assume(number[at] != other)
        assert isinstance(normalise_document(RESIDENT, number[:at] + other + number[at + 1 :], TODAY), Problem)

    @given(resident_numbers(), st.integers(0, 16))
    def test_with_two_neighbours_swapped_is_refused(self, number: str, at: int) -> None:
        assume(number[at] != number[at + 1])
        swapped = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
        assert isinstance(normalise_document(RESIDENT, swapped, TODAY), Problem)

    @given(resident_numbers())
    def test_is_the_same_after_it_was_normalised(self, number: str) -> None:
        once = accepted(RESIDENT, number)
        assert accepted(RESIDENT, once.number) == once
        assert accepted(RESIDENT, full_width(number)) == once
        assert accepted(RESIDENT, number.lower()) == once

    def test_with_a_wrong_check_character_says_so(self) -> None:
        assert normalise_document(RESIDENT, "110105194912310021", TODAY) == CHECKSUM_WRONG

    def test_tells_the_birth_date(self) -> None:
        assert accepted(RESIDENT, "11010519491231002X").born == date(1949, 12, 31)


class TestAnOldNumberOf15Digits:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("110105491231002", "11010519491231002X"),
            ("440304000229001", checked("44030419000229001")),  # refused below: 1900 was no leap year
            ("440524800101997", checked("44052418800101997")),  # 996 to 999: born in the nineteenth century
            ("440524800101995", checked("44052419800101995")),
        ],
    )
    def test_lengthens_by_the_century_rule(self, old: str, new: str) -> None:
        assert lengthen(old) == new

    def test_equals_its_18_character_form(self) -> None:
        old = accepted(RESIDENT, "110105491231002")
        assert old.comparable == accepted(RESIDENT, "11010519491231002X").comparable
        assert [notice.code for notice in old.notices] == ["document_old_form"]

    def test_with_an_impossible_birth_date_is_refused(self) -> None:
        assert normalise_document(RESIDENT, "440304000229001", TODAY) == BIRTH_DATE_INVALID

    @given(st.dates(date(1900, 1, 1), date(1999, 12, 31)), st.integers(0, 995))
    def test_comes_back_when_century_and_check_are_taken_away(self, born: date, sequence: int) -> None:
        old = f"440304{born:%y%m%d}{sequence:03}"
        new = accepted(RESIDENT, old).number
        assert new[:6] + new[8:17] == old
        assert accepted(RESIDENT, new).number == new


class TestAForeignersPermanentResidenceNumber:
    def test_is_18_characters_from_9(self) -> None:
        document = accepted(FOREIGNER, checked("94484019850615001"))
        assert document.born == date(1985, 6, 15)
        assert document.notices == ()

    def test_may_have_the_old_form(self) -> None:
        document = accepted(FOREIGNER, "usa 4401 850615 12")
        assert document.number == "USA440185061512"
        assert [notice.code for notice in document.notices] == ["document_old_form"]
        assert document.born is None

    def test_is_the_same_where_the_till_said_resident(self) -> None:
        number = checked("94484019850615001")
        document = accepted(RESIDENT, number)
        assert document.comparable == accepted(FOREIGNER, number).comparable
        assert [notice.code for notice in document.notices] == ["document_type_doubtful"]

    @pytest.mark.parametrize(
        ("raw", "problem"),
        [
            ("11010519491231002X", NUMBER_INVALID),
            ("948440198506150012", CHECKSUM_WRONG),
            (checked("94484020850615001"), BIRTH_DATE_INVALID),
            ("US4401850615123", NUMBER_INVALID),
            ("", NUMBER_INVALID),
        ],
    )
    def test_of_another_form_is_refused(self, raw: str, problem: Problem) -> None:
        assert normalise_document(FOREIGNER, raw, TODAY) == problem


class TestAPermit:
    @pytest.mark.parametrize("raw", ["H12345678", "h12345678", "H1234567801", "H 1234 5678 02", "Ｈ１２３４５６７８"])
    def test_of_hong_kong_is_the_same_whatever_its_renewals(self, raw: str) -> None:
        assert accepted(HK, raw).comparable == "hk_macau_permit:H12345678"

    @pytest.mark.parametrize("raw", ["M12345678", "HA1234567", "MA1234567", "M1234567800"])
    def test_of_macau_and_of_other_nationals_passes(self, raw: str) -> None:
        assert accepted(HK, raw).number == raw

    @pytest.mark.parametrize("raw", ["C12345678", "12345678", "H1234567", "H123456789", "HA12345678", "HAB234567", ""])
    def test_of_another_form_is_refused(self, raw: str) -> None:
        assert normalise_document(HK, raw, TODAY) == NUMBER_INVALID

    @pytest.mark.parametrize("raw", ["05616820", "0561682001", "0561682001(D)", "0561682002（B）", "0561682001D"])
    def test_of_taiwan_is_the_same_whatever_its_issue(self, raw: str) -> None:
        assert accepted(TAIWAN, raw).comparable == "taiwan_permit:05616820"

    @pytest.mark.parametrize("raw", ["0561682", "056168200", "05616820(D)", "05616820011(D)", "A123456789", ""])
    def test_of_taiwan_of_another_form_is_refused(self, raw: str) -> None:
        assert normalise_document(TAIWAN, raw, TODAY) == NUMBER_INVALID


class TestAPassportOrInsuranceCard:
    @pytest.mark.parametrize(
        ("raw", "number"), [("e12345678", "E12345678"), ("AB 123456", "AB123456"), ("12345", "12345")]
    )
    def test_is_letters_and_digits(self, raw: str, number: str) -> None:
        assert accepted(PASSPORT, raw).comparable == f"passport:{number}"

    @pytest.mark.parametrize("raw", ["", "1234", "ABCDEFGH", "E1234567§", "ﬀ123456", "ß1234567", "１" * 21])
    def test_of_another_form_is_refused(self, raw: str) -> None:
        assert normalise_document(PASSPORT, raw, TODAY) == NUMBER_INVALID

    def test_equals_the_resident_number_that_an_insurance_card_bears(self) -> None:
        assert accepted(INSURANCE, "11010519491231002x").comparable == "resident_id:11010519491231002X"
        assert accepted(INSURANCE, "110105194912310021").comparable == "medical_insurance_card:110105194912310021"
        assert accepted(INSURANCE, "M-0012-3456").comparable == "medical_insurance_card:M00123456"

    def test_of_one_type_never_equals_another(self) -> None:
        assert accepted(PASSPORT, "H12345678").comparable != accepted(HK, "H12345678").comparable


class TestAnyText:
    @given(st.sampled_from(DocumentType), st.text(st.characters(), max_size=40))
    def test_becomes_a_document_or_a_problem(self, kind: DocumentType, raw: str) -> None:
        result = normalise_document(kind, raw, TODAY)
        if isinstance(result, Document):
            again = accepted(kind, result.number)
            assert (again.number, again.comparable) == (result.number, result.comparable)
            assert result.number not in repr(result)

    @given(st.sampled_from(DocumentType), st.text("0123456789HMAXx()9", max_size=20))
    def test_means_the_same_in_full_width(self, kind: DocumentType, raw: str) -> None:
        assert normalise_document(kind, full_width(raw), TODAY) == normalise_document(kind, raw, TODAY)
