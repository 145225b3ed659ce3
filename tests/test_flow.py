"""What follows a registration and a case: clues, rewards, alerts; and that one bad job stops nobody."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import flow
from app.alerts.models import Alert
from app.cases.service import CHANGED
from app.core import jobs
from app.core.database import Database
from app.core.ids import new_id
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.matching import service as matching
from app.registrations.service import RECORDED
from app.webhooks.models import Event
from tests.conftest import Clients, SettableClock
from tests.factories.identities import flow_worker, resident_number
from tests.factories.world import World, a_case, a_person, build_world

LATER = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)


@pytest.fixture
async def world(database: Database) -> World:
    return await build_world(database, pharmacies=2)


@pytest.fixture
def worker(database: Database, keyring: Keyring, clock: SettableClock) -> Runner:
    return flow_worker(database, keyring, clock)


class City:
    """The doors through which facts come in, and a look at what followed."""

    def __init__(self, world: World, client_for: Clients, worker: Runner) -> None:
        self.world, self.worker, self.database = world, worker, world.database
        self.tills = [client_for(token) for token in world.tills]
        self.authority = client_for(world.tokens["health_authority"])
        self.official = client_for(world.tokens["official"])

    async def buy(self, till: int = 0, **members: Any) -> str:
        answer = await self.tills[till].post("/v1/registrations", json=self.world.purchase(**members))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def tell(self, **members: Any) -> str:
        answer = await self.authority.post("/v1/cases", json=a_case(**members))
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    async def decisions(self) -> list[dict[str, Any]]:
        return list((await self.official.get("/v1/rewards/decisions")).json()["items"])

    async def drain(self) -> None:
        await self.worker.drain()
        async with self.database.transaction() as session:
            assert (await session.execute(text("SELECT kind, last_error FROM jobs"))).all() == []

    async def told(self) -> list[str]:
        """What subscribers heard of the classification of matched cases, in the order in which they heard it."""
        async with self.database.transaction() as session:
            events = (
                await session.scalars(select(Event).where(Event.kind == "case.matched").order_by(Event.sequence))
            ).all()
        return [f"{event.pseudonymous['classification']} {event.thin['severity']}" for event in events]

    async def alerts(self) -> list[Alert]:
        async with self.database.transaction() as session:
            return list((await session.scalars(select(Alert).order_by(Alert.key))).all())


@pytest.fixture
def city(world: World, client_for: Clients, worker: Runner) -> City:
    return City(world, client_for, worker)


class TestARegistration:
    @pytest.mark.parametrize(
        ("members", "clue"),
        [
            ({"temperature_c": 37.2}, False),
            ({"temperature_c": 37.3}, True),
            ({"answers": {"contact_with_case_14d": True}}, True),
            ({"answers": {"stay_in_affected_area_14d": False}}, False),
            ({"temperature_c": 36.5, "patient": a_person(name="李小样") | {"temperature_c": 38.0}}, True),
            ({"temperature_c": 38.0, "patient": a_person(name="李小样") | {"temperature_c": 36.5}}, False),
            ({"symptoms": ["fever"]}, False),
        ],
    )
    async def test_is_a_clue_with_fever_or_exposure(self, city: City, members: dict[str, Any], clue: bool) -> None:
        registration_id = await city.buy(**members)
        await city.drain()
        told = [(alert.kind.value, str(alert.registration_id), alert.severity.value) for alert in await city.alerts()]
        assert told == ([("clue.reported", registration_id, "warning")] if clue else [])

    async def test_is_a_clue_about_its_patient(self, city: City, keyring: Keyring) -> None:
        patient = a_person(name="李小样", document={"type": "resident_id", "number": resident_number(9)})
        await city.buy(patient=patient | {"temperature_c": 38.0})
        await city.drain()
        async with city.database.transaction() as session:
            [event] = (await session.scalars(select(Event))).all()
        assert event.identified is not None
        told = keyring.open(event.identified, table="events", row=event.id, column="identified").decode()
        assert "李小样" in told
        assert "王小样" not in told
        assert event.pseudonymous["flags"] == ["fever"]
        assert event.pseudonymous["patient_id"] is not None

    async def test_sent_again_follows_nothing_twice(self, city: City) -> None:
        purchase = city.world.purchase(temperature_c=38.0, buyer=a_person(address=None))
        first = await city.tills[0].post("/v1/registrations", json=purchase)
        await city.drain()
        again = await city.tills[0].post("/v1/registrations", json=purchase)
        assert (again.status_code, again.json()) == (200, first.json())
        await city.drain()
        assert len(await city.alerts()) == 1


class TestACase:
    async def test_confirmed_later_earns_its_reward_then(self, city: City, clock: SettableClock) -> None:
        await city.buy()
        await city.tell(classification="suspected", confirmed_at=None)
        await city.drain()
        [before] = await city.decisions()
        assert before["status"] == "not_eligible"
        assert next(one["code"] for one in before["criteria"] if not one["met"]) == "case_confirmed"
        clock.moment = LATER
        await city.tell()
        await city.drain()
        [after] = await city.decisions()
        assert (after["id"], after["status"]) == (before["id"], "proposed")

    async def test_is_told_again_when_it_is_classified_anew_and_not_when_it_is_repeated(
        self, city: City, clock: SettableClock
    ) -> None:
        await city.buy()
        case_id = await city.tell(classification="suspected", confirmed_at=None, onset_on=None)
        await city.drain()
        clock.moment = LATER
        for _ in range(2):
            await city.tell(onset_on=None)
            await city.drain()
        assert await city.told() == ["suspected warning", "confirmed critical"]
        # More of the same case, or another time of confirmation, is no news of that kind.
        await city.tell()
        later = {"classification": "confirmed", "confirmed_at": "2026-02-17T21:10:00+08:00", "reason": "-"}
        await city.authority.post(f"/v1/cases/{case_id}/classification", json=later)
        await city.drain()
        assert len(await city.told()) == 2
        await city.authority.post(
            f"/v1/cases/{case_id}/classification", json={"classification": "probable", "reason": "Laboratory error"}
        )
        await city.drain()
        await city.authority.post(f"/v1/cases/{case_id}/classification", json=later)
        await city.drain()
        assert await city.told() == [
            "suspected warning",
            "confirmed critical",
            "probable warning",
            "confirmed critical",
        ]

    async def test_that_came_before_the_purchase_is_not_told_again(self, city: City, clock: SettableClock) -> None:
        clock.moment = LATER
        await city.tell(classification="suspected", confirmed_at=None, onset_on=None)
        await city.tell(onset_on=None)
        await city.buy()
        await city.drain()
        await city.tell()
        await city.drain()
        assert await city.told() == ["confirmed critical"]

    async def test_rewards_the_first_of_two_pharmacies(self, city: City, clock: SettableClock) -> None:
        await city.buy(0)
        clock.moment = clock.moment.replace(hour=3)
        await city.buy(1)
        clock.moment = LATER
        await city.tell()
        await city.drain()
        status = {decision["pharmacy_id"]: decision["status"] for decision in await city.decisions()}
        assert status == {str(city.world.pharmacies[0]): "proposed", str(city.world.pharmacies[1]): "not_eligible"}
        assert len(await city.alerts()) == 2

    async def test_tells_of_buyer_and_patient_who_are_the_same(self, city: City, clock: SettableClock) -> None:
        await city.buy(patient=a_person() | {"temperature_c": 36.6})
        clock.moment = LATER
        await city.tell()
        await city.drain()
        assert [alert.kind.value for alert in await city.alerts()] == ["case.matched"] * 2
        assert len(await city.decisions()) == 1

    @pytest.mark.parametrize(
        ("classification", "confirmed_at", "severity"),
        [("confirmed", "2026-02-17T20:10:00+08:00", "critical"), ("suspected", None, "warning")],
    )
    async def test_is_as_urgent_as_it_is_sure(
        self, city: City, clock: SettableClock, classification: str, confirmed_at: str | None, severity: str
    ) -> None:
        clock.moment = LATER
        await city.buy()
        case_id = await city.tell(classification=classification, confirmed_at=confirmed_at)
        await city.drain()
        [alert] = await city.alerts()
        assert (alert.severity.value, str(alert.case_id)) == (severity, case_id)
        discarded = {"classification": "discarded", "reason": "-"}
        await city.authority.post(f"/v1/cases/{case_id}/classification", json=discarded)
        await city.drain()
        assert [one.severity.value for one in await city.alerts()] == [severity, "info"]


class TestABadJob:
    async def test_stops_no_other(self, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
        """One registration cannot be followed, for a reason nobody thought of; its neighbours in the batch can."""
        ids = [await city.buy(temperature_c=38.0) for _ in range(5)]
        real = matching.rematch

        async def rematch(session: AsyncSession, *, registration_ids: Sequence[Any] = (), **members: Any) -> Any:
            if ids[2] in map(str, registration_ids):
                raise ArithmeticError
            return await real(session, registration_ids=registration_ids, **members)

        monkeypatch.setattr(flow, "rematch", rematch)
        await city.worker.drain()
        assert {str(alert.registration_id) for alert in await city.alerts()} == {*ids} - {ids[2]}
        async with city.database.transaction() as session:
            left = (await session.execute(text("SELECT kind, state, attempts, last_error FROM jobs"))).all()
        assert [tuple(row) for row in left] == [("registrations.recorded", "ready", 1, "ArithmeticError")]

    async def test_that_cannot_be_rewarded_is_told_of_all_the_same(
        self, city: City, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def evaluate_cases(*_: Any, **__: Any) -> None:
            raise ArithmeticError

        monkeypatch.setattr(flow, "evaluate_cases", evaluate_cases)
        await city.buy()
        await city.worker.drain()  # so that it is the list's tail that tells
        clock.moment = LATER
        await city.tell()
        await city.worker.drain()
        assert await city.told() == ["confirmed critical"]
        assert await city.decisions() == []
        monkeypatch.undo()
        async with city.database.transaction() as session:
            await session.execute(text("UPDATE jobs SET run_at = clock_timestamp()"))
        await city.drain()
        [decision] = await city.decisions()
        assert decision["status"] == "proposed"

    async def test_about_what_no_longer_exists_is_simply_done(self, city: City) -> None:
        async with city.database.transaction() as session:
            await jobs.enqueue(session, RECORDED, [{"registration_ids": [new_id()]}])
            await jobs.enqueue(session, CHANGED, [{"case_ids": [new_id()]}])
        await city.drain()
        assert await city.alerts() == []
