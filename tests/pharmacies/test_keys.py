"""A till's key: replaced in time, seen, listed; a chain's key for many pharmacies."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.auth.guards import KnownActors
from app.core.database import Database
from app.core.http import Services
from tests.conftest import MOMENT, Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, load_divisions
from tests.factories.pharmacies import enrolled
from tests.factories.world import build_world

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def official(database: Database, client_for: Clients) -> httpx.AsyncClient:
    await load_divisions(database)
    return client_for(await keys.token(database, "official", FUTIAN))


class Shop:
    """A pharmacy with one till."""

    def __init__(self, official: httpx.AsyncClient, door: str, key: dict[str, Any], services: Services) -> None:
        self.official, self.door, self.key, self.services = official, door, key, services

    def path(self, rest: str = "") -> str:
        return f"{self.door}/{self.key['id']}{rest}"

    def forget(self) -> None:
        """As after KNOWN_FOR_SECONDS."""
        self.services.parts.pop(KnownActors, None)

    async def opens(self, client_for: Clients, token: str) -> bool:
        self.forget()
        return (await client_for(token).get("/v1/regimes")).status_code == 200

    async def listed(self) -> list[dict[str, Any]]:
        return list((await self.official.get(self.door)).json()["items"])


@pytest.fixture
async def shop(official: httpx.AsyncClient, database: Database, services: Services) -> Shop:
    door = f"/v1/pharmacies/{await enrolled(database)}/keys"
    return Shop(official, door, (await official.post(door, json={"name": "till 7"})).json(), services)


class TestAKeyThatIsRotated:
    @pytest.mark.parametrize(
        ("body", "days"), [(None, 7), ({}, 7), ({"overlap_days": 30}, 30), ({"overlap_days": 1}, 1)]
    )
    async def test_goes_on_beside_the_new_one_for_a_while(
        self, shop: Shop, client_for: Clients, clock: SettableClock, body: dict[str, int] | None, days: int
    ) -> None:
        rotated = await shop.official.post(shop.path("/rotate"), json=body)
        assert rotated.status_code == 201
        told = rotated.json()
        assert told["old_expires_at"] == (MOMENT + days * DAY).isoformat().replace("+00:00", "Z")
        clock.moment = MOMENT + days * DAY - timedelta(seconds=1)
        assert [await shop.opens(client_for, one) for one in (shop.key["token"], told["token"])] == [True, True]
        clock.moment = MOMENT + days * DAY
        assert [await shop.opens(client_for, one) for one in (shop.key["token"], told["token"])] == [False, True]

    async def test_ends_at_once_if_so_wanted(self, shop: Shop, client_for: Clients) -> None:
        await shop.official.post(shop.path("/rotate"), json={"overlap_days": 0})
        assert not await shop.opens(client_for, shop.key["token"])

    @pytest.mark.parametrize("days", [-1, 31])
    async def test_overlaps_thirty_days_at_most(self, shop: Shop, days: int) -> None:
        assert (await shop.official.post(shop.path("/rotate"), json={"overlap_days": days})).status_code == 422

    async def test_is_not_prolonged_by_rotating_it_again(self, shop: Shop) -> None:
        first = (await shop.official.post(shop.path("/rotate"), json={"overlap_days": 1})).json()
        second = (await shop.official.post(shop.path("/rotate"), json={"overlap_days": 30})).json()
        assert second["old_expires_at"] == first["old_expires_at"]

    async def test_must_be_valid(self, shop: Shop) -> None:
        await shop.official.delete(shop.path())
        answer = await shop.official.post(shop.path("/rotate"))
        assert (answer.status_code, answer.json()["code"]) == (409, "key_not_active")

    async def test_of_another_pharmacy_is_not_found(self, shop: Shop, database: Database) -> None:
        other = await enrolled(database, 2)
        answer = await shop.official.post(f"/v1/pharmacies/{other}/keys/{shop.key['id']}/rotate")
        assert answer.status_code == 404


class TestTheListOfKeys:
    async def test_tells_all_but_the_tokens(self, shop: Shop, client_for: Clients, clock: SettableClock) -> None:
        new = (await shop.official.post(shop.path("/rotate"))).json()
        await shop.official.delete(f"{shop.door}/{new['id']}")
        newest, first = await shop.listed()
        assert (newest["id"], newest["name"], newest["expires_at"]) == (new["id"], "till 7", None)
        assert newest["revoked_at"] is not None
        assert (first["id"], first["revoked_at"], first["pharmacies"]) == (shop.key["id"], None, 1)
        assert first["expires_at"] == new["old_expires_at"]
        assert new["token"] not in str(await shop.listed())

    async def test_tells_in_which_hour_a_key_was_last_used(
        self, shop: Shop, client_for: Clients, clock: SettableClock
    ) -> None:
        assert (await shop.listed())[0]["last_seen_at"] is None
        clock.moment = MOMENT + timedelta(minutes=20)
        assert await shop.opens(client_for, shop.key["token"])
        assert (await shop.listed())[0]["last_seen_at"] == "2026-02-15T02:00:00Z"
        clock.moment = MOMENT + timedelta(minutes=70)
        assert await shop.opens(client_for, shop.key["token"])
        assert (await shop.listed())[0]["last_seen_at"] == "2026-02-15T03:00:00Z"

    async def test_is_shown_to_those_who_issue_keys(self, shop: Shop, client_for: Clients, database: Database) -> None:
        for role, status in (("admin", 200), ("epidemiologist", 403), ("auditor", 403)):
            client = client_for(await keys.token(database, role, FUTIAN))
            assert (await client.get(shop.door)).status_code == status


class TestAChainsKey:
    async def test_speaks_for_each_of_its_pharmacies(self, database: Database, client_for: Clients) -> None:
        world = await build_world(database, pharmacies=3)
        official = client_for(world.tokens["official"])
        ids = [str(one) for one in world.pharmacies[:2]]
        made = await official.post("/v1/pharmacies/keys", json={"name": "gateway", "pharmacies": ids})
        assert made.status_code == 201
        chain = client_for(made.json()["token"])
        for one, status in ((ids[0], 201), (ids[1], 201), (str(world.pharmacies[2]), 403)):
            answer = await chain.post("/v1/registrations", json=world.purchase(pharmacy_id=one))
            assert answer.status_code == status
        assert (await chain.post("/v1/registrations", json=world.purchase())).status_code == 403
        [listed] = [
            one
            for one in (await official.get(f"/v1/pharmacies/{ids[0]}/keys")).json()["items"]
            if one["pharmacies"] == 2
        ]
        assert listed["id"] == made.json()["id"]
        rotated = await official.post(f"/v1/pharmacies/{ids[1]}/keys/{listed['id']}/rotate")
        again = client_for(rotated.json()["token"])
        answer = await again.post("/v1/registrations", json=world.purchase(pharmacy_id=ids[0]))
        assert answer.status_code == 201

    async def test_lies_within_the_division_of_who_makes_it(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        ids = [str(await enrolled(database, 1)), str(await enrolled(database, 2, LUOHU))]
        made = await official.post("/v1/pharmacies/keys", json={"name": "gateway", "pharmacies": ids})
        assert made.status_code == 404

    @pytest.mark.parametrize("ids", [[], ["no id"]])
    async def test_names_its_pharmacies(self, official: httpx.AsyncClient, ids: list[str]) -> None:
        made = await official.post("/v1/pharmacies/keys", json={"name": "gateway", "pharmacies": ids})
        assert made.status_code == 422
