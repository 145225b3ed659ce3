"""Rewards over HTTP: what officials see and do, and what others are refused."""

from uuid import UUID

import httpx
import pytest

from app.auth.rules import Role
from app.core.database import Database
from app.core.sealing import Keyring
from app.rewards import service
from tests.conftest import MOMENT, Clients
from tests.factories import divisions, keys
from tests.factories.rewards import World


@pytest.fixture
async def world(database: Database, keyring: Keyring) -> tuple[UUID, UUID]:
    """A case that two pharmacies registered, the first in Shatou, the second in Luohu."""
    await divisions.load_divisions(database)
    async with database.transaction() as session:
        world = World(session, keyring)
        case, first, second = await world.case(), await world.pharmacy(), await world.pharmacy(divisions.LUOHU)
        for pharmacy in (first, second):
            await world.match(case, await world.registration(pharmacy))
        await service.evaluate_cases(session, [case], now=MOMENT)
    return first, second


@pytest.fixture
async def official(database: Database, world: tuple[UUID, UUID], client_for: Clients) -> httpx.AsyncClient:
    return client_for(await keys.token(database, Role.OFFICIAL, "4403", name="Synthetic official A"))


@pytest.fixture
async def colleague(database: Database, world: tuple[UUID, UUID], client_for: Clients) -> httpx.AsyncClient:
    return client_for(await keys.token(database, Role.OFFICIAL, "4403", name="Synthetic official B"))


async def proposed(client: httpx.AsyncClient) -> str:
    answer = await client.get("/v1/rewards/decisions", params={"status": "proposed"})
    (decision,) = answer.json()["items"]
    return str(decision["id"])


class TestTheList:
    async def test_shows_every_criterion_in_words(self, official: httpx.AsyncClient, world: tuple[UUID, UUID]) -> None:
        answer = await official.get("/v1/rewards/decisions")
        assert answer.status_code == 200
        by_pharmacy = {item["pharmacy_id"]: item for item in answer.json()["items"]}
        first, second = (by_pharmacy[str(pharmacy)] for pharmacy in world)
        assert (first["status"], first["amount"], first["currency"]) == ("proposed", "1000.00", "CNY")
        assert (second["status"], second["amount"]) == ("not_eligible", "0.00")
        assert second["first_unmet"] == "first_reporter"
        assert len(first["criteria"]) == len(second["criteria"]) == 12
        assert first["criteria"][0] == {"code": "case_confirmed", "met": True, "detail": "The case is confirmed."}
        assert first["case_number"] == "SYN-1"

    async def test_speaks_chinese_when_asked(self, official: httpx.AsyncClient) -> None:
        answer = await official.get("/v1/rewards/decisions", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
        assert answer.headers["Content-Language"] == "zh"
        assert answer.json()["items"][0]["criteria"][0]["detail"] == "病例已确诊。"

    async def test_ends_at_the_border_of_the_division(
        self, world: tuple[UUID, UUID], database: Database, client_for: Clients
    ) -> None:
        client = client_for(await keys.token(database, Role.OFFICIAL, divisions.FUTIAN))
        (item,) = (await client.get("/v1/rewards/decisions")).json()["items"]
        assert item["pharmacy_id"] == str(world[0])
        stranger = client_for(await keys.token(database, Role.OFFICIAL, "4401"))
        assert (await stranger.get("/v1/rewards/decisions")).json()["items"] == []
        assert (await stranger.get(f"/v1/rewards/decisions/{item['id']}")).status_code == 404
        assert (await stranger.post(f"/v1/rewards/decisions/{item['id']}/approve")).status_code == 404

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"status": "not_eligible"}, 1),
            ({"first_unmet": "first_reporter"}, 1),
            ({"first_unmet": "under_cap"}, 0),
            ({"division": "4403"}, 2),
            ({"division": "4403", "below": "false"}, 0),
            ({"division": divisions.LUOHU, "below": "false"}, 1),
            ({"month": "2026-02"}, 2),
            ({"month": "2026-03"}, 0),
            ({"from": "2026-02-15", "to": "2026-02-16"}, 2),
            ({"to": "2026-02-15"}, 0),
            ({"from": "2026-02-16"}, 0),
        ],
    )
    async def test_is_narrowed_by_filters(self, official: httpx.AsyncClient, query: dict[str, str], found: int) -> None:
        answer = await official.get("/v1/rewards/decisions", params=query)
        assert len(answer.json()["items"]) == found

    async def test_comes_in_pages(self, official: httpx.AsyncClient) -> None:
        page = (await official.get("/v1/rewards/decisions", params={"limit": 1})).json()
        rest = (await official.get("/v1/rewards/decisions", params={"limit": 1, "cursor": page["next_cursor"]})).json()
        assert rest["next_cursor"] is None
        assert page["items"][0]["id"] > rest["items"][0]["id"]

    @pytest.mark.parametrize(
        "query",
        [{"from": "2026-02-02", "to": "2026-02-02"}, {"month": "2026-13"}, {"from": "9999-12-31"}, {"cursor": "x"}],
    )
    async def test_refuses_a_query_that_makes_no_sense(
        self, official: httpx.AsyncClient, query: dict[str, str]
    ) -> None:
        answer = await official.get("/v1/rewards/decisions", params=query)
        assert answer.status_code == 422


