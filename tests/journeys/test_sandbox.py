"""A sandbox answers like a pharmacy, and nothing that it was sent is ever seen elsewhere. Everybody here is synthetic."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.alerts.models import Alert
from app.catalogue.models import UnresolvedSightings
from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.flow import Flow
from app.matching.models import Match
from app.people.models import Person
from app.registrations.jobs import forget_trials
from app.registrations.models import Registration
from app.rewards.models import RewardDecision
from app.webhooks.models import Event
from tests.conftest import MOMENT, Clients, SettableClock
from tests.factories.pharmacies import pharmacy_body
from tests.factories.world import World, a_case, a_person, build_world

EXPOSED = {"answers": {"stay_in_affected_area_14d": True}, "temperature_c": 38.5}


class Trial:
    """A sandbox beside a real pharmacy, both of which register the same person."""

    def __init__(self, world: World, client_for: Clients, runner: Runner) -> None:
        self.world, self.runner = world, runner
        self.real = client_for(world.tills[0])
        self.by = {role: client_for(token) for role, token in world.tokens.items()}
        self.client_for = client_for

    async def open(self) -> None:
        official = self.by["official"]
        told = (await official.post("/v1/pharmacies", json=pharmacy_body(9, sandbox=True))).json()
        assert told["sandbox"] is True
        self.id = told["id"]
        key = (await official.post(f"/v1/pharmacies/{self.id}/keys", json={"name": "vendor"})).json()
        self.till = self.client_for(key["token"])

    async def send(self, till: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
        answer = await till.post("/v1/registrations", json=self.world.purchase(**EXPOSED | members))
        assert answer.status_code == 201, answer.text
        await self.runner.drain()
        return dict(answer.json())

    async def get(self, role: str, path: str) -> dict[str, Any]:
        answer = await self.by[role].get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def count(self, table: Any) -> int:
        async with self.world.database.transaction() as session:
            return int((await session.execute(select(func.count()).select_from(table))).scalar_one())


@pytest.fixture
async def trial(database: Database, client_for: Clients, clock: SettableClock, keyring: Keyring) -> Trial:
    world = await build_world(database)
    registry = Registry()
    Flow(keyring).register(registry)
    made = Trial(world, client_for, Runner(database, registry, clock=clock))
    await made.open()
    return made


class TestASandbox:
    async def test_answers_like_a_pharmacy(self, trial: Trial) -> None:
        tried, real = [await trial.send(till) for till in (trial.till, trial.real)]
        for same in ("flags", "advice", "warnings", "items", "revision", "received_at"):
            assert tried[same] == real[same]
        body = trial.world.purchase()
        assert [(await trial.till.post("/v1/registrations", json=body)).status_code for _ in "12"] == [201, 200]
        refused = await trial.till.post("/v1/registrations", json=trial.world.purchase(buyer={"name": None}))
        assert refused.status_code == 422

    async def test_sees_what_it_sent(self, trial: Trial) -> None:
        told = await trial.send(trial.till)
        assert (await trial.till.get(f"/v1/registrations/{told['id']}")).status_code == 200
        assert [one["id"] for one in (await trial.till.get("/v1/registrations")).json()["items"]] == [told["id"]]

    async def test_stays_one(self, trial: Trial) -> None:
        answer = await trial.by["official"].patch(f"/v1/pharmacies/{trial.id}", json={"sandbox": False})
        assert answer.status_code == 422


class TestWhatASandboxWasSent:
    async def test_reaches_no_match_alert_reward_or_event(self, trial: Trial, clock: SettableClock) -> None:
        patient = {"patient": a_person() | {"temperature_c": 39.0}}
        await trial.send(trial.till)
        await trial.send(trial.till, **patient)
        clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
        assert (await trial.by["health_authority"].post("/v1/cases", json=a_case())).status_code == 201
        await trial.runner.drain()
        await trial.send(trial.till, **patient, purchased_at="2026-02-18T09:41:07+08:00")
        assert [await trial.count(table) for table in (Match, Alert, RewardDecision, Event)] == [0, 0, 0, 0]
        report = await trial.get("official", "/v1/rewards/report?from=2026-01-01&to=2026-12-31")
        assert report["lines"] == []
        assert (await trial.get("epidemiologist", "/v1/events?after=0"))["items"] == []

    async def test_would_have_reached_them_from_a_pharmacy(self, trial: Trial, clock: SettableClock) -> None:
        await trial.send(trial.real)
        clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
        await trial.by["health_authority"].post("/v1/cases", json=a_case())
        await trial.runner.drain()
        assert [await trial.count(table) for table in (Match, RewardDecision)] == [1, 1]
        assert await trial.count(Alert) >= 2

    async def test_is_seen_by_nobody_else(self, trial: Trial) -> None:
        told = await trial.send(trial.till)
        for role in ("official", "epidemiologist"):
            assert (await trial.get(role, "/v1/registrations"))["items"] == []
            assert (await trial.get(role, f"/v1/registrations?pharmacy={trial.id}"))["items"] == []
            assert (await trial.by[role].get(f"/v1/registrations/{told['id']}")).status_code == 404

    async def test_is_in_no_search_and_no_history(self, trial: Trial) -> None:
        await trial.send(trial.till)
        epidemiologist = trial.by["epidemiologist"]
        wanted = {"purpose": "contact tracing of case 2026-001", "document": a_person()["document"]}
        assert (await epidemiologist.post("/v1/buyers/search", json=wanted)).json()["items"] == []
        real = await trial.send(trial.real)
        [buyer] = (await epidemiologist.post("/v1/buyers/search", json=wanted)).json()["items"]
        assert (buyer["registrations"], buyer["presentations"]) == (1, 1)
        history = await trial.get("epidemiologist", f"/v1/buyers/{buyer['id']}/history")
        assert [one["registration_id"] for one in history["items"]] == [real["id"]]
        async with trial.world.database.transaction() as session:
            tried = await session.scalar(select(Registration.buyer_id).where(Registration.sandbox))
        assert (await epidemiologist.get(f"/v1/buyers/{tried}/history")).status_code == 404
        door = f"/v1/buyers/{tried}/reveal"
        assert (await epidemiologist.post(door, json={"purpose": "contact tracing of case 1"})).status_code == 404

    async def test_shares_no_person_with_anybody(self, trial: Trial) -> None:
        await trial.send(trial.till)
        await trial.send(trial.till)
        await trial.send(trial.real)
        async with trial.world.database.transaction() as session:
            people = (await session.scalars(select(Person).order_by(Person.id))).all()
        tried, real = people
        assert (tried.document_hash, tried.phone_hash, tried.name_hash, tried.document_type) == (None,) * 4
        assert real.document_hash is not None

    async def test_is_in_no_list_of_sales(self, trial: Trial) -> None:
        said = {"day": "2026-02-15", "items": [{"name": "布洛芬缓释胶囊", "quantity": 12}]}
        assert (await trial.till.post("/v1/sales", json=said)).status_code == 201
        assert len((await trial.till.get("/v1/sales")).json()["items"]) == 1
        for role in ("official", "epidemiologist"):
            assert (await trial.get(role, "/v1/sales"))["items"] == []

    async def test_leaves_no_unknown_name_for_officials(self, trial: Trial) -> None:
        async def noted() -> int:
            async with trial.world.database.transaction() as session:
                return int(await session.scalar(select(func.count()).select_from(UnresolvedSightings)) or 0)

        items = {"items": [{"name": "布洛芬缓释胶囊", "quantity": 1}, {"name": "合成片", "quantity": 1}]}
        await trial.send(trial.till, **items)
        assert await noted() == 0
        await trial.send(trial.real, **items)
        assert await noted() == 1

    async def test_is_deleted_after_thirty_days(self, trial: Trial) -> None:
        real, tried = await trial.send(trial.real), await trial.send(trial.till)

        async def kept(after: timedelta) -> list[str]:
            async with trial.world.database.transaction() as session:
                await forget_trials(session, [], now=MOMENT + after)
            async with trial.world.database.transaction() as session:
                return [str(one) for one in await session.scalars(select(Registration.id).order_by(Registration.id))]

        assert await kept(timedelta(days=30)) == [real["id"], tried["id"]]
        assert await kept(timedelta(days=30, seconds=1)) == [real["id"]]
        assert await trial.count(Person) == 1
