"""Case lists as files: what authorities have, again and again, with overlaps."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from app.cases.columns import plan_of
from app.core.database import Database
from app.core.sealing import Keyring
from app.core.sheets import Record, SheetUnreadable
from app.core.workbooks import XLSX
from app.imports.refusals import ERRORS_COLUMN
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, load_divisions
from tests.imports.tables import Desk, as_csv, as_xlsx, counts, import_worker, problems, rows_of_xlsx

PATH = "/v1/cases/import"
HEADER = ["报告单位", "病例编号", "病种", "病例分类", "行政区划", "姓名", "证件号码", "电话", "发病日期", "确诊时间"]


def a_row(number: int = 1, **members: str) -> list[str]:
    """A row under `HEADER` about a confirmed case; the identity is synthetic."""
    row = {
        "报告单位": "440304-CDC",
        "病例编号": f"SYN-{number:04d}",
        "病种": "covid-19",
        "病例分类": "确诊病例",
        "行政区划": "440304005",
        "姓名": "王小样",
        "证件号码": "11010519491231002X",
        "电话": "13800138000",
        "发病日期": "2026-02-14",
        "确诊时间": "2026-02-17 20:10",
    }
    return list((row | members).values())


def suspected(number: int = 1, **members: str) -> list[str]:
    return a_row(number, **{"病例分类": "疑似病例", "确诊时间": ""} | members)


@pytest.fixture
async def desk(database: Database, client_for: Clients, keyring: Keyring, clock: SettableClock) -> Desk:
    """The clerk of a district's health authority."""
    clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
    await load_divisions(database)
    http = client_for(await keys.token(database, "health_authority", FUTIAN))
    return Desk(http, import_worker(database, keyring, clock), PATH)


async def bring(desk: Desk, *rows: list[str], **query: Any) -> dict[str, Any]:
    return await desk.bring_rows(*rows, header=HEADER, **query)


async def cases(desk: Desk) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await desk.http.get("/v1/cases")).json()["items"]
    return sorted(items, key=lambda case: str(case["case_number"]))


