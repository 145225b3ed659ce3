"""Tables as pharmacies' software and spreadsheets write them. Everybody is synthetic."""

import io
from pathlib import Path
from typing import Any

import pytest

from app.registrations.schemas import RegistrationIn
from app.till.reading import Row, read
from app.till.tables import NAMES, Found, as_answer, read_table

NAMES_OF_ALL = sorted(set(NAMES.values()))

ENGLISH = (
    "client_reference,purchased_at,name,document_type,document_number,phone,address_division,"
    "address,temperature_c,symptoms,mask,code,answer:contact_with_case_14d,item_name,item_quantity,item_trace_codes"
)
CHINESE = (
    "流水号,购药时间(必填),购药人姓名,证件类型,证件号码/document_number,电话,住址区划代码,住址,体温,症状,口罩,健康码,"
    "14天内病例接触史,药品名称,数量,追溯码"
)
LINE = (
    "POS-1,2026-02-15 09:41,王小样,身份证,11010519491231002X,13800138000,440304005,合成花园 3 栋,37.8,发热;cough,是,绿码,否,"
    "布洛芬缓释胶囊,2,81234567890123456789 81234567890123456780"
)
BODY = {
    "client_reference": "POS-1",
    "purchased_at": "2026-02-15T09:41:00+08:00",
    "buyer": {
        "name": "王小样",
        "document": {"type": "resident_id", "number": "11010519491231002X"},
        "phone": "13800138000",
        "address": {"division": "440304005", "line": "合成花园 3 栋"},
    },
    "temperature_c": 37.8,
    "symptoms": ["fever", "cough"],
    "checks": {"mask": True, "code": "green"},
    "answers": {"contact_with_case_14d": False},
    "items": [
        {
            "name": "布洛芬缓释胶囊",
            "quantity": 2,
            "trace_codes": ["81234567890123456789", "81234567890123456780"],
        }
    ],
}


def table(*lines: str) -> list[Found]:
    return list(read_table(io.StringIO("\r\n".join(lines), newline="")))


def one(header: str, line: str) -> dict[str, Any]:
    [found] = table(header, line)
    assert found.body is not None, found
    return found.body


class TestALine:
    @pytest.mark.parametrize("header", [ENGLISH, CHINESE])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
    def test_becomes_the_body_of_a_registration(self, header: str, encoding: str, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(f"{header}\r\n{LINE}\r\n".encode(encoding))
        [row] = read(path, "a.CSV")
        assert isinstance(row, Row)
        assert (row.line, row.body) == (2, BODY)
        RegistrationIn.model_validate(row.body)

    @pytest.mark.parametrize(
        ("written", "sent"),
        [
            ("2026-02-15T09:41:07+08:00", "2026-02-15T09:41:07+08:00"),
            ("2026-02-15T01:41:07Z", "2026-02-15T01:41:07Z"),
            ("2026/2/5 9:41:07", "2026-02-05T09:41:07+08:00"),
            ("2026-02-15 09:41", "2026-02-15T09:41:00+08:00"),
            ("2026年2月15日 9时41分", "2026-02-15T09:41:00+08:00"),
            ("15.2.2026", "15.2.2026"),
        ],
    )
    def test_says_when_in_any_usual_way(self, written: str, sent: str) -> None:
        assert one("purchased_at,item_quantity", f"{written},1")["purchased_at"] == sent

    @pytest.mark.parametrize(("written", "sent"), [("3", 3), ("3 盒", 3), ("1.5", "1.5"), ("two", "two"), ("", None)])
    def test_leaves_to_the_service_to_judge_what_is_no_number(self, written: str, sent: object) -> None:
        item = (one("purchased_at,item_name,item_quantity", f"x,合成,{written}"))["items"][0]
        assert item.get("quantity") == sent

    def test_gives_several_choices_as_a_list(self) -> None:
        written = ("home、Park", "home|park|", "14 days", "3", "是")
        assert [as_answer(text) for text in written] == [["home", "park"], ["home", "park"], "14 days", 3, True]

    def test_keeps_the_zeros_of_codes(self) -> None:
        assert one("purchased_at,item_gtin,phone", "x,0690123456789,013800138000") == {
            "purchased_at": "x",
            "buyer": {"phone": "013800138000"},
            "items": [{"gtin": "0690123456789"}],
        }

    def test_without_a_patient_names_none(self) -> None:
        assert "patient" not in one("purchased_at,patient_name,patient_phone", "x,,")
        assert one("purchased_at,patient_name,patient_temperature_c", "x,合成,38")["patient"] == {
            "name": "合成",
            "temperature_c": 38.0,
        }


class TestLinesWithOneReference:
    def test_are_items_of_one_purchase(self) -> None:
        found = table("流水号,购药时间,购药人姓名,药品名称", "A,x,合成,甲", "A,x,合成,乙", "A,,,丙", "B,x,合成,丁")
        assert [(f.line, [i["name"] for i in (f.body or {})["items"]]) for f in found] == [
            (2, ["甲", "乙", "丙"]),
            (5, ["丁"]),
        ]

    def test_that_contradict_each_other_are_two_rows(self) -> None:
        assert len(table("client_reference,purchased_at,name,item_name", "A,x,合成,甲", "A,x,另一,乙")) == 2

    def test_that_are_none_are_never_merged(self) -> None:
        assert len(table("purchased_at,item_name", "x,甲", "x,甲")) == 2


class TestATable:
    def test_may_have_comments_empty_lines_and_commas_at_the_end(self) -> None:
        found = table("# exported", "", "purchased_at,item_quantity,,", "x,1,,", ",,,", "# end")
        assert [f.line for f in found] == [4]

    @pytest.mark.parametrize(
        "header", ["name,quantity", "purchased_at,favourite_colour", "purchased_at,购药时间", "a", "name"]
    )
    def test_with_another_header_is_told_as_a_whole(self, header: str) -> None:
        found = table(header, "x,1", "y,2")
        assert [(f.line, f.code) for f in found] == [(1, "columns_unknown")]

    def test_with_a_line_that_is_too_long_is_read_on(self) -> None:
        found = table("purchased_at,item_quantity", "x,1", "x,1,2", "x,1")
        assert [(f.line, f.code) for f in found] == [(2, ""), (3, "malformed_csv"), (4, "")]

    @pytest.mark.parametrize("bad", ['x,"open', 'x,"a"b', "x," + "y" * 20_000])
    def test_with_broken_csv_tells_where(self, bad: str) -> None:
        found = table("purchased_at,item_quantity", "x,1", bad)
        assert [(f.line, f.code) for f in found] == [(2, ""), (3, "malformed_csv")]
        assert "Lines 3 to" in found[1].detail

    def test_loses_only_so_many_lines_to_an_open_quotation_mark(self) -> None:
        found = table("purchased_at,item_quantity", "x,1", 'x,"open', *["x,1"] * 20_000)
        assert found[1].code == "malformed_csv"
        assert len(found) > 15_000


class TestItemsBesideEachOther:
    def test_are_items_of_one_purchase(self) -> None:
        body = one("purchased_at,药品名称,数量,药品名称2,数量2,item3_gtin,备注", "x,甲,1,乙,2,,something")
        assert body["items"] == [{"name": "甲", "quantity": 1}, {"name": "乙", "quantity": 2}]


class TestTheWords:
    def test_all_have_a_place(self) -> None:
        found = table(",".join(NAMES_OF_ALL), ",".join("x" for _ in NAMES_OF_ALL))
        assert found[0].body is not None
