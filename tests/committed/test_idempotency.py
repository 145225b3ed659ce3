"""Two requests with one key at the same moment, and a process that dies between effect and answer."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import replays
from app.core.database import Database
from app.core.http import Services
from app.core.idempotency import IdempotencyKey
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.main import create_app
from app.pharmacies.models import Pharmacy
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, load_divisions
from tests.factories.pharmacies import pharmacy_body

PATH, KEY = "/v1/pharmacies", {"Idempotency-Key": '"the same"'}


@pytest.fixture
async def official(committed: Database, keyring: Keyring) -> AsyncIterator[httpx.AsyncClient]:
    await load_divisions(committed)
    token = await keys.token(committed, "official", FUTIAN)
    app = create_app(Services(Settings(database_url=committed.url), committed, SettableClock(), keyring))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://sentinel.test", headers=headers) as client:
        yield client


async def rows(database: Database) -> tuple[int, int]:
    async with database.transaction() as session:
        counts = [select(func.count()).select_from(table) for table in (Pharmacy, IdempotencyKey)]
        one, other = [(await session.execute(query)).scalar_one() for query in counts]
        return int(one), int(other)


class TestTwoRequestsWithOneKey:
    async def test_at_the_same_moment_do_the_work_once(self, official: httpx.AsyncClient, committed: Database) -> None:
        async def send() -> httpx.Response:
            return await official.post(PATH, json=pharmacy_body(), headers=KEY)

        answers = await asyncio.gather(*(send() for _ in range(8)))
        kinds = {(answer.status_code, answer.json().get("code")) for answer in answers}
        assert kinds <= {(201, None), (409, "idempotency_key_in_use")}
        assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 409)
        assert await rows(committed) == (1, 1)

    async def test_are_told_while_the_first_is_under_way(
        self, official: httpx.AsyncClient, committed: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()
        real = replays.keep_answer

        async def slowly(session: AsyncSession, *given: object, **members: object) -> None:
            reached.set()
            await go_on.wait()
            await real(session, *given, **members)  # type: ignore[arg-type]

        monkeypatch.setattr(replays, "keep_answer", slowly)
        first = asyncio.create_task(official.post(PATH, json=pharmacy_body(), headers=KEY))
        await reached.wait()
        second = await official.post(PATH, json=pharmacy_body(), headers=KEY)
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_use")
        go_on.set()
        assert (await first).status_code == 201
        assert (await official.post(PATH, json=pharmacy_body(), headers=KEY)).content == (await first).content


class TestAProcessThatDiesBeforeTheCommit:
    async def test_leaves_neither_effect_nor_key(
        self, official: httpx.AsyncClient, committed: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def die(*given: object, **members: object) -> None:
            raise RuntimeError("synthetic")

        with monkeypatch.context() as patched:
            patched.setattr(replays, "keep_answer", die)
            assert (await official.post(PATH, json=pharmacy_body(), headers=KEY)).status_code == 500
        assert await rows(committed) == (0, 0)
        assert (await official.post(PATH, json=pharmacy_body(), headers=KEY)).status_code == 201
        assert await rows(committed) == (1, 1)
