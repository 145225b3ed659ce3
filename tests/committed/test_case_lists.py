"""Case lists at the same moment: authorities upload what overlaps, in whatever order."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.database import Database
from app.core.http import Services
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.main import create_app
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN
from tests.factories.identities import resident_number
from tests.factories.world import a_case, a_purchase, build_world

CASES = 300


def a_row(number: int, **members: Any) -> dict[str, Any]:
    document = {"type": "resident_id", "number": resident_number(number)}
    whole = a_case(f"SYN-{number:04d}", person={"name": "王小样", "document": document, "phone": "13800138000"})
    return whole | members


class City:
    """Whoever uploads, over HTTP and real commits."""

    def __init__(self, database: Database, http: httpx.AsyncClient, tokens: dict[str, str]) -> None:
        self.database, self.http, self.tokens = database, http, tokens

    async def upload(self, rows: list[dict[str, Any]]) -> Counter[str]:
        return await self._send("authority", "/v1/cases/batch", rows)

    async def register(self, rows: list[dict[str, Any]]) -> Counter[str]:
        return await self._send("till", "/v1/registrations/batch", rows)

    async def _send(self, who: str, path: str, rows: list[dict[str, Any]]) -> Counter[str]:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        answer = await self.http.post(path, json=rows, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return Counter(result["status"] for result in answer.json()["results"])

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.database.transaction() as session:
            return [tuple(row) for row in await session.execute(text(query))]


@pytest.fixture
async def city(committed: Database, keyring: Keyring) -> Any:
    world = await build_world(committed)
    clock = SettableClock(datetime(2026, 2, 18, 2, 0, tzinfo=UTC))
    app = create_app(Services(Settings(database_url=committed.url), committed, clock, keyring))
    tokens = {
        "till": world.tills[0],
        "authority": await keys.token(committed, "health_authority", FUTIAN),
    }
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sentinel.test") as http:
        yield City(committed, http, tokens)


class TestListsAtOnce:
    async def test_in_opposite_order_record_each_case_once(self, city: City) -> None:
        rows = [a_row(number) for number in range(CASES)]
        counts = await asyncio.gather(*(city.upload(some) for some in (rows, rows[::-1], rows, rows[::-1])))
        assert sum(counts, Counter()) == {"created": CASES, "duplicate": 3 * CASES}
        assert await city.rows("SELECT count(*), count(DISTINCT case_number) FROM cases") == [(CASES, CASES)]
        assert await city.rows("SELECT count(*), max(number) FROM case_classifications") == [(CASES, 1)]
        assert await city.rows("SELECT count(*) FROM people") == [(CASES,)]
        assert await city.rows("SELECT sum(jsonb_array_length(payload -> 'case_ids')) FROM jobs") == [(CASES,)]

    async def test_that_overlap_and_add_details_never_block_each_other(self, city: City) -> None:
        """Among them tills that register the very same presentations, which both sides insert."""
        chance = random.Random(7)
        uploads = []
        for _ in range(12):
            some = chance.sample(range(CASES), 120)
            thin = chance.random() < 0.5
            rows = []
            for number in some:
                row = a_row(number)
                person = {"document": row["person"]["document"]} if thin else row["person"]
                rows.append(row | {"person": person, "classification": "suspected", "confirmed_at": None})
                if chance.random() < 0.5:
                    rows.append(row | {"person": person})
            uploads.append(city.upload(rows))
            purchases = [
                a_purchase(f"SYN-{len(uploads)}-{number}", buyer=a_row(number)["person"])
                for number in chance.sample(range(CASES), 100)
            ]
            uploads.append(city.register(purchases))
        await asyncio.gather(*uploads)
        [held] = await city.rows("SELECT count(*), count(DISTINCT case_number) FROM cases")
        assert held[0] == held[1]
        gaps = "SELECT case_id FROM case_classifications GROUP BY case_id HAVING max(number) <> count(*)"
        assert await city.rows(gaps) == []
