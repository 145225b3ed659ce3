"""Tables of synthetic purchases, as tills and clerks write them, and the way through the doors."""

import io
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx

from app.cases.imports import CaseImporter
from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.core.sheet_text import csv_line
from app.core.workbooks import XLSX, WorkbookReader, write_workbook
from app.imports import jobs
from app.imports.importers import Importers
from app.registrations.imports import RegistrationImporter
from tests.conftest import SettableClock

HEADER = ["小票号", "购药时间", "姓名", "证件号码", "电话", "区划代码", "住址", "体温", "药品名称", "数量"]
PATH = "/v1/registrations/import"


def a_row(number: int = 1, **members: str) -> list[str]:
    """A row under `HEADER`, with everything that the regime requires; the identity is synthetic."""
    row = {
        "小票号": f"SYN-{number:06d}",
        "购药时间": "2026-02-15 09:41",
        "姓名": "王小样",
        "证件号码": "11010519491231002X",
        "电话": "13800138000",
        "区划代码": "440304005",
        "住址": "沙头街道合成花园 3 栋",
        "体温": "36.6",
        "药品名称": "布洛芬缓释胶囊",
        "数量": "1",
    }
    return list((row | members).values())


def as_csv(rows: Sequence[Sequence[str]], delimiter: str = ",") -> bytes:
    return "".join(csv_line(row, delimiter) for row in rows).encode()


def as_xlsx(rows: Sequence[Sequence[str]]) -> bytes:
    file = io.BytesIO()
    write_workbook(rows, file)
    return file.getvalue()


def rows_of_xlsx(content: bytes) -> list[list[str]]:
    return [record.cells for record in WorkbookReader(io.BytesIO(content))]


def import_worker(database: Database, keyring: Keyring, clock: SettableClock) -> Runner:
    """A worker that knows imports and nothing else; one chunk after the other, because a test has one connection."""
    registry = Registry()
    importers = Importers(RegistrationImporter(keyring), CaseImporter(keyring))
    jobs.register(registry, keyring=keyring, importers=importers, at_once=1)
    return Runner(database, registry, clock=clock)


class Desk:
    """A clerk with a key: hands files in, lets the worker work, and looks what became of them."""

    def __init__(self, http: httpx.AsyncClient, worker: Runner, path: str = PATH) -> None:
        self.http, self.worker, self.path = http, worker, path

    async def upload(self, content: bytes, kind: str = "text/csv", **query: Any) -> httpx.Response:
        return await self.http.post(self.path, content=content, headers={"Content-Type": kind}, params=query)

    async def bring(self, content: bytes, kind: str = "text/csv", **query: Any) -> dict[str, Any]:
        """Hand a file in and return the import when it is finished."""
        answer = await self.upload(content, kind, **query)
        assert answer.status_code == 202, answer.text
        await self.worker.drain()
        return await self.look(UUID(answer.json()["id"]))

    async def bring_rows(self, *rows: Sequence[str], header: Sequence[str] = HEADER, **query: Any) -> dict[str, Any]:
        return await self.bring(as_csv([header, *rows]), **query)

    async def bring_workbook(self, rows: Sequence[Sequence[str]], **query: Any) -> dict[str, Any]:
        return await self.bring(as_xlsx(rows), XLSX, **query)

    async def look(self, import_id: UUID) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/imports/{import_id}")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def refusals(self, import_id: str) -> httpx.Response:
        return await self.http.get(f"/v1/imports/{import_id}/errors")


def problems(told: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Line, column and code of each error."""
    return [(one["line"], one["column"], one["code"]) for one in told["errors"]]


def counts(told: dict[str, Any]) -> dict[str, int]:
    """Rows by what became of them, without the zeros."""
    return {status: count for status, count in told["rows"].items() if count and status != "read"}
