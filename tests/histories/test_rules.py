"""Searches and purposes. Everybody here is synthetic."""

from datetime import date
from typing import Any

import pytest

from app.core.errors import FieldError
from app.histories.rules import Wanted, judge_purpose, read_search
from app.histories.schemas import BuyerSearchIn, SearchField

TODAY = date(2026, 2, 15)
NUMBER = "11010519491231002X"
PERSON = {
    "name": "王小明",
    "document": {"type": "resident_id", "number": NUMBER},
    "phone": "13800138000",
}


def read(**members: Any) -> Wanted | list[FieldError]:
    return read_search(BuyerSearchIn.model_validate({"purpose": "synthetic"} | members), TODAY)


def faults(**members: Any) -> list[tuple[str, str]]:
    found = read(**members)
    assert isinstance(found, list), found
    return [(fault.pointer, fault.code) for fault in found]


class TestASearch:
    def test_holds_what_was_given_normalised(self) -> None:
        wanted = read(phone="+86 138-0013-8000", document={"type": "resident_id", "number": "110105491231002"})
        assert isinstance(wanted, Wanted)
        assert wanted.fields == (SearchField.DOCUMENT, SearchField.PHONE)
        assert wanted.person.identity.document_number == NUMBER
        assert wanted.person.identity.phone == "+8613800138000"

    @pytest.mark.parametrize("members", [{}, {"name": None, "document": None, "phone": None}])
    def test_for_nobody_is_refused(self, members: dict[str, None]) -> None:
        assert faults(**members) == [("", "identity_missing")]

    def test_points_to_everything_that_is_malformed(self) -> None:
        wrong = {"type": "resident_id", "number": "110105194912310021"}
        assert faults(document=wrong, phone="123") == [
            ("/document/number", "document_checksum_wrong"),
            ("/phone", "phone_invalid"),
        ]

    @pytest.mark.parametrize(
        ("members", "pointer"),
        [
            ({"name": " "}, "/name"),
            ({"name": "---"}, "/name"),
            ({"phone": ""}, "/phone"),
            ({"document": {"type": "passport", "number": "　"}}, "/document/number"),
        ],
    )
    def test_does_not_drop_an_empty_condition(self, members: dict[str, Any], pointer: str) -> None:
        assert faults(**members) == [(pointer, "empty")]
        other = {} if "phone" in members else {"phone": "13800138000"}
        assert faults(**other, **members) == [(pointer, "empty")]


class TestAPurpose:
    @pytest.mark.parametrize(
        "purpose",
        [
            f"contact tracing of {NUMBER}",
            f"contact tracing of {NUMBER.lower()}",
            "contact tracing of 110105 19491231 002X",
            "contact tracing of １１０１０５１９４９１２３１００２Ｘ",
            "contact tracing of 110105491231002, old card",
            "call 138-0013-8000",
            "call 0086 138 0013 8000",
            "contact tracing of 王小明",
            "追踪王 小 明的密切接触者",
        ],
    )
    def test_must_not_name_the_person(self, purpose: str) -> None:
        wanted = read(**PERSON)
        assert isinstance(wanted, Wanted)
        [fault] = judge_purpose(purpose, [wanted.person.identity])
        assert (fault.pointer, fault.code) == ("/purpose", "purpose_contains_identity")
        assert "王小明" not in fault.detail

    @pytest.mark.parametrize(
        "purpose", ["contact tracing of case 2026-0217-001", "流调:病例 2026-0217-001", "calls to 139 0013 9000"]
    )
    def test_may_say_anything_else(self, purpose: str) -> None:
        wanted = read(**PERSON)
        assert isinstance(wanted, Wanted)
        assert judge_purpose(purpose, [wanted.person.identity]) == []

    @pytest.mark.parametrize(("name", "refused"), [("SMITH, Ann", True), ("Li", False), ("王", False), ("高明", True)])
    def test_of_a_short_name_is_given_the_benefit_of_the_doubt(self, name: str, refused: bool) -> None:
        wanted = read(name=name)
        assert isinstance(wanted, Wanted)
        purpose = "policy of 国王 for smith,  ann in 高明区"
        assert bool(judge_purpose(purpose, [wanted.person.identity])) is refused
