"""Workers that are killed in the middle of a file, two workers at one file, files that name the same purchases."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app import helping
from app.core.clock import CHINA
from app.core.database import Database
from app.core.http import Services
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.core.workbooks import XLSX
from app.helping import helper
from app.imports.importers import Importers, Verdict
from app.imports.models import Import
from app.imports.rows import Bookmark, claim_chunk
from app.imports.working import Work
from app.main import create_app
from app.registrations.imports import RegistrationImporter
from tests.committed.import_worker import KEYRING
from tests.conftest import SettableClock
from tests.factories.world import build_world
from tests.imports.tables import HEADER, PATH, a_row, as_csv, as_xlsx

ROWS = 12_000
WRONG = 60


def a_file(rows: int = ROWS) -> list[list[str]]:
    """Rows of which some are refused, named by their numbers."""
    return [
        HEADER,
        *(a_row(number, **({"体温": "hot"} if number % (rows // WRONG) == 0 else {})) for number in range(rows)),
    ]


class Office:
    """A clerk, and worker processes that die."""

    def __init__(self, database: Database, http: httpx.AsyncClient) -> None:
        self.database, self.http = database, http

    async def upload(self, content: bytes, kind: str = "text/csv") -> str:
        answer = await self.http.post(PATH, content=content, headers={"Content-Type": kind})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def worker(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.committed.import_worker", self.database.url
        )

    async def reached(self, chunks: int) -> None:
        """Wait until so many chunks are done."""
        async with asyncio.timeout(60):
            while True:
                if await self.count("SELECT count(*) FROM import_chunks") >= chunks:
                    return
                await asyncio.sleep(0.02)

    async def somebody_waits(self) -> None:
        """Wait until a statement waits for a lock."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(60):
            while True:
                if await self.count(query):
                    return
                await asyncio.sleep(0.02)

    async def idle(self) -> None:
        """Wait until no job is left: it goes in a transaction of its own, after the import is finished."""
        async with asyncio.timeout(60):
            while True:
                if not await self.count("SELECT count(*) FROM jobs WHERE kind = 'imports.due'"):
                    return
                await asyncio.sleep(0.02)

    async def count(self, query: str) -> int:
        async with self.database.transaction() as session:
            return int(await session.scalar(text(query)) or 0)

    async def finished(self, import_id: str) -> dict[str, object]:
        async with asyncio.timeout(120):
            while True:
                told: dict[str, object] = (await self.http.get(f"/v1/imports/{import_id}")).json()
                if told["state"] == "finished":
                    return told
                await asyncio.sleep(0.1)


@pytest.fixture
async def office(committed: Database) -> AsyncIterator[Office]:
    world = await build_world(committed)
    app = create_app(Services(Settings(database_url=committed.url), committed, SettableClock(), KEYRING))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {world.tills[0]}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://sentinel.test", headers=headers) as http:
        yield Office(committed, http)


