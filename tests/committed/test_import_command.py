"""`sentinel import` as an operator runs it: a process of its own, files of every form."""

import asyncio
import stat
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.clock import CHINA
from app.core.database import Database
from app.core.sealing import Keyring
from tests.factories.commands import Command, running, sentinel
from tests.factories.world import World, build_world
from tests.imports.tables import HEADER, a_row, as_csv, as_xlsx, rows_of_xlsx

NOW = (datetime.now(CHINA) - timedelta(hours=1)).strftime("%Y/%m/%d %H:%M")


class Shell:
    """A terminal on the server's machine."""

    def __init__(self, world: World, keyring: Keyring) -> None:
        self.world, self._keyring = world, keyring

    async def run(self, *words: object) -> tuple[int, str]:
        """Run `sentinel import`; return its exit status and what it said."""
        status, said, aside = await sentinel(self.world.database, self._keyring, "import", *words)
        return status, aside + said

    async def purchases(self, file: Path, *words: object) -> tuple[int, str]:
        return await self.run("registrations", file, "--pharmacy", self.world.pharmacies[0], *words)

    async def count(self, table: str) -> object:
        return await self.scalar(f"SELECT count(*) FROM {table}")

    async def scalar(self, query: str) -> object:
        async with self.world.database.transaction() as session:
            return await session.scalar(text(query))

    async def until(self, query: str) -> None:
        """Wait until a figure is not zero."""
        async with asyncio.timeout(60):
            while True:
                if await self.scalar(query):
                    return
                await asyncio.sleep(0.02)

    def leading(self, file: Path) -> AbstractAsyncContextManager[Command]:
        """A command that keeps the chunks which it takes, and has a helper once it is told to go on."""
        words = ("import", "registrations", file, "--pharmacy", self.world.pharmacies[0])
        return running(self.world.database, self._keyring, *words, module="tests.committed.import_leader")


@pytest.fixture
async def shell(committed: Database, keyring: Keyring) -> Shell:
    return Shell(await build_world(committed), keyring)


def a_file(folder: Path, content: bytes, name: str = "purchases.csv") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


class TestAFileOfPurchases:
    async def test_is_recorded_and_what_was_refused_is_written_out(self, shell: Shell, tmp_path: Path) -> None:
        rows = [a_row(1, 购药时间=NOW), a_row(2, 购药时间=NOW, 体温="hot")]
        file, out = a_file(tmp_path, as_xlsx([HEADER, *rows])), tmp_path / "refused.xlsx"
        status, said = await shell.purchases(file, "--errors", out)
        assert status == 1, said
        assert "partial: 2 read, 1 created, 1 invalid" in said
        assert "line 3, 体温: A temperature is written as 36.6 (temperature_expected)" in said
        assert "王小样" not in said
        assert stat.S_IMODE(out.stat().st_mode) == 0o600

        refused = rows_of_xlsx(out.read_bytes())
        assert refused[1][:-1] == rows[1]
        fixed = a_file(tmp_path, as_xlsx([[cell.replace("hot", "36.6") for cell in row] for row in refused]))
        status, said = await shell.purchases(fixed)
        assert (status, "complete: 1 read, 1 created" in said) == (0, True), said
        assert await shell.count("registrations") == 2
        assert await shell.count("import_pieces") == 0

    async def test_is_only_judged_in_a_dry_run(self, shell: Shell, tmp_path: Path) -> None:
        file = a_file(tmp_path, as_csv([HEADER, a_row(1, 购药时间=NOW)]).decode().encode("gb18030"))
        status, said = await shell.purchases(file, "--dry-run")
        assert (status, "complete (dry run): 1 read, 1 created" in said) == (0, True), said
        assert await shell.count("registrations") == 0

    async def test_without_rows_fails(self, shell: Shell, tmp_path: Path) -> None:
        status, said = await shell.purchases(a_file(tmp_path, as_csv([HEADER])))
        assert (status, "no_rows: 0 read" in said) == (1, True), said

    async def test_needs_a_pharmacy_that_exists(self, shell: Shell, tmp_path: Path) -> None:
        file = a_file(tmp_path, as_csv([HEADER, a_row(1)]))
        assert (await shell.run("registrations", file))[0] == 2
        assert (await shell.run("cases", file, "--pharmacy", shell.world.pharmacies[0]))[0] == 2
        assert (await shell.run("pharmacies", file, "--dry-run"))[0] == 2
        status, said = await shell.run("registrations", file, "--pharmacy", "01890000-0000-7000-8000-000000000000")
        assert (status, "There is no such pharmacy" in said) == (1, True), said
        assert await shell.count("imports") == 0