class TestAList:
    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (as_csv([HEADER, a_row(1), suspected(2)]), "text/csv"),
            (as_csv([HEADER, a_row(1), suspected(2)]).decode().encode("gb18030"), "text/csv"),
            (as_xlsx([HEADER, a_row(1), suspected(2)]), XLSX),
            (
                as_csv(
                    [
                        [
                            "authority",
                            "case_number",
                            "disease",
                            "classification",
                            "division",
                            "name",
                            "document_number",
                            "phone",
                            "onset_on",
                            "confirmed_at",
                        ],
                        a_row(1, 病例分类="confirmed", 确诊时间="2026-02-17T12:10:00Z", 发病日期="2026/2/14"),
                        suspected(2, 病例分类="suspected", 发病日期="2026年2月14日"),
                    ]
                ),
                "text/csv",
            ),
        ],
        ids=["utf-8", "gb18030", "xlsx", "english"],
    )
    async def test_in_any_usual_form_is_recorded_alike(self, desk: Desk, content: bytes, kind: str) -> None:
        told = await desk.bring(content, kind)
        assert (told["kind"], told["result"], told["errors"], counts(told)) == ("cases", "complete", [], {"created": 2})
        one, other = await cases(desk)
        assert (one["classification"], one["confirmed_at"], one["onset_on"]) == (
            "confirmed",
            "2026-02-17T12:10:00Z",
            "2026-02-14",
        )
        assert (other["classification"], other["confirmed_at"]) == ("suspected", None)

    async def test_comes_again_and_again_with_overlaps(self, desk: Desk, database: Database) -> None:
        first = [suspected(1), suspected(2, 电话=""), a_row(3)]
        second = [suspected(2), a_row(3), a_row(1), a_row(4)]
        assert counts(await bring(desk, *first)) == {"created": 3}
        assert counts(await bring(desk, *second)) == {"created": 1, "updated": 2, "duplicate": 1}
        assert counts(await bring(desk, *second)) == {"duplicate": 4}
        # An old list after a newer one: what it lacks it does not take away, what it would lower it does not lower.
        old = await bring(desk, *first)
        assert (old["result"], counts(old)) == ("partial", {"duplicate": 2, "conflict": 1})
        assert problems(old) == [(2, "病例分类", "case_would_downgrade")]
        state = [(case["case_number"], case["classification"], len(case["history"])) for case in await cases(desk)]
        assert state == [
            ("SYN-0001", "confirmed", 2),
            ("SYN-0002", "suspected", 1),
            ("SYN-0003", "confirmed", 1),
            ("SYN-0004", "confirmed", 1),
        ]
        async with database.transaction() as session:
            followed = await session.scalar(text("SELECT count(*) FROM jobs WHERE kind = 'cases.changed'"))
        assert followed == 2  # the lists that changed something, and no other

    async def test_says_the_same_as_a_batch(self, desk: Desk) -> None:
        body = {
            "authority": "440304-CDC",
            "case_number": "SYN-0001",
            "disease": "covid-19",
            "classification": "confirmed",
            "person": {
                "name": "王小样",
                "document": {"type": "resident_id", "number": "11010519491231002X"},
                "phone": "13800138000",
            },
            "onset_on": "2026-02-14",
            "confirmed_at": "2026-02-17T20:10:00+08:00",
            "division": "440304005",
        }
        assert counts(await bring(desk, a_row())) == {"created": 1}
        assert (await desk.http.post("/v1/cases/batch", json=[body])).json()["duplicate"] == 1

    async def test_may_tell_when_somebody_was_born_but_nothing_else_than_the_document(self, desk: Desk) -> None:
        rows = [[*a_row(1), "1949-12-31"], [*a_row(2, 证件号码=""), "1950年1月2日"], [*a_row(3), "1950-01-02"]]
        told = await desk.bring_rows(*rows, header=[*HEADER, "出生日期"])
        assert counts(told) == {"created": 2, "invalid": 1}
        assert problems(told) == [(4, "出生日期", "birth_date_contradicts_document")]

    async def test_is_taken_in_its_order_however_long_it_is(self, desk: Desk) -> None:
        between = [suspected(number) for number in range(2, 1_102)]
        told = await bring(desk, suspected(1), *between, a_row(1))
        assert (told["errors"], counts(told)) == ([], {"created": 1_101, "updated": 1})

    async def test_tells_each_wrong_cell_by_line_and_header(self, desk: Desk) -> None:
        await bring(desk, a_row(1))
        told = await bring(
            desk,
            a_row(2, 病例分类="也许"),
            a_row(3, 发病日期="2026-02-30"),
            a_row(4, 确诊时间="2026-02-17"),
            a_row(5, 确诊时间="2026-02-17 00:00:00"),
            a_row(6, 证件号码="1.10105E+17"),
            a_row(7, 行政区划="440303"),
            a_row(8, 行政区划="99"),
            suspected(9, 确诊时间="2026-02-17 20:10"),
            a_row(10, 病例编号="11010519491231002X"),
            a_row(11, 姓名="", 证件号码="", 电话=""),
            a_row(1, 发病日期="2026-02-13"),
            a_row(12, 证件号码="110105194912310021"),
            a_row(13, 报告单位="福田疾控"),
        )
        assert counts(told) == {"invalid": 12, "conflict": 1}
        assert problems(told) == [
            (2, "病例分类", "value_unknown"),
            (3, "发病日期", "date_format"),
            (4, "确诊时间", "time_missing"),
            (5, "确诊时间", "time_missing"),
            (6, "证件号码", "cell_must_be_text"),
            (7, "行政区划", "out_of_division"),
            (8, "行政区划", "division_unknown"),
            (9, "确诊时间", "confirmed_at_not_allowed"),
            (10, "病例编号", "case_number_contains_identity"),
            (11, "姓名", "identity_missing"),
            (12, "病例编号", "case_conflict"),
            (13, "证件号码", "document_checksum_wrong"),
            (14, "报告单位", "string_pattern_mismatch"),
        ]
        answer = await desk.refusals(told["id"])
        assert "病例编号: 此病例编号已有不同内容 (case_conflict)" in answer.text
        assert "行政区划: 不在您的辖区内 (out_of_division)" in answer.text
        assert "报告单位: 格式不符:只能用代码 (string_pattern_mismatch)" in answer.text

    @pytest.mark.parametrize("kind", ["text/csv", XLSX])
    async def test_is_whole_once_what_was_refused_is_corrected(self, desk: Desk, kind: str) -> None:
        table = [HEADER, a_row(1), a_row(2, 病例分类="也许")]
        told = await desk.bring(as_xlsx(table) if kind == XLSX else as_csv(table), kind)
        refused = (await desk.refusals(told["id"])).content
        if kind == XLSX:
            fixed = as_xlsx([[cell.replace("也许", "确诊") for cell in row] for row in rows_of_xlsx(refused)])
        else:
            fixed = refused.replace("也许".encode(), "确诊".encode())
        last = await desk.bring(fixed, kind)
        assert (last["result"], counts(last)) == ("complete", {"created": 1})

    async def test_in_a_dry_run_is_judged_and_not_kept(self, desk: Desk, database: Database) -> None:
        told = await bring(desk, a_row(1), a_row(2, 病例分类="也许"), dry_run=True)
        assert (told["dry_run"], counts(told)) == (True, {"created": 1, "invalid": 1})
        async with database.transaction() as session:
            for table in ("cases", "people", "jobs"):
                assert await session.scalar(text(f"SELECT count(*) FROM {table}")) == 0

    async def test_is_never_plain_at_rest(self, desk: Desk, database: Database) -> None:
        await desk.upload(as_csv([HEADER, a_row(1), a_row(2, 病例分类="也许")]))
        for _ in range(2):
            async with database.transaction() as session:
                for table in ("imports", "import_pieces", "import_chunks", "jobs", "audit_entries"):
                    content = str(
                        await session.scalar(text(f"SELECT string_agg(to_jsonb(t)::text, '') FROM {table} t"))
                    )
                    for secret in ("王小样", "110105", "13800138000", "王小样".encode().hex()):
                        assert secret not in content
            await desk.worker.drain()


