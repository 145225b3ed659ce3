"""Files of purchases through the till's doors."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.core.sealing import Keyring
from app.core.workbooks import XLSX
from app.imports.importers import Importers
from app.imports.rows import start_work
from app.imports.service import purge_imports
from app.imports.working import Work
from app.registrations.imports import RegistrationImporter
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.world import World
from tests.imports.tables import (
    HEADER,
    PATH,
    Desk,
    a_row,
    as_csv,
    as_xlsx,
    counts,
    import_worker,
    problems,
    rows_of_xlsx,
)

GOOD = [a_row(1), a_row(2)]
LOST = a_row(3, 证件号码="1.10105E+17")
LOST_NUMBER = "11010519491231002X"
HOT = a_row(4, 体温="hot")


async def scalar(database: Database, query: str) -> object:
    async with database.transaction() as session:
        return await session.scalar(text(query))


class TestAFile:
    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (as_csv([HEADER, *GOOD]), "text/csv"),
            ("\ufeff".encode() + as_csv([HEADER, *GOOD]), "text/csv; charset=utf-8"),
            (as_csv([HEADER, *GOOD]).decode().encode("gb18030"), "text/csv"),
            (as_csv([HEADER, *GOOD], "\t").decode().encode("utf-16"), "text/plain"),
            (as_csv([HEADER, *GOOD], ";"), "application/octet-stream"),
            (b"sep=;\r\n" + as_csv([HEADER, *GOOD], ";"), "text/csv"),
            (as_xlsx([HEADER, *GOOD]), XLSX),
        ],
        ids=["utf-8", "with mark", "gb18030", "unicode text", "semicolons", "excel's hint", "xlsx"],
    )
    async def test_in_any_usual_form_is_recorded(self, desk: Desk, content: bytes, kind: str) -> None:
        told = await desk.bring(content, kind)
        assert (told["state"], told["result"], told["percent"], told["errors"]) == ("finished", "complete", 100, [])
        assert counts(told) == {"created": 2}

    async def test_is_answered_before_it_is_worked_through(self, desk: Desk) -> None:
        answer = await desk.upload(as_csv([HEADER, a_row()]))
        told = answer.json()
        assert (answer.status_code, told["state"], told["result"], told["rows"]["read"]) == (202, "waiting", None, 0)

    async def test_is_recorded_by_the_rules_of_the_till(self, desk: Desk, world: World) -> None:
        till = await desk.http.post("/v1/registrations", json=world.purchase(client_reference="SYN-000001"))
        assert till.status_code == 201
        told = await desk.bring_rows(
            a_row(1, 购药时间="2026-02-15 09:41:07"), a_row(2, 药品名称="牙刷"), a_row(5, 购药时间="2025-12-01 09:41")
        )
        assert counts(told) == {"duplicate": 1, "not_required": 1, "invalid": 1}
        assert problems(told) == [(4, "购药时间", "purchased_too_long_ago")]

    async def test_again_is_all_duplicates_also_without_references(self, desk: Desk) -> None:
        header = HEADER[1:]
        rows = [a_row(1)[1:], a_row(2, 姓名="李小样")[1:]]
        assert counts(await desk.bring_rows(*rows, header=header)) == {"created": 2}
        assert counts(await desk.bring_rows(*rows[::-1], header=header)) == {"duplicate": 2}
        changed = a_row(1, 购药时间="2026/2/15 9:41", 体温="36.60")[1:]
        assert counts(await desk.bring_rows(changed, header=header)) == {"duplicate": 1}

    async def test_tells_each_wrong_cell_by_line_and_header(self, desk: Desk) -> None:
        told = await desk.bring_rows(a_row(1), LOST, HOT, a_row(1, 姓名="李小样"), ["x", "y"])
        assert (told["result"], counts(told)) == ("partial", {"created": 1, "conflict": 1, "invalid": 3})
        assert problems(told) == [
            (3, "证件号码", "cell_must_be_text"),
            (4, "体温", "temperature_expected"),
            (5, "小票号", "client_reference_conflict"),
            (6, "购药时间", "time_format"),
        ]

    async def test_with_a_broken_line_loses_that_line_only(self, desk: Desk) -> None:
        content = as_csv([HEADER, a_row(1)]) + b'a,"b"c\r\n' + as_csv([a_row(2)])
        told = await desk.bring(content)
        assert counts(told) == {"created": 2, "invalid": 1}
        assert problems(told) == [(3, "", "row_unreadable")]

    @pytest.mark.parametrize("kind", ["text/csv", XLSX])
    async def test_without_rows_is_never_a_success(self, desk: Desk, kind: str) -> None:
        table = [HEADER]
        told = await desk.bring(as_xlsx(table) if kind == XLSX else as_csv(table), kind)
        assert (told["result"], told["rows"]["read"]) == ("no_rows", 0)

    async def test_of_refused_rows_alone_says_so(self, desk: Desk) -> None:
        assert (await desk.bring_rows(LOST))["result"] == "refused"
        assert (await desk.bring_rows(a_row(药品名称="牙刷")))["result"] == "not_required"

    async def test_of_many_thousand_rows_is_recorded_in_parts(self, desk: Desk, database: Database) -> None:
        told = await desk.bring_rows(*(a_row(number) for number in range(2_500)))
        assert counts(told) == {"created": 2_500}
        assert await scalar(database, "SELECT count(*) FROM import_chunks") == 3

    @pytest.mark.parametrize("kind", ["text/csv", XLSX])
    async def test_shows_how_far_it_is(
        self, desk: Desk, database: Database, clock: SettableClock, keyring: Keyring, kind: str
    ) -> None:
        rows = [HEADER, *(a_row(number) for number in range(1_200))]
        answer = await desk.upload(as_csv(rows) if kind == "text/csv" else as_xlsx(rows), kind)
        import_id = UUID(answer.json()["id"])
        work = Work(database, clock, keyring, Importers(RegistrationImporter(keyring)), at_once=1)

        class Stopped(Exception):
            pass

        def stop(position: int, size: int) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            await work.go_on(import_id, told=stop)
        told = await desk.look(import_id)
        assert (told["state"], told["result"], told["rows"]["created"]) == ("running", None, 1_000)
        assert 70 < told["percent"] < 95
        await desk.worker.drain()
        told = await desk.look(import_id)
        assert (told["state"], told["percent"], counts(told)) == ("finished", 100, {"created": 1_200})

    async def test_of_a_chain_says_which_pharmacy_sold(
        self, world: World, database: Database, client_for: Clients, keyring: Keyring, clock: SettableClock
    ) -> None:
        token = await keys.token(database, "pharmacy", pharmacy_ids=world.pharmacies)
        desk = Desk(client_for(token), import_worker(database, keyring, clock))
        licence = await scalar(database, f"SELECT licence_number FROM pharmacies WHERE id = '{world.pharmacies[1]}'")
        header = [*HEADER, "门店编号", "许可证号"]
        rows = [
            [*a_row(1), str(world.pharmacies[0]), ""],
            [*a_row(1), "", str(licence)],
            [*a_row(2), "", ""],
            [*a_row(3), "", "粤DX0000000"],
        ]
        told = await desk.bring_rows(*rows, header=header)
        assert counts(told) == {"created": 2, "invalid": 2}
        assert problems(told) == [(4, "门店编号", "required"), (5, "许可证号", "pharmacy_not_yours")]


class TestAWrongFile:
    @pytest.mark.parametrize(
        ("content", "kind", "status", "code"),
        [
            (b"", "text/csv", 422, "sheet_unreadable"),
            (b"\n\n", "text/csv", 422, "sheet_unreadable"),
            (b"a,b\n1,2\n", "text/csv", 422, "sheet_unreadable"),
            (as_csv([HEADER]) + b"\xff\xff", "text/csv", 422, "sheet_unreadable"),
            (as_csv([HEADER]), "text/csv; charset=klingon", 422, "sheet_unreadable"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", XLSX, 422, "sheet_unreadable"),
            (b"{}", "application/json", 415, "unsupported_media_type"),
        ],
        ids=["empty", "blank", "other columns", "no encoding", "charset", "old excel", "json"],
    )
    async def test_is_refused_at_the_door_and_leaves_nothing(
        self, desk: Desk, database: Database, content: bytes, kind: str, status: int, code: str
    ) -> None:
        answer = await desk.upload(content, kind)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert await scalar(database, "SELECT count(*) FROM imports") == 0

    async def test_that_turns_out_so_later_is_discarded_as_well(self, desk: Desk, database: Database) -> None:
        good = as_csv([HEADER, *(a_row(number) for number in range(12_000))])
        assert len(good) > 1024 * 1024
        answer = await desk.upload(good + b"\xff\xff\xff")
        assert answer.status_code == 422
        assert await scalar(database, "SELECT count(*) FROM import_pieces") == 0

    async def test_that_claims_to_be_a_workbook_is_unreadable(self, desk: Desk, database: Database) -> None:
        told = await desk.bring(b"PK\x03\x04 nothing of the kind", XLSX)
        assert (told["state"], told["result"]) == ("finished", "unreadable")
        assert told["problem"]
        assert await scalar(database, "SELECT count(*) FROM import_pieces") == 0

    async def test_of_too_many_at_once_must_wait(self, desk: Desk) -> None:
        answers = [await desk.upload(as_csv([HEADER, a_row()])) for _ in range(21)]
        assert [answer.status_code for answer in answers[-2:]] == [202, 409]
        assert answers[-1].json()["code"] == "too_many_imports"


class TestADryRun:
    async def test_judges_everything_and_keeps_nothing(self, desk: Desk, database: Database) -> None:
        told = await desk.bring_rows(a_row(1), a_row(2), LOST, dry_run=True)
        assert (told["dry_run"], told["result"]) == (True, "partial")
        assert counts(told) == {"created": 2, "invalid": 1}
        for table in ("registrations", "people"):
            assert await scalar(database, f"SELECT count(*) FROM {table}") == 0
        assert await scalar(database, "SELECT count(*) FROM jobs WHERE kind = 'registrations.recorded'") == 0
        assert (await desk.refusals(told["id"])).status_code == 200
        assert counts(await desk.bring_rows(a_row(1), a_row(2))) == {"created": 2}


class TestTheRefusedRows:
    async def test_come_back_as_they_came_with_the_reasons(self, desk: Desk) -> None:
        told = await desk.bring(as_csv([HEADER, a_row(1), LOST, a_row(4, 电话="+86 abc", 住址='两"行\n')], ";"))
        answer = await desk.refusals(told["id"])
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        lines = answer.text.removeprefix("\ufeff")
        assert lines.startswith(";".join([*HEADER, "错误原因/errors"]) + "\r\n" + ";".join(LOST))
        assert "证件号码: 长数字已被表格软件改写" in lines
        assert ";'+86 abc;" in lines

    @pytest.mark.parametrize("kind", ["text/csv", XLSX])
    async def test_are_all_in_once_they_are_corrected(self, desk: Desk, kind: str) -> None:
        table = [HEADER, a_row(1), LOST, HOT, [*a_row(5), "one too many"]]
        told = await desk.bring(as_xlsx(table) if kind == XLSX else as_csv(table), kind)
        assert counts(told) == {"created": 1, "invalid": 3}
        content = (await desk.refusals(told["id"])).content

        again = await desk.bring(content, kind)  # uncorrected: the same rows, the reasons told once
        assert counts(again) == {"invalid": 3}
        content = (await desk.refusals(again["id"])).content
        assert content.decode("utf-8", "replace").count("错误原因") <= 1
        if kind == XLSX:
            rows = rows_of_xlsx(content)
            assert [len(row) for row in rows] == [11, 11, 11, 12]
            fixed = as_xlsx(
                [[cell.replace("1.10105E+17", LOST_NUMBER).replace("hot", "36.6") for cell in row] for row in rows]
            )
            fixed = as_xlsx([row if len(row) < 12 else [*row[:10], row[11]] for row in rows_of_xlsx(fixed)])
        else:
            fixed = content.replace(b"1.10105E+17", LOST_NUMBER.encode()).replace(b"hot", b"36.6")
            fixed = fixed.replace(b"one too many,", b"")
        last = await desk.bring(fixed, kind)
        assert (last["result"], counts(last)) == ("complete", {"created": 3})

    async def test_are_not_those_that_nobody_may_keep(self, desk: Desk) -> None:
        told = await desk.bring_rows(a_row(药品名称="牙刷"))
        assert (await desk.refusals(told["id"])).status_code == 404

    async def test_are_there_when_the_import_is_finished(self, desk: Desk) -> None:
        answer = await desk.upload(as_csv([HEADER, LOST]))
        refused = await desk.refusals(answer.json()["id"])
        assert (refused.status_code, refused.json()["code"]) == (409, "import_not_finished")

    async def test_lie_sealed_and_are_gone_after_a_week(
        self, desk: Desk, database: Database, clock: SettableClock
    ) -> None:
        told = await desk.bring_rows(LOST)
        for days, there in ((6, 200), (8, 404)):
            async with database.transaction() as session:
                await purge_imports(session, actor=SYSTEM, now=clock.now() + timedelta(days=days))
            assert (await desk.refusals(told["id"])).status_code == there
        assert counts(await desk.look(UUID(told["id"]))) == {"invalid": 1}

    async def test_whose_worker_never_came_back_is_destroyed_after_a_week(
        self, desk: Desk, database: Database, clock: SettableClock
    ) -> None:
        import_id = UUID((await desk.upload(as_csv([HEADER, *GOOD]))).json()["id"])
        async with database.transaction() as session:
            await start_work(session, import_id)
        for days, there, state, result in ((6, 1, "running", None), (8, 0, "finished", "failed")):
            async with database.transaction() as session:
                await purge_imports(session, actor=SYSTEM, now=clock.now() + timedelta(days=days))
            assert await scalar(database, "SELECT count(*) FROM import_pieces") == there
            told = await desk.look(import_id)
            assert (told["state"], told["result"]) == (state, result)


class TestAnUpload:
    async def test_is_never_plain_at_rest_and_gone_when_done(self, desk: Desk, database: Database) -> None:
        answer = await desk.upload(as_csv([HEADER, a_row(1), LOST]))
        told = "SELECT string_agg(to_jsonb({0})::text, '') FROM {0}"
        for table in ("imports", "import_pieces", "jobs"):
            content = str(await scalar(database, told.format(table)))
            assert content
            for secret in ("王小样", "110105", "13800138000", "王小样".encode().hex(), b"13800138000".hex()):
                assert secret not in content
        await desk.worker.drain()
        assert await scalar(database, "SELECT count(*) FROM import_pieces") == 0
        content = str(await scalar(database, told.format("import_chunks")))
        assert "王小样" not in content
        assert "王小样".encode().hex() not in content
        assert (await desk.look(UUID(answer.json()["id"])))["rows"]["read"] == 2

    async def test_is_seen_by_its_own_account_alone(self, desk: Desk, world: World, client_for: Clients) -> None:
        told = await desk.bring_rows(LOST)
        other = client_for(world.tills[1])
        for path in (f"/v1/imports/{told['id']}", f"/v1/imports/{told['id']}/errors", f"/v1/imports/{uuid4()}"):
            assert (await other.get(path)).status_code == 404
        official = client_for(world.tokens["official"])
        assert (await official.get(f"/v1/imports/{told['id']}")).status_code == 403

    async def test_is_audited(self, desk: Desk, database: Database) -> None:
        told = await desk.bring_rows(LOST)
        await desk.refusals(told["id"])
        query = "SELECT string_agg(action, ' ' ORDER BY id) FROM audit_entries WHERE subject_type = 'import'"
        assert await scalar(database, query) == "import.begun import.finished import.refusals_fetched"


class TestTheTemplate:
    @pytest.mark.parametrize(("written", "kind"), [("csv", "text/csv"), ("xlsx", XLSX)])
    async def test_comes_back_without_harm(self, desk: Desk, written: str, kind: str) -> None:
        answer = await desk.http.get(f"{PATH}/template", params={"format": written})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        told = await desk.bring(answer.content, kind)
        assert (told["result"], counts(told)) == ("no_rows", {"skipped": 1})

    async def test_takes_a_row_like_its_sample(self, desk: Desk) -> None:
        rows = rows_of_xlsx((await desk.http.get(f"{PATH}/template")).content)
        told = await desk.bring_workbook([*rows, [rows[1][0].removeprefix("#示例 "), *rows[1][1:]]])
        assert (told["errors"], counts(told)) == ([], {"created": 1, "skipped": 1})