class TestACommandThatIsKilled:
    async def test_takes_its_helper_along_and_the_file_handed_in_again_is_recorded_once(
        self, shell: Shell, tmp_path: Path
    ) -> None:
        rows, recorded = 4_500, "SELECT count(*) FROM import_chunks"
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        file = a_file(tmp_path, as_csv([HEADER, *(a_row(number, 购药时间=NOW) for number in range(rows))]))
        async with shell.leading(file) as leader, shell.world.database.transaction() as gate:
            import_id = (await leader.said.readline()).decode().strip()
            # The leader keeps the first two chunks and records none; its helper is held up in the middle of the last two.
            insert = text(
                "INSERT INTO import_chunks (import_id, number, position, line, counts) VALUES (:id, :number, 0, 0, '{}')"
            )
            for number in (3, 4):
                await gate.execute(insert, {"id": import_id, "number": number})
            leader.told.write(b"go on\n")
            await shell.until(recorded)
            await shell.until(waiting)
            assert leader.process.returncode is None
            leader.process.kill()
            async with asyncio.timeout(60):
                await leader.aside.read()  # both of them hold it open
            await gate.rollback()
        assert 0 < int(str(await shell.scalar(recorded))) < 4
        status, said = await shell.purchases(file)
        assert (status, f"complete: {rows} read" in said) == (0, True), said
        assert await shell.scalar("SELECT count(*) FROM registrations") == rows
        assert await shell.scalar("SELECT count(DISTINCT client_reference) FROM registrations") == rows


class TestACaseList:
    async def test_is_judged_as_by_the_api_and_what_was_refused_is_written_out(
        self, shell: Shell, tmp_path: Path
    ) -> None:
        header = ["报告单位", "病例编号", "病种", "病例分类", "行政区划", "姓名", "确诊时间"]
        whole = ["440304-CDC", "SYN-001", "新冠肺炎", "确诊病例", "440304005", "王小样", NOW]
        rows = [whole, ["440304-CDC", "SYN-002", "新冠肺炎", "确诊病例", "440304005", "李小样", ""]]
        file, out = a_file(tmp_path, as_csv([header, *rows]).decode().encode("gb18030")), tmp_path / "refused.csv"
        status, said = await shell.run("cases", file, "--errors", out, "--dry-run")
        assert (status, await shell.count("cases")) == (1, 0), said
        status, said = await shell.run("cases", file, "--errors", out)
        assert "partial: 2 read, 1 created, 1 invalid" in said
        assert "line 3, 确诊时间: A confirmed case has a confirmation time (confirmed_at_required)" in said
        assert (status, await shell.count("cases"), await shell.count("jobs")) == (1, 1, 1)
        assert "SYN-002" in out.read_text(encoding="utf-8")


class TestOtherTables:
    @pytest.mark.parametrize("written", ["gb18030", "utf-16", "xlsx"])
    async def test_come_in_every_form(self, shell: Shell, tmp_path: Path, written: str) -> None:
        header = ["药店名称", "统一社会信用代码", "许可证号", "行政区划", "地址"]
        row = ["合成药房", "91440300MA5EXAMP2X", "粤DA7559999", "440304005", "合成路 1 号, 2 楼"]
        content = as_xlsx([header, row]) if written == "xlsx" else as_csv([header, row], ";").decode().encode(written)
        before = await shell.count("pharmacies")
        status, said = await shell.run("pharmacies", a_file(tmp_path, content, "pharmacies"))
        assert (status, "1 created" in said) == (0, True), said
        assert await shell.count("pharmacies") == int(str(before)) + 1