class TestTheDoor:
    async def test_is_for_the_authority_and_its_own_lists(
        self, desk: Desk, database: Database, client_for: Clients
    ) -> None:
        told = await bring(desk, a_row(1))
        other = client_for(await keys.token(database, "health_authority", LUOHU, name="Synthetic neighbour"))
        assert (await other.get(f"/v1/imports/{told['id']}")).status_code == 404
        for role in ("epidemiologist", "official", "auditor"):
            someone = client_for(await keys.token(database, role, FUTIAN))
            for answer in (
                await someone.post(PATH, content=b"", headers={"Content-Type": "text/csv"}),
                await someone.get(f"{PATH}/template"),
                await someone.get(f"/v1/imports/{told['id']}"),
            ):
                assert answer.status_code == 403

    async def test_judges_rows_by_the_division_of_whoever_handed_them_in(
        self, desk: Desk, database: Database, client_for: Clients
    ) -> None:
        neighbour = Desk(
            client_for(await keys.token(database, "health_authority", LUOHU, name="Synthetic neighbour")),
            desk.worker,
            PATH,
        )
        answer = await neighbour.upload(as_csv([HEADER, a_row(1)]))
        told = await bring(desk, a_row(2))  # the same worker works on both
        assert counts(told) == {"created": 1}
        theirs = await neighbour.look(answer.json()["id"])
        assert problems(theirs) == [(2, "行政区划", "out_of_division")]

    @pytest.mark.parametrize(
        "header",
        [HEADER[1:], [*HEADER[:5], *HEADER[8:]], [*HEADER, "病例号"], [*HEADER, "体重"]],
        ids=["no authority", "nobody", "twice", "unknown"],
    )
    async def test_refuses_a_table_of_another_kind(self, desk: Desk, header: list[str]) -> None:
        answer = await desk.upload(as_csv([header, a_row(1)]))
        assert (answer.status_code, answer.json()["code"]) == (422, "sheet_unreadable")

    @pytest.mark.parametrize("written", ["csv", "xlsx"])
    async def test_hands_out_a_template_that_comes_back_without_harm(self, desk: Desk, written: str) -> None:
        answer = await desk.http.get(f"{PATH}/template", params={"format": written})
        assert answer.headers["content-disposition"] == f'attachment; filename="cases.{written}"'
        told = await desk.bring(answer.content, answer.headers["content-type"])
        assert (told["result"], counts(told)) == ("no_rows", {"skipped": 1})

    async def test_takes_a_row_like_the_sample(self, desk: Desk) -> None:
        rows = rows_of_xlsx((await desk.http.get(f"{PATH}/template")).content)
        told = await desk.bring_workbook([*rows, [rows[1][0].removeprefix("#示例 "), *rows[1][1:]]])
        assert (told["errors"], counts(told)) == ([], {"created": 1, "skipped": 1})


class TestAHeader:
    def test_may_be_that_of_the_national_report_card(self) -> None:
        header = ["卡片编号", "患者姓名", "性别", "有效证件号", "联系电话", "现住详细地址", "病例分类", "发病日期"]
        plan = plan_of([*header, "疾病名称", "报告单位", "区划代码", ERRORS_COLUMN], ERRORS_COLUMN)
        values = ["SYN-1", "王小样", "男", "11010519491231002X", "13800138000", "合成路 1 号", "疑似病例"]
        body = plan.content_of(Record(2, [*values, "2026-02-14", "登革热", "440304-CDC", "440304"]))
        assert body == {
            "case_number": "SYN-1",
            "person": {
                "name": "王小样",
                "document": {"number": "11010519491231002X"},
                "phone": "13800138000",
                "address": {"line": "合成路 1 号"},
            },
            "classification": "suspected",
            "onset_on": date(2026, 2, 14),
            "disease": "dengue",
            "authority": "440304-CDC",
            "division": "440304",
        }

    def test_that_is_not_known_is_not_repeated(self) -> None:
        with pytest.raises(SheetUnreadable) as refused:
            plan_of([*HEADER, "13800138000"], ERRORS_COLUMN)
        assert "13800138000" not in str(refused.value.detail)
