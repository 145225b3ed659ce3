"""What no list knows, from the till to the official's list, and into an alias."""

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from app.catalogue.jobs import fold, forget
from app.catalogue.misses import Miss
from app.catalogue.models import UnresolvedProduct, UnresolvedSightings
from app.catalogue.rows import MOST_PER_PHARMACY, Sighting, note_sightings
from app.catalogue.vocabulary import AliasKind
from app.core.database import Database
from app.core.ids import new_id
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU
from tests.factories.world import World, a_person, build_world

UNRESOLVED, ALIASES = "/v1/catalogue/unresolved", "/v1/catalogue/aliases"
GTIN = "6922097701513"
TODAY = MOMENT.date()


@pytest.fixture
async def world(database: Database) -> World:
    return await build_world(database, pharmacies=3)


@pytest.fixture
def tills(world: World, client_for: Clients) -> list[httpx.AsyncClient]:
    return [client_for(token) for token in world.tills]


@pytest.fixture
async def official(client_for: Clients, database: Database) -> httpx.AsyncClient:
    """An official of the province, whose list it is."""
    return client_for(await keys.token(database, "official", "44"))


async def unresolved(official: httpx.AsyncClient, database: Database, **query: Any) -> list[dict[str, Any]]:
    async with database.transaction() as session:
        await fold(session, [], now=MOMENT)
    answer = await official.get(UNRESOLVED, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def note(database: Database, *sightings: Sighting) -> None:
    async with database.transaction() as session:
        await note_sightings(session, Counter(sightings))


def sighting(name: str, pharmacy: int = 1, days_ago: int = 0, division: str = FUTIAN) -> Sighting:
    miss = Miss(AliasKind.NAME, name, None, resembles=False)
    return Sighting(UUID(int=pharmacy), division, TODAY - timedelta(days=days_ago), miss)


class TestAnUnresolvedProduct:
    async def test_is_shown_with_counts_and_what_it_may_be(
        self, world: World, tills: list[httpx.AsyncClient], official: httpx.AsyncClient, database: Database
    ) -> None:
        items = [{"gtin": GTIN, "name": "布洛芬缓释胶囊"}, {"name": "布洛芬乳膏 20g"}, {"name": "布洛芬乳膏"}]
        for till in tills[:2]:
            answer = await till.post("/v1/registrations", json=world.purchase(items=items))
            assert answer.status_code == 201
        found = [
            (
                *(one["kind"], one["value"], one["pharmacies"], one["times"], one["last_seen_on"]),
                one["drug"] and one["drug"]["wording"],
                [drug["wording"] for drug in one["resembles"]],
            )
            for one in await unresolved(official, database)
        ]
        assert found == [
            ("name", "布洛芬乳膏", 2, 4, "2026-02-15", None, ["布洛芬"]),
            ("gtin", GTIN, 2, 2, "2026-02-15", "布洛芬", []),
        ]

    async def test_is_noted_also_where_it_kept_a_purchase_from_being_registered(
        self, world: World, tills: list[httpx.AsyncClient], official: httpx.AsyncClient, database: Database
    ) -> None:
        for till in tills[:2]:
            answer = await till.post("/v1/registrations", json=world.purchase(items=[{"name": "合成牌退烧灵"}]))
            assert answer.json()["code"] == "registration_not_required"
        assert [one["value"] for one in await unresolved(official, database)] == ["合成牌退烧灵"]

    async def test_comes_from_sales_as_well(
        self, tills: list[httpx.AsyncClient], official: httpx.AsyncClient, database: Database
    ) -> None:
        for till in tills[:2]:
            body = {"day": "2026-02-15", "items": [{"name": "合成牌退烧灵", "quantity": 3}]}
            assert (await till.post("/v1/sales", json=body)).status_code == 201
        [one] = await unresolved(official, database)
        assert (one["value"], one["pharmacies"], one["times"]) == ("合成牌退烧灵", 2, 2)

    async def test_is_not_counted_again_for_the_same_purchase(
        self, world: World, tills: list[httpx.AsyncClient], official: httpx.AsyncClient, database: Database
    ) -> None:
        purchase = world.purchase(items=[{"gtin": GTIN, "name": "布洛芬缓释胶囊"}])
        statuses = [(await tills[0].post("/v1/registrations", json=purchase)).status_code for _ in range(3)]
        assert statuses == [201, 200, 200]
        assert [one["times"] for one in await unresolved(official, database)] == [1]

    async def test_is_not_noted_in_normal_times(
        self, world: World, tills: list[httpx.AsyncClient], official: httpx.AsyncClient, database: Database
    ) -> None:
        declared = {"division": "440304", "disease": "covid-19", "state": "counts", "valid_from": "2026-02-15"}
        assert (await official.post("/v1/regimes", json=declared)).status_code == 201
        for till in tills:
            await till.post("/v1/registrations", json=world.purchase(items=[{"name": "合成牌退烧灵"}]))
        assert await unresolved(official, database) == []

    async def test_becomes_an_alias_in_one_step_and_leaves_the_list(
        self, world: World, tills: list[httpx.AsyncClient], official: httpx.AsyncClient, database: Database
    ) -> None:
        for till in tills[:2]:
            purchase = world.purchase(items=[{"gtin": GTIN, "name": "布洛芬缓释胶囊"}, {"name": "合成牌退烧灵"}])
            await till.post("/v1/registrations", json=purchase)
        one, _ = sorted(await unresolved(official, database), key=lambda one: str(one["kind"]))
        scan = {"division": FUTIAN, "items": [{"gtin": GTIN}]}
        [unknown] = (await tills[0].post("/v1/catalogue/resolve", json=scan)).json()["items"]
        assert (unknown["drug"], unknown["unknown_codes"]) == (None, ["gtin"])
        body = {"drug_id": one["drug"]["id"], "kind": one["kind"], "value": one["value"]}
        added = await official.post(ALIASES, json=body)
        assert (added.status_code, added.json()["drug"]["wording"]) == (201, "布洛芬")
        assert (await official.post(ALIASES, json=body)).status_code == 200
        assert [one["value"] for one in await unresolved(official, database)] == ["合成牌退烧灵"]
        [known] = (await tills[0].post("/v1/catalogue/resolve", json=scan)).json()["items"]
        assert (known["drug"]["wording"], known["resolved_by"], known["unknown_codes"]) == ("布洛芬", "gtin", [])


class TestANameOnTheList:
    async def test_was_sent_by_two_pharmacies_or_holds_a_listed_one_and_came_three_times(
        self, world: World, tills: list[httpx.AsyncClient], official: httpx.AsyncClient, database: Database
    ) -> None:
        async def sell(till: httpx.AsyncClient, name: str) -> None:
            purchase = world.purchase(items=[{"name": "布洛芬片"}, {"name": name}])
            assert (await till.post("/v1/registrations", json=purchase)).status_code == 201

        for _ in range(3):
            await sell(tills[0], "合成牌退烧灵")
        await sell(tills[0], "布洛芬乳膏")
        await sell(tills[0], "布洛芬乳膏")
        assert await unresolved(official, database) == []
        await sell(tills[0], "布洛芬乳膏")
        await sell(tills[1], "合成牌退烧灵")
        assert {one["value"]: one["times"] for one in await unresolved(official, database)} == {
            "合成牌退烧灵": 4,
            "布洛芬乳膏": 3,
        }

    async def test_is_nowhere_if_it_names_the_buyer_or_the_patient(
        self, world: World, tills: list[httpx.AsyncClient], database: Database
    ) -> None:
        patient = a_person(name="李合成", document=None, document_missing_reason="Synthetic", phone="13900139000")
        items = [{"name": name} for name in ("布洛芬片", "王小样的药", "李合成", "替13900139000取")]
        answer = await tills[0].post("/v1/registrations", json=world.purchase(items=items, patient=patient))
        assert answer.status_code == 201
        async with database.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(UnresolvedSightings)) == 0


