"""How much of a listed drug is noticed: an official says it, tills read it."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.auth.rules import SYSTEM
from app.catalogue.directory import Limit
from app.catalogue.queries import CATALOGUE
from app.catalogue.schemas import DrugListIn
from app.catalogue.service import load_list
from app.core.database import Database
from tests.conftest import MOMENT, Clients
from tests.factories.world import World, build_world

PLACE = {"division": "440304005"}
LIMIT = {"most_per_purchase": 2, "most_per_buyer": 4, "within_days": 7}
NONE = dict.fromkeys(LIMIT)


@pytest.fixture
async def world(database: Database) -> World:
    world = await build_world(database)
    async with database.transaction() as session:
        await load_list(session, a_list("合成片"), actor=SYSTEM, now=MOMENT)
    return world


def a_list(*wordings: str, **members: Any) -> DrugListIn:
    drugs = [{"wording": wording, "kind": "chemical", "syndrome": "fever"} for wording in wordings]
    told = {"code": "synthetic", "name": "Synthetic", "division": "440304", "valid_from": "2026-01-01", "drugs": drugs}
    return DrugListIn.model_validate(told | members)


async def listed(reader: httpx.AsyncClient, wording: str) -> dict[str, Any]:
    drugs = (await reader.get("/v1/catalogue", params=PLACE)).json()["drugs"]
    [drug] = [one for one in drugs if one["wording"] == wording]
    return dict(drug)


class TestALimit:
    async def test_is_set_shown_changed_and_taken_away(self, official: httpx.AsyncClient, database: Database) -> None:
        drug = await listed(official, "合成片")
        assert drug["limit"] is None
        path = f"/v1/catalogue/drugs/{drug['id']}/limit"
        tag = (await official.get("/v1/catalogue", params=PLACE)).headers["etag"]
        for body, limit in (
            (LIMIT, LIMIT),
            ({"most_per_purchase": 3}, NONE | {"most_per_purchase": 3}),
            (LIMIT, LIMIT),
            ({}, None),
        ):
            answer = await official.put(path, json=body)
            assert (answer.status_code, answer.json()["limit"]) == (200, limit)
            assert (await listed(official, "合成片"))["limit"] == limit
            # A till that keeps the catalogue learns of it.
            assert ((await official.get("/v1/catalogue", params=PLACE)).headers["etag"] == tag) == (limit is None)
        async with database.transaction() as session:
            details = (
                await session.execute(text("SELECT detail FROM audit_entries WHERE action = 'drug_limit.set'"))
            ).scalars()
            assert list(details)[-2:] == [LIMIT, NONE]

    async def test_outlives_the_version_of_the_list(self, official: httpx.AsyncClient, database: Database) -> None:
        before = await listed(official, "合成片")
        assert (await official.put(f"/v1/catalogue/drugs/{before['id']}/limit", json=LIMIT)).status_code == 200
        async with database.transaction() as session:
            newer = a_list("合成片", "另一合成片", valid_from="2026-02-01")
            await load_list(session, newer, actor=SYSTEM, now=MOMENT)
            catalogue = await CATALOGUE.get(session)
        versions = [drug for drug in catalogue.drugs.values() if drug.wording == "合成片"]
        assert [drug.limit for drug in versions] == [Limit(**LIMIT)] * 2
        assert {catalogue.newest_of(drug.id) for drug in versions} == {versions[0].id}
        assert [drug.limit for drug in catalogue.drugs.values() if drug.wording == "另一合成片"] == [None]

    @pytest.mark.parametrize(
        ("body", "finding"),
        [
            ({"most_per_buyer": 4}, ("", "limit_incomplete")),
            ({"within_days": 4}, ("", "limit_incomplete")),
            ({"most_per_purchase": 0}, ("/most_per_purchase", "greater_than_equal")),
            (LIMIT | {"within_days": 91}, ("/within_days", "less_than_equal")),
        ],
    )
    async def test_that_says_nothing_is_refused(
        self, official: httpx.AsyncClient, body: dict[str, int], finding: tuple[str, str]
    ) -> None:
        drug = await listed(official, "合成片")
        refused = await official.put(f"/v1/catalogue/drugs/{drug['id']}/limit", json=body)
        assert refused.status_code == 422
        assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == [finding]

    async def test_is_set_by_officials_of_the_list_s_division(
        self, official: httpx.AsyncClient, world: World, client_for: Clients
    ) -> None:
        province = await listed(official, "布洛芬")
        assert (await official.put(f"/v1/catalogue/drugs/{province['id']}/limit", json=LIMIT)).status_code == 404
        till = client_for(world.tills[0])
        assert (await till.put(f"/v1/catalogue/drugs/{province['id']}/limit", json=LIMIT)).status_code == 403
