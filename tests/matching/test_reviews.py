"""Reviewing matches: who says what of which two people, and what follows for all their matches. All people are synthetic."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.database import Database
from app.core.sealing import Keyring
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import LUOHU
from tests.factories.identities import flow_worker
from tests.factories.world import World, a_case, a_person, build_world

HOMOPHONE = a_person(name="汪晓阳", document={"type": "passport", "number": "E12345678"})
"""Whose phone and name are much like those of the person on the list."""
LISTED = a_person(document=None)
WHY = {"reason": "The interviewer asked again"}


@dataclass
class Desk:
    """A till, an authority and a reviewer, with a worker who follows each step."""

    world: World
    till: httpx.AsyncClient
    authority: httpx.AsyncClient
    reviewer: httpx.AsyncClient
    keyring: Keyring
    clock: SettableClock

    async def work(self) -> None:
        await flow_worker(self.world.database, self.keyring, self.clock).drain()

    async def buys(self, **buyer: Any) -> None:
        answer = await self.till.post("/v1/registrations", json=self.world.purchase(buyer=HOMOPHONE | buyer))
        assert answer.status_code == 201, answer.text
        await self.work()

    async def lists(self, number: str = "SYN-001", **person: Any) -> None:
        listed = {name: value for name, value in (LISTED | person).items() if name != "address"}
        answer = await self.authority.post("/v1/cases", json=a_case(number, person=listed))
        assert answer.status_code in (200, 201), answer.text
        await self.work()

    async def matches(self, **params: Any) -> list[dict[str, Any]]:
        answer = await self.reviewer.get("/v1/matches", params={"order": "oldest", **params})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def statuses(self) -> list[str]:
        return [match["status"] for match in await self.matches()]

    async def say(self, act: str, nth: int = 0, reason: str = WHY["reason"]) -> httpx.Response:
        match = (await self.matches())[nth]
        return await self.reviewer.post(f"/v1/matches/{match['id']}/{act}", json={"reason": reason})

    async def told(self) -> list[str]:
        answer = await self.reviewer.get("/v1/events")
        return [event["type"] for event in answer.json()["items"] if event["type"] != "clue.reported"]


@pytest.fixture
async def desk(database: Database, client_for: Clients, keyring: Keyring, clock: SettableClock) -> Desk:
    world = await build_world(database)
    clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
    return Desk(
        world,
        client_for(world.tills[0]),
        client_for(world.tokens["health_authority"]),
        client_for(world.tokens["epidemiologist"]),
        keyring,
        clock,
    )


@pytest.fixture
async def queued(desk: Desk) -> Desk:
    """One possible match in the queue."""
    await desk.lists()
    await desk.buys()
    return desk


class TestAPossibleMatch:
    async def test_waits_in_the_queue_with_all_that_a_reviewer_needs(self, queued: Desk) -> None:
        [match] = await queued.matches(status="possible", found_by="phone_sound")
        assert match["evidence"] == {"document": "absent", "phone": "equal", "name": "near", "birth_date": "absent"}
        assert (match["rule"], match["case_number"], match["classification"]) == (
            "phone_sound/1",
            "SYN-001",
            "confirmed",
        )
        assert match["reviews"] == []
        assert match["person_id"] != match["case_person_id"]
        assert await queued.matches(status="possible", found_by="near_document") == []
        assert await queued.told() == []

    async def test_that_is_confirmed_counts_and_is_told_of(self, queued: Desk) -> None:
        answer = await queued.say("confirm")
        assert (answer.status_code, answer.json()["status"]) == (200, "confirmed")
        [review] = answer.json()["reviews"]
        assert (review["act"], review["reason"], review["account_name"]) == (
            "confirm",
            WHY["reason"],
            "Synthetic epidemiologist",
        )
        assert await queued.told() == []
        await queued.work()
        assert await queued.told() == ["case.matched"]

    async def test_that_is_taken_back_is_withdrawn_and_waits_again(self, queued: Desk) -> None:
        for act, status in (("confirm", "confirmed"), ("reopen", "possible"), ("reject", "rejected")):
            answer = await queued.say(act)
            assert answer.json()["status"] == status
            await queued.work()
        assert [review["act"] for review in answer.json()["reviews"]] == ["confirm", "reopen", "reject"]
        assert await queued.told() == ["case.matched", "match.withdrawn"]

    @pytest.mark.parametrize(("before", "act"), [([], "reopen"), (["reject"], "reject"), (["confirm"], "confirm")])
    async def test_is_decided_once(self, queued: Desk, before: list[str], act: str) -> None:
        for step in before:
            assert (await queued.say(step)).status_code == 200
        answer = await queued.say(act)
        assert (answer.status_code, answer.json()["code"]) == (409, "match_transition_not_allowed")

    @pytest.mark.parametrize("reason", ["汪晓阳 said so", "王小样 said so", "call 138 0013 8000", "E12345678", " "])
    async def test_needs_a_reason_that_names_nobody(self, queued: Desk, reason: str) -> None:
        answer = await queued.say("confirm", reason=reason)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/reason"
        assert reason.strip() == "" or reason not in answer.text
        assert await queued.statuses() == ["possible"]

    async def test_from_before_there_were_reviews_is_judged_anew_first(self, queued: Desk) -> None:
        async with queued.world.database.transaction() as session:
            await session.execute(text("UPDATE matches SET pair = NULL"))
        answer = await queued.say("confirm")
        assert (answer.status_code, answer.json()["code"]) == (409, "match_transition_not_allowed")
        assert "sentinel rematch" in answer.json()["detail"]

    async def test_of_another_division_is_not_there(
        self, queued: Desk, client_for: Clients, database: Database
    ) -> None:
        match = (await queued.matches())[0]["id"]
        other = client_for(await keys.token(database, "epidemiologist", LUOHU, name="Synthetic Luohu epidemiologist"))
        for act in ("confirm", "reject", "reopen"):
            assert (await other.post(f"/v1/matches/{match}/{act}", json=WHY)).status_code == 404
            assert (await queued.authority.post(f"/v1/matches/{match}/{act}", json=WHY)).status_code == 403


class TestARejection:
    async def test_holds_for_the_next_purchase_and_for_new_case_rows(self, queued: Desk) -> None:
        assert (await queued.say("reject")).json()["status"] == "rejected"
        await queued.buys(address={"division": "440304006", "line": "香蜜湖街道合成花园 5 栋"})
        await queued.lists("SYN-002")
        await queued.lists()
        assert await queued.statuses() == ["rejected"] * 4
        assert await queued.matches(status="possible") == []
        assert await queued.told() == []

    async def test_is_taken_back_for_all_their_matches(self, queued: Desk) -> None:
        await queued.say("reject")
        await queued.buys()
        await queued.say("reopen", nth=1)
        assert await queued.statuses() == ["possible"] * 2

    async def test_does_not_stand_against_the_same_document(self, queued: Desk) -> None:
        await queued.say("reject")
        await queued.lists(document=HOMOPHONE["document"])
        [match] = await queued.matches()
        assert (match["strength"], match["status"], match["reviews"]) == ("certain", "counted", [])
        assert await queued.told() == ["case.matched"]

    async def test_of_a_match_that_counts_is_of_this_purchase_alone(self, desk: Desk) -> None:
        """Somebody else's document was typed: the next purchase with it is a match as ever."""
        await desk.lists(document=HOMOPHONE["document"])
        await desk.buys()
        assert (await desk.say("reject")).json()["status"] == "rejected"
        await desk.work()
        await desk.buys()
        assert await desk.statuses() == ["rejected", "counted"]
        await desk.say("reopen")
        await desk.work()
        assert await desk.statuses() == ["counted"] * 2
        assert await desk.told() == ["case.matched", "match.withdrawn", "case.matched", "case.matched"]


class TestAConfirmation:
    async def test_holds_for_the_next_purchase(self, queued: Desk) -> None:
        await queued.say("confirm")
        await queued.buys()
        assert await queued.statuses() == ["confirmed"] * 2
        await queued.work()
        assert await queued.told() == ["case.matched"] * 2

    async def test_is_withdrawn_with_the_case_and_comes_back_with_it(self, queued: Desk) -> None:
        await queued.say("confirm")
        await queued.work()
        case = (await queued.matches())[0]["case_id"]
        for classification, confirmed_at, status in (
            ("discarded", None, "withdrawn"),
            ("confirmed", "2026-02-17T20:10:00+08:00", "confirmed"),
        ):
            body = {"classification": classification, "confirmed_at": confirmed_at, "reason": "synthetic"}
            answer = await queued.authority.post(f"/v1/cases/{case}/classification", json=body)
            assert answer.status_code == 200, answer.text
            await queued.work()
            assert await queued.statuses() == [status]
        assert await queued.told() == ["case.matched", "match.withdrawn", "case.matched"]
