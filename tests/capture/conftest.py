"""A synthetic city with people who tell interviewers where they bought what."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text

from app.core.database import Database
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.webhooks.models import Event
from tests.conftest import Clients, SettableClock
from tests.factories.identities import flow_worker, resident_number
from tests.factories.world import World, a_case, a_person, build_world

LATER = datetime(2026, 2, 20, 2, 0, tzinfo=UTC)
"""After the interviews have begun."""
IBUPROFEN, LIANHUA, TOOTHPASTE = "布洛芬缓释胶囊", "连花清瘟胶囊", "合成牙膏"


def somebody(number: int) -> dict[str, Any]:
    """A synthetic person, another for each number."""
    document = {"type": "resident_id", "number": resident_number(number)}
    return a_person(name="王小样", document=document, phone=f"154{number:08d}")


class City:
    """The doors through which facts come in, and what is known of them afterwards."""

    def __init__(self, world: World, client_for: Clients, worker: Runner, clock: SettableClock) -> None:
        self.world, self.worker, self.clock, self.database = world, worker, clock, world.database
        self.tills = [client_for(token) for token in world.tills]
        self.authority = client_for(world.tokens["health_authority"])
        self.epidemiologist = client_for(world.tokens["epidemiologist"])
        self.official = client_for(world.tokens["official"])

    async def buy(self, person: int, till: int = 0, at: str = "2026-02-15T09:41:07+08:00", **members: Any) -> str:
        """Register a purchase of ibuprofen."""
        body = self.world.purchase(buyer=somebody(person), purchased_at=at, **members)
        answer = await self.tills[till].post("/v1/registrations", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def case(self, person: int, **members: Any) -> str:
        """List somebody as a case."""
        listed = {key: value for key, value in somebody(person).items() if key != "address"}
        body = a_case(f"SYN-{person:03d}", person=listed, **members)
        answer = await self.authority.post("/v1/cases", json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    async def tell(self, case_id: str, *items: dict[str, Any], status: int = 201) -> list[dict[str, Any]]:
        """Let a case tell of purchases."""
        answer = await self.epidemiologist.post(f"/v1/cases/{case_id}/declared-purchases", json={"items": list(items)})
        assert answer.status_code == status, answer.text
        return list(answer.json().get("items", ()))

    async def told(self, case_id: str) -> list[dict[str, Any]]:
        """What is known of what a case told."""
        answer = await self.epidemiologist.get(f"/v1/cases/{case_id}/declared-purchases")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def verdicts(self, case_id: str) -> list[tuple[str, str]]:
        """Status and ground of each purchase."""
        return [(one["status"], one["ground"]) for one in await self.told(case_id)]

    async def alerts(self, kind: str = "purchase.missed") -> list[dict[str, Any]]:
        """The alerts of a kind, the first raised first."""
        answer = await self.epidemiologist.get("/v1/alerts", params={"kind": kind})
        return list(reversed(answer.json()["items"]))

    async def events(self, kind: str = "purchase.missed") -> list[Event]:
        """The events of a kind in their order."""
        async with self.database.transaction() as session:
            query = select(Event).where(Event.kind == kind).order_by(Event.sequence)
            return list((await session.scalars(query)).all())

    async def drain(self) -> None:
        """Let the workers follow everything."""
        await self.worker.drain()
        async with self.database.transaction() as session:
            assert (await session.execute(text("SELECT kind, last_error FROM jobs"))).all() == []

    def at(self, till: int = 0, on: str = "2026-02-15", **members: Any) -> dict[str, Any]:
        """A purchase as it is told."""
        return {"pharmacy_id": str(self.world.pharmacies[till]), "purchased_on": on} | members


@pytest.fixture
async def city(database: Database, client_for: Clients, keyring: Keyring, clock: SettableClock) -> City:
    """Two pharmacies in one street, a week after the first purchases."""
    clock.moment = LATER
    world = await build_world(database, pharmacies=2)
    return City(world, client_for, flow_worker(database, keyring, clock), clock)