class TestTheListOfUnresolvedProducts:
    async def test_counts_what_lies_in_the_official_s_division(
        self, world: World, client_for: Clients, official: httpx.AsyncClient, database: Database
    ) -> None:
        await note(database, sighting("合成甲"), sighting("合成甲", 2), sighting("合成甲", 3, division=LUOHU))
        [wide] = await unresolved(official, database)
        [narrow] = await unresolved(client_for(world.tokens["official"]), database)
        assert (wide["pharmacies"], narrow["pharmacies"]) == (3, 2)
        assert await unresolved(official, database, division=LUOHU) == []
        assert await unresolved(official, database, kind="gtin") == []

    async def test_comes_in_pages_the_most_frequent_first(
        self, world: World, official: httpx.AsyncClient, database: Database
    ) -> None:
        for number, name in enumerate(("合成甲", "合成乙", "合成丙")):
            for _ in range(number + 1):
                await note(database, sighting(name), sighting(name, 2))
        await unresolved(official, database)
        first = (await official.get(UNRESOLVED, params={"limit": 2})).json()
        rest = (await official.get(UNRESOLVED, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [one["value"] for one in first["items"] + rest["items"]] == ["合成丙", "合成乙", "合成甲"]

    async def test_is_for_officials(self, world: World, client_for: Clients, anonymous: httpx.AsyncClient) -> None:
        for client, status in ((anonymous, 401), (client_for(world.tills[0]), 403)):
            assert (await client.get(UNRESOLVED)).status_code == status
            assert (await client.post(ALIASES, json={})).status_code == status
        assert (await client_for(world.tokens["epidemiologist"]).get(UNRESOLVED)).status_code == 403

    async def test_forgets(self, world: World, official: httpx.AsyncClient, database: Database) -> None:
        await note(
            database,
            *(sighting("久已不卖", pharmacy, 91) for pharmacy in (1, 2)),
            *(sighting("还在卖", pharmacy, 89) for pharmacy in (1, 2)),
            sighting("一家之言", 1, 31),
            sighting("新来的", 1, 29),
        )
        await unresolved(official, database)
        async with database.transaction() as session:
            await forget(session, [], now=MOMENT)
            left = set(await session.scalars(select(UnresolvedProduct.value)))
        assert left == {"还在卖", "新来的"}

    async def test_has_room_for_so_much_of_one_pharmacy(
        self, world: World, official: httpx.AsyncClient, database: Database
    ) -> None:
        await note(database, *(sighting(f"合成{number}", days_ago=number // 500) for number in range(1500)))
        await note(database, sighting("别家", 2))
        await unresolved(official, database)
        async with database.transaction() as session:
            counts = select(UnresolvedProduct.pharmacy_id, func.count()).group_by(UnresolvedProduct.pharmacy_id)
            assert sorted(row[1] for row in await session.execute(counts)) == [1, MOST_PER_PHARMACY]
            oldest = await session.scalar(select(func.min(UnresolvedProduct.last_seen_on)))
        assert oldest == TODAY - timedelta(days=1)


class TestANewAlias:
    async def test_belongs_to_the_official_s_own_division(
        self, world: World, client_for: Clients, official: httpx.AsyncClient
    ) -> None:
        drugs = (await official.get("/v1/catalogue", params={"division": "44"})).json()["drugs"]
        ids = {drug["wording"]: drug["id"] for drug in drugs}
        body = {"drug_id": ids["布洛芬"], "kind": "name", "value": "合成牌退烧灵"}
        assert (await client_for(world.tokens["official"]).post(ALIASES, json=body)).status_code == 404
        assert (await official.post(ALIASES, json={**body, "drug_id": str(new_id())})).status_code == 404
        assert (await official.post(ALIASES, json={**body, "kind": "gtin"})).json()["code"] == "alias_invalid"
        assert (await official.post(ALIASES, json=body)).status_code == 201
        other = {**body, "drug_id": next(drug_id for wording, drug_id in ids.items() if wording != "布洛芬")}
        assert (await official.post(ALIASES, json=other)).json()["code"] == "alias_taken"