class TestThePath:
    async def test_leads_from_approval_to_payment_and_back(
        self, official: httpx.AsyncClient, colleague: httpx.AsyncClient
    ) -> None:
        path = f"/v1/rewards/decisions/{await proposed(official)}"
        assert (await official.post(f"{path}/approve")).json()["status"] == "approved"
        refused = await official.post(f"{path}/pay")
        assert (refused.status_code, refused.json()["code"]) == (409, "same_official")
        paid = await colleague.post(f"{path}/pay", json={"reason": "transfer 2026-118"})
        assert paid.json()["status"] == "paid"
        back = (await official.post(f"{path}/reverse", json={"reason": "made up afterwards"})).json()
        assert [(step["from_status"], step["to_status"], step["reason"]) for step in back["history"]] == [
            (None, "proposed", None),
            ("proposed", "approved", None),
            ("approved", "paid", "transfer 2026-118"),
            ("paid", "reversed", "made up afterwards"),
        ]
        assert back["history"][1]["actor_name"] == "Synthetic official A"

    async def test_needs_a_reason_to_reject(self, official: httpx.AsyncClient) -> None:
        path = f"/v1/rewards/decisions/{await proposed(official)}/reject"
        assert (await official.post(path, json={})).json()["errors"][0]["pointer"] == "/reason"
        assert (await official.post(path, json={"reason": "another drug"})).json()["status"] == "rejected"

    async def test_says_why_a_step_is_not_possible(self, official: httpx.AsyncClient) -> None:
        answer = await official.post(f"/v1/rewards/decisions/{await proposed(official)}/pay")
        assert (answer.status_code, answer.json()["code"]) == (409, "transition_not_allowed")
        assert answer.json()["detail"] == "The decision is proposed"

    @pytest.mark.parametrize(
        "role", [Role.PHARMACY, Role.EPIDEMIOLOGIST, Role.HEALTH_AUTHORITY, Role.AUDITOR, Role.ADMIN]
    )
    async def test_is_closed_to_everybody_but_officials(
        self, role: Role, world: tuple[UUID, UUID], database: Database, client_for: Clients
    ) -> None:
        own = world[:1] if role is Role.PHARMACY else ()
        client = client_for(await keys.token(database, role, None if own else "4403", own))
        for path in ("/v1/rewards/decisions", "/v1/rewards/policies", "/v1/rewards/report"):
            assert (await client.get(path)).status_code == 403


class TestThePolicies:
    async def test_are_listed_with_their_parameters(self, official: httpx.AsyncClient) -> None:
        (policy,) = (await official.get("/v1/rewards/policies")).json()["items"]
        assert (policy["version"], policy["award"], policy["amount"], policy["cap_per_month"]) == (
            1,
            "first",
            "1000.00",
            3,
        )