@asynccontextmanager
async def ending(*workers: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()


class TestAWorkerThatIsKilled:
    @pytest.mark.parametrize("kind", ["text/csv", XLSX])
    async def test_loses_nothing_and_counts_nothing_twice(self, office: Office, kind: str) -> None:
        chance = random.Random(7)
        table = a_file() if kind == "text/csv" else a_file(6_000)
        rows = len(table) - 1
        import_id = await office.upload(as_csv(table) if kind == "text/csv" else as_xlsx(table), kind)
        killed = 0
        for goal in (1, 3, 4):
            worker = await office.worker()
            async with ending(worker):
                await office.reached(goal)
                await asyncio.sleep(chance.uniform(0, 0.1))
                killed += worker.returncode is None
        assert killed == 3
        last = await office.worker()
        async with ending(last):
            told = await office.finished(import_id)
            await office.idle()
        assert told["result"] == "partial"
        became = {
            "created": rows - WRONG,
            "invalid": WRONG,
            "updated": 0,
            "duplicate": 0,
            "conflict": 0,
            "not_required": 0,
            "skipped": 0,
        }
        assert told["rows"] == {"read": rows, **became}
        whole = "SELECT count(*) FROM registrations WHERE client_reference ~ '^SYN-[0-9]{6}$'"
        assert await office.count(whole) == rows - WRONG
        assert await office.count("SELECT count(*) FROM import_pieces") == 0
        refused = (await office.http.get(f"/v1/imports/{import_id}/errors")).content
        if kind == "text/csv":
            assert refused.count(b"\r\n") == WRONG + 1


class OneByOne(RegistrationImporter):
    """Takes purchases as if each built on the one before, and notes how many chunks are under way at once."""

    in_order = True

    def __init__(self, keyring: Keyring) -> None:
        super().__init__(keyring)
        self.running = self.most = 0

    async def record(self, *told: Any, **more: Any) -> list[Verdict]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await super().record(*told, **more)
        finally:
            self.running -= 1


class TestRowsThatBuildOnEachOther:
    async def test_are_taken_chunk_after_chunk(self, office: Office) -> None:
        import_id = await office.upload(as_csv(a_file(3_000)))
        importer = OneByOne(KEYRING)
        work = Work(office.database, SettableClock(), KEYRING, Importers(importer), at_once=4)
        assert await work.go_on(UUID(import_id))
        assert importer.most == 1
        assert (await office.finished(import_id))["result"] == "partial"


class TestFilesAtOnce:
    async def test_that_name_the_same_purchases_record_each_once(self, office: Office) -> None:
        content = as_csv(a_file(3_000))
        ids = [await office.upload(content) for _ in range(3)]
        workers = [await office.worker() for _ in range(2)]
        async with ending(*workers):
            told = [await office.finished(import_id) for import_id in ids]
        rows = [one["rows"] for one in told]
        assert sum(one["created"] for one in rows) == 3_000 - WRONG  # type: ignore[index]
        assert sum(one["duplicate"] for one in rows) == 2 * (3_000 - WRONG)  # type: ignore[index]
        assert await office.count("SELECT count(*) FROM registrations") == 3_000 - WRONG


class TestAHelper:
    def work(self, office: Office) -> Work:
        return Work(office.database, SettableClock(), KEYRING, Importers(RegistrationImporter(KEYRING)))

    async def test_passes_over_what_is_in_anothers_hands_and_the_leader_takes_it_when_it_is_let_go(
        self, office: Office
    ) -> None:
        import_id = UUID(await office.upload(as_csv(a_file(3_000))))
        async with office.database.transaction() as session:
            assert await claim_chunk(session, import_id, Bookmark(1, 0, 0))
            await self.work(office).help(import_id)
            assert await office.count("SELECT count(*) FROM import_chunks") == 2
            leading = asyncio.create_task(self.work(office).go_on(import_id))
            await office.somebody_waits()
            await session.rollback()
        assert await leading
        told = await office.finished(str(import_id))
        assert told["rows"]["created"] == 3_000 - WRONG  # type: ignore[index]

    async def test_is_a_process_that_records_and_leaves_the_end_to_its_leader(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(helping, "HELPED_FROM_BYTES", 0)
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        # In the system's time, by which a helper works.
        now = datetime.now(CHINA).strftime("%Y/%m/%d %H:%M")
        table = [HEADER, *(a_row(number, 购药时间=now) for number in range(2_500))]
        import_id = UUID(await office.upload(as_csv(table)))
        async with office.database.transaction() as session:
            taken = await session.get_one(Import, import_id)
        async with helper(office.database, KEYRING, taken):
            await office.reached(3)
            assert await office.count("SELECT count(*) FROM imports WHERE state = 'running'") == 1
        assert await self.work(office).go_on(import_id)
        assert (await office.finished(str(import_id)))["result"] == "complete"

    async def test_ends_with_its_leader_wherever_it_is(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(helping, "HELPED_FROM_BYTES", 0)
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        import_id = UUID(await office.upload(as_csv(a_file(1_000))))
        async with office.database.transaction() as session:
            taken = await session.get_one(Import, import_id, with_for_update=True)
            async with helper(office.database, KEYRING, taken):
                await office.somebody_waits()
        assert await self.work(office).go_on(import_id)
