import httpx
import pytest

from app.auth.rules import SYSTEM, Role
from app.catalogue.imports import load_shipped
from app.core.database import Database
from app.divisions.service import load_shipped as load_all_divisions
from tests.conftest import MOMENT, Clients
from tests.factories.keys import token

PATH = "/v1/catalogue"
FUTIAN = {"division": "440304"}


@pytest.fixture(autouse=True)
async def shipped(database: Database) -> None:
    async with database.transaction() as session:
        await load_all_divisions(session, actor=SYSTEM, now=MOMENT)
        await load_shipped(session, actor=SYSTEM, now=MOMENT)


@pytest.fixture
async def till(client_for: Clients, database: Database) -> httpx.AsyncClient:
    return client_for(await token(database, Role.PHARMACY))


class TestTheCatalogue:
    async def test_shows_every_list_in_force_and_its_drugs(self, till: httpx.AsyncClient) -> None:
        answer = await till.get(PATH, params=FUTIAN)
        assert answer.status_code == 200
        body = answer.json()
        assert [(one["code"], one["confirmed"], one["published_size"]) for one in body["lists"]] == [
            ("sz_plus2", 2, 5),
            ("gd37", 25, 37),
        ]
        assert len(body["drugs"]) == 27
        assert {"gtins", "approval_numbers", "trace_prefixes", "names"} == set(body["drugs"][0]["aliases"])

    async def test_shows_another_day(self, till: httpx.AsyncClient) -> None:
        body = (await till.get(PATH, params={**FUTIAN, "on": "2021-01-01"})).json()
        assert [one["code"] for one in body["lists"]] == ["gd43_2020"]

    async def test_is_not_sent_again_to_who_has_it(self, till: httpx.AsyncClient) -> None:
        first = await till.get(PATH, params=FUTIAN)
        tag = first.headers["ETag"]
        for sent in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = await till.get(PATH, params=FUTIAN, headers={"If-None-Match": sent})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        other = await till.get(PATH, params={"division": "4406"}, headers={"If-None-Match": tag})
        assert other.status_code == 200
        assert other.headers["ETag"] != tag

    @pytest.mark.parametrize(
        ("params", "code", "pointer"),
        [
            ({}, "required", "?division"),
            ({"division": "44030"}, "string_pattern_mismatch", "?division"),
            ({"division": "440399"}, "division_unknown", "?division"),
            ({"division": "4403", "on": "soon"}, "date_format", "?on"),
        ],
    )
    async def test_needs_a_place_and_a_day(
        self, till: httpx.AsyncClient, params: dict[str, str], code: str, pointer: str
    ) -> None:
        answer = await till.get(PATH, params=params)
        assert answer.status_code == 422
        assert [(error["code"], error["pointer"]) for error in answer.json()["errors"]] == [(code, pointer)]

    async def test_is_for_any_role_but_not_for_anybody(
        self, client_for: Clients, database: Database, anonymous: httpx.AsyncClient
    ) -> None:
        assert (await anonymous.get(PATH, params=FUTIAN)).status_code == 401
        assert (await anonymous.post(f"{PATH}/resolve", json={})).status_code == 401
        for role in Role:
            if role is not Role.SYSTEM:
                caller = client_for(await token(database, role))
                assert (await caller.get(PATH, params=FUTIAN)).status_code == 200


class TestResolving:
    async def test_answers_per_item_in_order(self, till: httpx.AsyncClient) -> None:
        items = [
            {"name": "芬必得 布洛芬缓释胶囊"},
            {"name": "布洛芬乳膏"},
            {"gtin": "6922097701513", "name": "头孢克肟分散片"},
            {"gtin": "123", "trace_codes": ["1" * 20]},
        ]
        answer = await till.post(f"{PATH}/resolve", json={**FUTIAN, "items": items})
        assert answer.status_code == 200
        found = [
            (
                item["drug"] and (item["drug"]["list"], item["drug"]["wording"]),
                item["resolved_by"],
                item["warnings"],
                item["unknown_codes"],
            )
            for item in answer.json()["items"]
        ]
        assert found == [
            (("gd37", "布洛芬"), "name", [], []),
            (None, None, ["resembles_listed"], []),
            (("sz_plus2", "抗生素"), "name", ["class_by_stem"], ["gtin"]),
            (None, None, ["gtin_invalid"], ["trace"]),
        ]

    async def test_looks_at_the_place_and_the_day(self, till: httpx.AsyncClient) -> None:
        async def listed(**where: str) -> bool:
            body = {**FUTIAN, **where, "items": [{"name": "头孢克肟分散片"}]}
            return (await till.post(f"{PATH}/resolve", json=body)).json()["items"][0]["drug"] is not None

        assert await listed()
        assert not await listed(division="4401")
        assert not await listed(on="2021-12-31")

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"items": [{"name": "布洛芬"}]}, "/division"),
            ({"division": "440399", "items": [{"name": "布洛芬"}]}, "/division"),
            ({**FUTIAN, "items": []}, "/items"),
            ({**FUTIAN, "items": [{}]}, "/items/0"),
            ({**FUTIAN, "items": [{"name": "布\0洛芬"}]}, "/items/0/name"),
            ({**FUTIAN, "items": [{"name": "布洛芬", "colour": "red"}]}, "/items/0/colour"),
            ({**FUTIAN, "items": [{"name": "布洛芬"}] * 1001}, "/items"),
        ],
    )
    async def test_points_to_what_is_wrong(
        self, till: httpx.AsyncClient, body: dict[str, object], pointer: str
    ) -> None:
        answer = await till.post(f"{PATH}/resolve", json=body)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
