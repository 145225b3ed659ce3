"""One pharmacy's chain while many write at once, with real commits. Everybody here is synthetic."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.database import Database
from app.core.http import Services
from app.core.sealing import Keyring
from app.main import create_app
from app.registrations.verifying import read_keys, verify
from tests.conftest import SettableClock
from tests.factories.world import World, a_person, a_purchase, build_world


@pytest.fixture
async def world(committed: Database) -> World:
    return await build_world(committed, pharmacies=2)


@pytest.fixture
async def tills(
    world: World, committed: Database, clock: SettableClock, keyring: Keyring, settings: Any
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two processes, and a till of each pharmacy at each."""
    databases = [committed, Database(committed.url)]
    clients = []
    for database in databases:
        app = create_app(Services(settings=settings, database=database, clock=clock, keyring=keyring))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        for token in world.tills:
            headers = {"Authorization": f"Bearer {token}"}
            clients.append(httpx.AsyncClient(transport=transport, base_url="http://sentinel.test", headers=headers))
    yield clients
    for client in clients:
        await client.aclose()
    await databases[1].dispose()


def row(name: str, number: int) -> dict[str, Any]:
    return a_purchase(f"{name}-{number}", buyer=a_person(phone=f"138{number:08d}", document=None))


async def chains(tills: list[httpx.AsyncClient]) -> list[list[dict[str, Any]]]:
    found = []
    for till in tills[:2]:
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await till.get("/v1/receipts", params={"limit": "500"} | cursor)).json()
            items += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        found.append(items)
    return found


async def check(tills: list[httpx.AsyncClient], lengths: list[int]) -> None:
    keys = read_keys((await tills[0].get("/v1/receipts/keys")).text)
    for chain, length in zip(await chains(tills), lengths, strict=True):
        assert [receipt["number"] for receipt in chain] == list(range(1, length + 1))
        assert not verify([json.dumps(receipt) for receipt in chain], keys).findings


class TestTwoTillsOfOnePharmacy:
    async def test_write_one_unbroken_chain(self, tills: list[httpx.AsyncClient]) -> None:
        posts = [
            till.post("/v1/registrations", json=row(f"T{at}", at * 1000 + number))
            for number in range(25)
            for at, till in enumerate(tills)
        ]
        batches = [
            till.post("/v1/registrations/batch", json=[row(f"B{at}", at * 1000 + number) for number in range(120)])
            for at, till in enumerate(tills)
        ]
        answers = await asyncio.gather(*posts, *batches)
        assert {answer.status_code for answer in answers} <= {200, 201}
        await check(tills, [290, 290])

    async def test_that_send_the_same_rows_add_each_once(self, tills: list[httpx.AsyncClient]) -> None:
        rows = [row("SAME", number) for number in range(200)]
        same = [tills[0], tills[2], tills[0], tills[2]]
        answers = await asyncio.gather(*(till.post("/v1/registrations/batch", json=rows) for till in same))
        assert sum(answer.json()["created"] for answer in answers) == 200
        await check(tills, [200, 0])


class TestACorrection:
    async def test_that_comes_twice_at_once_is_made_once(
        self, tills: list[httpx.AsyncClient], committed: Database
    ) -> None:
        one = (await tills[0].post("/v1/registrations", json=row("ONE", 1))).json()["id"]
        body = {"reason": "Misread", "registration": row("ONE", 2) | {"client_reference": "ONE-1"}}
        path = f"/v1/registrations/{one}/corrections"
        answers = await asyncio.gather(*(tills[at].post(path, json=body) for at in (0, 2, 0, 2)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
        assert len({json.dumps(answer.json()["receipt"]) for answer in answers}) == 1
        await check(tills, [2, 0])

    async def test_and_a_void_at_once_end_in_one_order(self, tills: list[httpx.AsyncClient]) -> None:
        for number in range(8):
            one = (await tills[0].post("/v1/registrations", json=row("BOTH", number))).json()["id"]
            purchase = row("BOTH", number + 100)
            del purchase["client_reference"]
            body = {"reason": "Misread", "registration": purchase}
            corrected, voided = await asyncio.gather(
                tills[0].post(f"/v1/registrations/{one}/corrections", json=body),
                tills[2].post(f"/v1/registrations/{one}/void", json={"reason": "Cancelled"}),
            )
            assert voided.status_code == 200
            assert corrected.status_code in (201, 409)
            told = (await tills[0].get(f"/v1/registrations/{one}")).json()
            assert told["revision"] == (2 if corrected.status_code == 201 else 1)
            assert told["voided_at"] is not None
        [chain, _] = await chains(tills)
        await check(tills, [len(chain), 0])

    async def test_waits_for_a_match_that_is_being_made(
        self, tills: list[httpx.AsyncClient], committed: Database
    ) -> None:
        one = (await tills[0].post("/v1/registrations", json=row("ONE", 1))).json()["id"]
        async with committed.transaction() as session:
            # As matching holds it while it compares.
            await session.execute(text("SELECT 1 FROM registrations FOR SHARE"))
            waiting = asyncio.create_task(tills[2].post(f"/v1/registrations/{one}/void", json={"reason": "x"}))
            done, _ = await asyncio.wait([waiting], timeout=0.3)
            assert not done
        assert (await waiting).status_code == 200
