"""What becomes of matches, rewards and alerts when a pharmacy corrects or voids what it registered. Everybody is synthetic."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.core.database import Database
from app.core.sealing import Keyring
from tests.conftest import Clients, SettableClock
from tests.factories.world import World, a_person, a_purchase, build_world
from tests.journeys.test_from_counter_to_alert import City

STRANGER = a_person(name="李小样", document={"type": "passport", "number": "E12345678"}, phone="13900139000")


@pytest.fixture
async def city(database: Database, client_for: Clients, clock: SettableClock, keyring: Keyring) -> City:
    world: World = await build_world(database)
    return City(world, client_for, clock, keyring)


async def register(city: City, **members: Any) -> str:
    answer = await city.till.post("/v1/registrations", json=a_purchase(**members))
    assert answer.status_code == 201, answer.text
    await city.runner.drain()
    return str(answer.json()["id"])


async def correct(city: City, one: str, **members: Any) -> None:
    body = {"reason": "Misread", "registration": a_purchase(**members)}
    answer = await city.till.post(f"/v1/registrations/{one}/corrections", json=body)
    assert answer.status_code == 201, answer.text
    await city.runner.drain()


async def void(city: City, one: str) -> None:
    answer = await city.till.post(f"/v1/registrations/{one}/void", json={"reason": "Cancelled"})
    assert answer.status_code == 200, answer.text
    await city.runner.drain()


async def matches(city: City) -> list[str]:
    return [one["status"] for one in (await city.epidemiologist.get("/v1/matches")).json()["items"]]


async def unmet(city: City) -> list[str]:
    criteria: Any = (await city.decision())["criteria"]
    return [criterion["code"] for criterion in criteria if not criterion["met"]]


class TestACorrection:
    async def test_decides_from_then_on_who_is_matched(self, city: City) -> None:
        one = await register(city, buyer=STRANGER)
        await city.confirm()
        assert await matches(city) == []
        await correct(city, one)
        assert await matches(city) == ["counted"]
        await correct(city, one, buyer=STRANGER)
        assert await matches(city) == ["withdrawn"]
        assert await city.alerts() == ["case.matched", "match.withdrawn"]

    async def test_of_the_identity_after_the_case_is_known_costs_the_reward(self, city: City) -> None:
        one = await register(city)
        await city.confirm()
        assert (await city.decision())["status"] == "proposed"
        # The same document, so the match stays; another presentation all the same.
        await correct(city, one, buyer=a_person(phone="13900139000"))
        assert await matches(city) == ["counted"]
        assert ((await city.decision())["status"], (await unmet(city))[0]) == ("not_eligible", "unaltered")
        # Taking it back does not heal it.
        await correct(city, one)
        assert (await unmet(city))[0] == "unaltered"

    async def test_of_the_identity_before_the_case_is_known_costs_nothing(self, city: City) -> None:
        one = await register(city, buyer=a_person(phone="13900139000"))
        await correct(city, one)
        await city.confirm()
        assert ((await city.decision())["status"], await unmet(city)) == ("proposed", [])

    async def test_of_anything_else_after_the_case_is_known_costs_nothing(self, city: City) -> None:
        one = await register(city)
        await city.confirm()
        await correct(city, one, temperature_c=38.5)
        assert ((await city.decision())["status"], await unmet(city)) == ("proposed", [])
        assert await city.alerts() == ["case.matched", "clue.reported"]

    async def test_of_the_time_after_the_case_is_known_costs_the_reward(self, city: City) -> None:
        """Three days late, and made to look in time once it is worth something."""
        one = await register(city, purchased_at="2026-02-12T09:41:07+08:00")
        await city.confirm()
        assert (await unmet(city))[0] == "registered_on_time"
        await correct(city, one, purchased_at="2026-02-15T09:41:07+08:00")
        assert await matches(city) == ["counted"]
        assert ((await city.decision())["status"], (await unmet(city))[0]) == ("not_eligible", "unaltered")
        await correct(city, one, temperature_c=37.0)
        await correct(city, one, purchased_at="2026-02-12T09:41:07+08:00")
        assert (await unmet(city))[:2] == ["registered_on_time", "unaltered"]

    async def test_of_the_time_before_the_case_is_known_costs_nothing(self, city: City) -> None:
        one = await register(city, purchased_at="2026-02-12T09:41:07+08:00")
        await correct(city, one)
        await city.confirm()
        assert ((await city.decision())["status"], await unmet(city)) == ("proposed", [])

    async def test_that_completes_a_record_comes_too_late_for_the_reward(self, city: City) -> None:
        one = await register(city, temperature_c=None)
        await correct(city, one)
        await city.confirm()
        assert (await unmet(city))[0] == "record_complete"

    async def test_that_leaves_something_out_costs_nothing_of_what_was_complete(self, city: City) -> None:
        one = await register(city)
        await correct(city, one, temperature_c=None)
        await city.confirm()
        assert await unmet(city) == []


async def grant(city: City) -> str:
    """Approve and pay the one decision; return its path."""
    path = f"/v1/rewards/decisions/{(await city.decision())['id']}"
    for official, act in ((city.official, "approve"), (city.second_official, "pay")):
        answer = await official.post(f"{path}/{act}", json={})
        assert answer.status_code == 200, answer.text
    return path


async def ledger(database: Database) -> list[int]:
    async with database.transaction() as session:
        return [int(row.amount) for row in await session.execute(text("SELECT amount FROM ledger_entries ORDER BY id"))]


class TestAGrantedReward:
    async def test_is_taken_back_when_its_registration_is_voided(self, city: City, database: Database) -> None:
        one = await register(city)
        case_id = await city.confirm()
        path = await grant(city)
        await void(city, one)
        shown = (await city.official.get(path)).json()
        assert (shown["status"], await ledger(database)) == ("reversed", [1000, -1000])
        assert shown["history"][-1]["act"] == "withdraw"
        # For good: the case may come and go, the registration does not come back.
        for classification, confirmed_at in (("discarded", None), ("confirmed", "2026-02-17T20:10:00+08:00")):
            change = {"classification": classification, "confirmed_at": confirmed_at, "reason": "-"}
            await city.authority.post(f"/v1/cases/{case_id}/classification", json=change)
            await city.runner.drain()
        assert (await city.official.get(path)).json() == shown

    async def test_is_taken_back_when_the_buyer_turns_out_to_be_somebody_else(
        self, city: City, database: Database
    ) -> None:
        one = await register(city)
        await city.confirm()
        path = await grant(city)
        await correct(city, one, buyer=STRANGER)
        assert ((await city.official.get(path)).json()["status"], await ledger(database)) == ("reversed", [1000, -1000])

    async def test_opens_again_where_another_registration_bears_it_out(self, city: City, database: Database) -> None:
        one = await register(city)
        city.clock.moment += timedelta(minutes=1)
        other = await register(city, client_reference="SYN-000002")
        await city.confirm()
        path = await grant(city)
        await void(city, one)
        shown = (await city.official.get(path)).json()
        assert (shown["status"], shown["registration_id"]) == ("proposed", other)
        assert [step["act"] for step in shown["history"][-2:]] == ["withdraw", "reopen"]
        assert await ledger(database) == [1000, -1000]

    async def test_stays_when_another_registration_is_voided(self, city: City, database: Database) -> None:
        await register(city)
        city.clock.moment += timedelta(minutes=1)
        other = await register(city, client_reference="SYN-000002")
        await city.confirm()
        path = await grant(city)
        await void(city, other)
        assert ((await city.official.get(path)).json()["status"], await ledger(database)) == ("paid", [1000])


class TestAVoid:
    async def test_withdraws_the_match_and_the_reward_and_leaves_the_clue(self, city: City) -> None:
        one = await register(city, temperature_c=38)
        await city.confirm()
        assert (await matches(city), (await city.decision())["status"]) == (["counted"], "proposed")
        await void(city, one)
        assert (await matches(city), (await city.decision())["status"]) == (["withdrawn"], "not_eligible")
        assert await city.alerts() == ["case.matched", "clue.reported", "match.withdrawn"]

    async def test_before_the_case_is_known_leaves_nothing_to_match(self, city: City) -> None:
        await void(city, await register(city))
        await city.confirm()
        assert (await matches(city), await city.alerts()) == ([], [])

    async def test_is_shown_in_the_buyer_s_history_and_not_counted(self, city: City) -> None:
        one = await register(city)
        await register(city, client_reference="SYN-000002")
        await void(city, one)
        search = {"purpose": "contact tracing (synthetic)", "phone": "13800138000"}
        [buyer] = (await city.epidemiologist.post("/v1/buyers/search", json=search)).json()["items"]
        assert buyer["registrations"] == 1
        history = (await city.epidemiologist.get(f"/v1/buyers/{buyer['id']}/history")).json()["items"]
        assert [purchase["voided_at"] is None for purchase in history] == [False, True]
        assert "voided" in history[0]["flags"]
