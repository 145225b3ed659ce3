"""The whole story through the doors: a purchase, a case, a match, a reward, an alert; and its reverse."""

from datetime import UTC, datetime

import pytest

from app.core.handlers import Registry
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.flow import Flow
from tests.conftest import Clients, SettableClock
from tests.factories.world import World, a_case


class City:
    """The city's people at their screens, and the worker in the cellar."""

    def __init__(self, world: World, client_for: Clients, clock: SettableClock, keyring: Keyring) -> None:
        self.world, self.clock = world, clock
        self.till = client_for(world.tills[0])
        self.authority, self.epidemiologist, self.official, self.second_official = (
            client_for(world.tokens[role])
            for role in ("health_authority", "epidemiologist", "official", "second_official")
        )
        registry = Registry()
        Flow(keyring).register(registry)
        self.runner = Runner(world.database, registry, clock=clock)

    async def confirm(self, **members: object) -> str:
        self.clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
        answer = await self.authority.post("/v1/cases", json=a_case(**members))
        assert answer.status_code == 201, answer.text
        await self.runner.drain()
        return str(answer.json()["id"])

    async def decision(self) -> dict[str, object]:
        [decision] = (await self.official.get("/v1/rewards/decisions")).json()["items"]
        return dict(decision)

    async def alerts(self) -> list[str]:
        items = (await self.epidemiologist.get("/v1/alerts")).json()["items"]
        return sorted(alert["kind"] for alert in items)


@pytest.fixture
def city(world: World, client_for: Clients, clock: SettableClock, keyring: Keyring) -> City:
    return City(world, client_for, clock, keyring)


class TestAPurchaseByALaterCase:
    async def test_is_matched_rewarded_and_told(self, city: City) -> None:
        answer = await city.till.post("/v1/registrations", json=city.world.purchase(temperature_c=37.8))
        assert answer.status_code == 201, answer.text
        assert answer.json()["flags"] == ["fever"]
        assert [advice["code"] for advice in answer.json()["advice"]] == ["refer_to_fever_clinic"]
        await city.runner.drain()
        assert await city.alerts() == ["clue.reported"]

        case_id = await city.confirm()
        [match] = (await city.epidemiologist.get("/v1/matches")).json()["items"]
        assert (match["case_id"], match["registration_id"]) == (case_id, answer.json()["id"])
        assert (match["strength"], match["status"], match["role"]) == ("certain", "counted", "buyer")
        assert match["evidence"] == {"document": "equal", "phone": "equal", "name": "equal", "birth_date": "equal"}
        assert await city.alerts() == ["case.matched", "clue.reported"]

        decision = await city.decision()
        assert decision["status"] == "proposed"
        assert len(decision["criteria"]) == 12
        assert all(criterion["met"] for criterion in decision["criteria"])

    async def test_needs_two_officials_to_be_paid(self, city: City) -> None:
        await city.till.post("/v1/registrations", json=city.world.purchase())
        await city.confirm()
        decision = f"/v1/rewards/decisions/{(await city.decision())['id']}"
        approved = await city.official.post(f"{decision}/approve", json={})
        assert approved.status_code == 200, approved.text
        refused = await city.official.post(f"{decision}/pay", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "same_official")
        paid = await city.second_official.post(f"{decision}/pay", json={})
        assert (paid.status_code, paid.json()["status"]) == (200, "paid")

    async def test_is_withdrawn_with_the_case_and_restored_with_it(self, city: City) -> None:
        await city.till.post("/v1/registrations", json=city.world.purchase())
        case_id = await city.confirm()
        discard = {"classification": "discarded", "reason": "Laboratory error", "confirmed_at": None}
        restore = {
            "classification": "confirmed",
            "reason": "Second sample",
            "confirmed_at": "2026-02-17T20:10:00+08:00",
        }
        for _ in range(3):
            await city.authority.post(f"/v1/cases/{case_id}/classification", json=discard)
            await city.runner.drain()
            [match] = (await city.epidemiologist.get("/v1/matches")).json()["items"]
            assert match["status"] == "withdrawn"
            assert (await city.decision())["status"] == "not_eligible"
            await city.authority.post(f"/v1/cases/{case_id}/classification", json=restore)
            await city.runner.drain()
            [match] = (await city.epidemiologist.get("/v1/matches")).json()["items"]
            assert match["status"] == "counted"
            assert (await city.decision())["status"] == "proposed"
        assert await city.alerts() == ["case.matched"] * 4 + ["match.withdrawn"] * 3
        events = (await city.epidemiologist.get("/v1/events")).json()["items"]
        assert [event["type"] for event in events] == ["case.matched"] + ["match.withdrawn", "case.matched"] * 3


class TestACaseKnownBeforeThePurchase:
    async def test_is_matched_when_the_purchase_arrives_but_earns_nothing(self, city: City) -> None:
        await city.confirm()
        late = city.world.purchase(purchased_at="2026-02-18T09:00:00+08:00")
        assert (await city.till.post("/v1/registrations", json=late)).status_code == 201
        await city.runner.drain()
        [match] = (await city.epidemiologist.get("/v1/matches")).json()["items"]
        assert match["strength"] == "certain"
        decision = await city.decision()
        assert decision["status"] == "not_eligible"
        unmet = [criterion["code"] for criterion in decision["criteria"] if not criterion["met"]]
        assert unmet[0] == "registered_before_confirmation"


class TestAPharmacyThatIsSuspendedAfterwards:
    async def test_loses_a_reward_that_was_only_proposed(self, city: City) -> None:
        await city.till.post("/v1/registrations", json=city.world.purchase())
        await city.confirm()
        assert (await city.decision())["status"] == "proposed"
        pharmacy = f"/v1/pharmacies/{city.world.pharmacies[0]}"
        said = {"standing": "suspended", "standing_from": "2026-02-10", "reason": "Inspection found false entries"}
        assert (await city.official.patch(pharmacy, json=said)).status_code == 200
        await city.runner.drain()
        decision = await city.decision()
        assert decision["status"] == "not_eligible"
        assert next(c["code"] for c in decision["criteria"] if not c["met"]) == "pharmacy_in_good_standing"
