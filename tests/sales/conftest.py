"""Two pharmacies of the synthetic city state sales, and others read them."""

from typing import Any

import httpx
import pytest

from app.core.database import Database
from tests.factories.world import World, build_world

PATH = "/v1/sales"
IBUPROFEN = "布洛芬缓释胶囊"
LIANHUA = "连花清瘟胶囊"


@pytest.fixture
async def world(database: Database) -> World:
    return await build_world(database, pharmacies=2)


def sales(*items: tuple[str, int], **members: Any) -> dict[str, Any]:
    """A body of POST /v1/sales about the day of the tests."""
    return {"day": "2026-02-15", "items": [{"name": name, "quantity": count} for name, count in items]} | members


async def state(till: httpx.AsyncClient, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
    """Send a statement; return the answer."""
    answer = await till.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def shown(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """The statements that somebody sees."""
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items
