"""A till in the synthetic city."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.core.database import Database
from tests.factories.world import World, build_world

Clients = Callable[[str | None], httpx.AsyncClient]


@pytest.fixture
async def world(database: Database) -> World:
    return await build_world(database)


@pytest.fixture
def till(world: World, client_for: Clients) -> httpx.AsyncClient:
    """The till of the world's first pharmacy."""
    return client_for(world.tills[0])


@pytest.fixture
def official(world: World, client_for: Clients) -> httpx.AsyncClient:
    return client_for(world.tokens["official"])


def errors_of(answer: httpx.Response) -> list[tuple[str, str]]:
    """Pointer and code of each error of a problem."""
    return [(one["pointer"], one["code"]) for one in answer.json().get("errors", [])]


async def send(till: httpx.AsyncClient, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
    """Send a purchase; return the answer."""
    answer = await till.post("/v1/registrations", json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told
