"""A case list with a slip in it, and the reviewer who sees through it: queue, decision, reward, alert. Everybody is synthetic."""

from typing import Any

import pytest

from app.core.database import Database
from app.core.sealing import Keyring
from tests.conftest import Clients, SettableClock
from tests.factories.world import World, a_case, a_person, a_purchase, build_world
from tests.journeys.test_from_counter_to_alert import City

BUYER = a_person(name="王小样", document={"type": "passport", "number": "E12345678"}, phone="13900139000")
LISTED = {"name": "王小样", "document": {"type": "passport", "number": "E12345687"}}
"""The same person: the ward turned two digits round and has no phone."""


@pytest.fixture
async def city(database: Database, client_for: Clients, clock: SettableClock, keyring: Keyring) -> City:
    world: World = await build_world(database)
    return City(world, client_for, clock, keyring)


async def queue(city: City, status: str = "possible") -> list[dict[str, Any]]:
    answer = await city.epidemiologist.get("/v1/matches", params={"status": status, "order": "oldest"})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def say(city: City, match: dict[str, Any], act: str, reason: str) -> dict[str, Any]:
    answer = await city.epidemiologist.post(f"/v1/matches/{match['id']}/{act}", json={"reason": reason})
    assert answer.status_code == 200, answer.text
    await city.runner.drain()
    return dict(answer.json())


async def reveal(city: City, person: str) -> dict[str, Any]:
    purpose = {"purpose": "review of the match with case SYN-001"}
    answer = await city.epidemiologist.post(f"/v1/buyers/{person}/reveal", json=purpose)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["presentations"][0])


class TestTheQueue:
    async def test_leads_from_a_slip_to_a_reward_and_back(self, city: City) -> None:
        answer = await city.till.post("/v1/registrations", json=a_purchase(buyer=BUYER))
        assert answer.status_code == 201, answer.text
        await city.runner.drain()
        await city.confirm(person=LISTED)
        [match] = await queue(city)
        assert (match["rule"], match["evidence"]["document"], match["evidence"]["name"]) == (
            "near_document/1",
            "near",
            "equal",
        )
        assert await city.alerts() == []

        # The reviewer looks at both, for a stated purpose.
        bought, listed = await reveal(city, match["person_id"]), await reveal(city, match["case_person_id"])
        assert (bought["document"]["number"], listed["document"]["number"]) == ("E12345678", "E12345687")

        await say(city, match, "confirm", "The ward's own copy shows the number as registered")
        assert await queue(city) == []
        assert await city.alerts() == ["case.matched"]
        assert (await city.decision())["status"] == "proposed"

        # Somebody was too quick: it goes back to the queue, and turns out to be somebody else.
        [confirmed] = await queue(city, "confirmed")
        await say(city, confirmed, "reopen", "The copy was of another patient")
        assert await city.alerts() == ["case.matched", "match.withdrawn"]
        assert (await city.decision())["status"] == "not_eligible"
        [again] = await queue(city)
        rejected = await say(city, again, "reject", "Two passports, both seen")
        assert [review["act"] for review in rejected["reviews"]] == ["confirm", "reopen", "reject"]

        # Never these two again: not in the next purchase, nor under another case number, nor when the list comes once more.
        await city.till.post("/v1/registrations", json=a_purchase("SYN-000002", buyer=BUYER))
        await city.confirm(case_number="SYN-002", person=LISTED)
        again_told = await city.authority.post("/v1/cases", json=a_case(person=LISTED))
        assert again_told.status_code == 200
        await city.till.post("/v1/registrations", json=a_purchase("SYN-000003", buyer=BUYER))
        await city.runner.drain()
        assert await queue(city) == []
        assert len(await queue(city, "rejected")) == 6
        assert await city.alerts() == ["case.matched", "match.withdrawn"]
