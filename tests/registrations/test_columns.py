from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.clock import CHINA
from app.core.errors import FieldError
from app.core.sheets import Record, SheetUnreadable
from app.imports import cells
from app.imports.cells import CellWrong
from app.registrations.cells import answer, celsius, quantity, symptoms, yes_or_no
from app.registrations.columns import Body, body_of, name_of, plan_of, template
from app.registrations.schemas import RegistrationIn

IGNORED = "错误原因/errors"
LEAST = ["购药时间", "姓名", "药品名称"]
MOMENT = datetime(2026, 2, 15, 9, 41, tzinfo=CHINA)


def body(header: Sequence[str], *row: str) -> Any:
    found = body_of(plan_of(header, IGNORED), Record(2, list(row)))
    return found.content if isinstance(found, Body) else [(one.column, one.code) for one in found]


class TestAHeader:
    @pytest.mark.parametrize(
        ("header", "name"),
        [
            ("小票号", "client_reference"),
            ("Client_Reference", "client_reference"),
            ("小票号/client_reference", "client_reference"),
            ("体温（℃）*", "temperature_c"),
            (" 证件 号码 ", "document_number"),
            ("药品名称2", "item2_name"),
            ("item_name", "item1_name"),
            ("answer:mosquito_bites_14d", "answer:mosquito_bites_14d"),
            ("姓名/电话", None),
            ("价格", None),
        ],
    )
    def test_is_known_by_several_names(self, header: str, name: str | None) -> None:
        assert name_of(header) == name

    @pytest.mark.parametrize(
        "header",
        [["姓名", "药品名称"], ["购药时间", "药品名称"], ["购药时间", "姓名"], [*LEAST, "price"], [*LEAST, "name"]],
        ids=["no time", "nobody", "no drug", "unknown", "twice"],
    )
    def test_without_what_every_row_needs_is_refused(self, header: list[str]) -> None:
        with pytest.raises(SheetUnreadable):
            plan_of(header, IGNORED)

    def test_of_the_template_is_known(self) -> None:
        header, sample = template()
        assert len(plan_of([*header, IGNORED], IGNORED).columns) == len(header) == len(sample)


class TestARow:
    def test_becomes_a_purchase(self) -> None:
        header, sample = template()
        content = body(header, "POS-1", *sample[1:])
        row = RegistrationIn.model_validate(content)
        assert (row.purchased_at, row.buyer.name, row.items[0].name) == (MOMENT, "王小样", "布洛芬缓释胶囊")
        assert (row.symptoms, row.checks and row.checks.code) == (["cough", "sore_throat"], "green")
        assert row.answers == {"stay_in_affected_area_14d": False, "contact_with_case_14d": False}
        assert row.patient is None

    def test_may_have_several_items_and_a_patient(self) -> None:
        header = [*LEAST, "数量", "药品名称3", "追溯码3", "用药人姓名", "用药人体温"]
        code = "8" * 20
        found = body(header, "2026-02-15 09:41", "甲样", "A", "2盒", "B", f"{code}、{code}", "乙样", "38.2℃")
        assert found["items"] == [{"name": "A", "quantity": 2}, {"name": "B", "trace_codes": [code, code]}]
        assert found["patient"] == {"name": "乙样", "temperature_c": "38.2"}

    def test_without_anything_but_a_document_type_has_no_document(self) -> None:
        assert body([*LEAST, "证件类型"], "2026-02-15 09:41", "甲样", "A", "身份证")["buyer"] == {"name": "甲样"}

    def test_tells_what_is_wrong_with_each_cell(self) -> None:
        header = [*LEAST, "证件号码", "体温", "症状", "健康码", "数量"]
        assert body(header, "2026/2/15", "=A1", "A", "1.10105E+17", "hot", "咳嗽、愁", "蓝", "many") == [
            ("购药时间", "time_missing"),
            ("姓名", "formula"),
            ("证件号码", "cell_must_be_text"),
            ("体温", "temperature_expected"),
            ("症状", "value_unknown"),
            ("健康码", "value_unknown"),
            ("数量", "number_expected"),
        ]

    def test_with_more_cells_than_the_header_is_not_guessed_at(self) -> None:
        assert body(LEAST, "2026-02-15 09:41", "甲样", "A", "") != [("", "too_many_cells")]
        assert body(LEAST, "2026-02-15 09:41", "甲样", "A", "B") == [("", "too_many_cells")]
        assert body_of(plan_of(LEAST, IGNORED), Record(2, ["x"], broken=True))[0].code == "row_unreadable"  # type: ignore[index]

    @pytest.mark.parametrize(
        ("pointer", "column"),
        [
            ("/buyer/document/number", "身份证号"),
            ("/buyer/document", "身份证号"),
            ("/buyer", "姓名"),
            ("/items/1/name", "药品名称3"),
            ("/items/1", "药品名称3"),
            ("/answers/contact_with_case_14d", "接触史"),
            ("/symptoms/1", "症状"),
            ("/pharmacy_id", ""),
        ],
    )
    def test_is_told_by_its_own_headers(self, pointer: str, column: str) -> None:
        plan = plan_of([*LEAST, "身份证号", "药品名称3", "接触史", "症状"], IGNORED)
        [told] = plan.complaints(7, [FieldError(pointer, "code", "detail")], [0, 2])
        assert (told.line, told.column) == (7, column)


class TestACell:
    @pytest.mark.parametrize(
        "text",
        [
            "2026-02-15 09:41",
            "2026-02-15T09:41:00",
            "2026-02-15T09:41:00+08:00",
            "2026-02-15T01:41:00Z",
            "2026/2/15 9:41",
            "2026.2.15 9:41:00",
            "2026年2月15日 9时41分",
            "2026年2月15日9:41",
            "２０２６／２／１５　９：４１",
            "2026/2/15 上午 9:41",
        ],
    )
    def test_says_when_in_many_ways(self, text: str) -> None:
        assert cells.instant(text) == MOMENT

    def test_knows_the_afternoon(self) -> None:
        assert cells.instant("2026/2/15 下午9:41") == MOMENT.replace(hour=21)

    @pytest.mark.parametrize("text", ["15/02/2026 09:41", "46068.4", "2026-02-30 09:41", "2026-02-15 25:00", "soon"])
    def test_that_says_no_time_is_not_guessed_at(self, text: str) -> None:
        with pytest.raises(CellWrong) as wrong:
            cells.instant(text)
        assert wrong.value.code == "time_format"

    def test_keeps_all_digits_of_a_number_that_is_a_name(self) -> None:
        assert cells.code("１１０１０５１９４９１２３１００２Ｘ") == "11010519491231002X"
        assert cells.code("13800138000.0") == "13800138000"
        for lost in ("1.10105E+17", "6.9221E+12", "1e17"):
            with pytest.raises(CellWrong):
                cells.code(lost)

    def test_answers_in_several_ways(self) -> None:
        assert [answer(text) for text in ("是", "否", "3", "-1", "Green")] == [True, False, 3, -1, "green"]
        assert [answer(text) for text in ("home、Park", "home|park|", "14 days", "|")] == [
            ["home", "park"],
            ["home", "park"],
            "14 days",
            [],
        ]
        assert [yes_or_no(text) for text in ("√", "0", "Yes")] == [True, False, True]

    @settings(max_examples=100)
    @given(text=st.text(min_size=1, max_size=20))
    def test_is_read_or_complained_about(self, text: str) -> None:
        for read in (
            cells.instant,
            cells.code,
            cells.codes,
            quantity,
            celsius,
            symptoms,
            answer,
        ):
            with suppress(CellWrong):
                read(text)
