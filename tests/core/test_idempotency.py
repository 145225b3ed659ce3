"""`Idempotency-Key` over HTTP: once done, always answered alike; refused, never remembered."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select

from app.auth.models import ApiKey
from app.core.database import Database
from app.core.idempotency import IdempotencyKey, IdempotencyKeyMalformed, purge, read_key
from app.pharmacies.models import Pharmacy
from tests.conftest import MOMENT, Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, load_divisions
from tests.factories.pharmacies import enrolled, pharmacy_body
from tests.factories.world import World, build_world

PATH = "/v1/pharmacies"


def named(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def count(database: Database, table: Any) -> int:
    async with database.transaction() as session:
        return int((await session.execute(select(func.count()).select_from(table))).scalar_one())


@pytest.fixture
async def official(database: Database, client_for: Clients) -> httpx.AsyncClient:
    await load_divisions(database)
    return client_for(await keys.token(database, "official", FUTIAN))


class TestAKey:
    @pytest.mark.parametrize(
        ("written", "key"),
        [
            ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (r'"a \"b\" \\c"', r'a "b" \c'),
            ('"' + "a" * 255 + '"', "a" * 255),
        ],
    )
    def test_is_a_string_with_or_without_quotes(self, written: str, key: str) -> None:
        assert read_key([written]) == key

    @pytest.mark.parametrize(
        "values", [[""], ['""'], ['"a'], ["a b"], ["é"], ['"\t"'], ["a" * 256], ['"a";b=1'], ["a", "b"]]
    )
    def test_that_is_none_is_refused(self, values: list[str]) -> None:
        with pytest.raises(IdempotencyKeyMalformed):
            read_key(values)


class TestARequestWithAKey:
    async def test_that_is_sent_again_gets_the_same_answer_and_does_nothing(
        self, official: httpx.AsyncClient, database: Database, clock: SettableClock
    ) -> None:
        first = await official.post(PATH, json=pharmacy_body(), headers=named('"one"'))
        clock.moment = MOMENT + timedelta(hours=1)
        again = await official.post(PATH, json=pharmacy_body(), headers=named("one"))
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.content == first.content
        assert again.headers["content-type"] == first.headers["content-type"]
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert await count(database, Pharmacy) == 1

    async def test_shows_a_token_again_that_nobody_else_can_read(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        door = f"{PATH}/{await enrolled(database)}/keys"
        first, again = [(await official.post(door, json={"name": "till"}, headers=named("k"))).json() for _ in "12"]
        assert first == again
        async with database.transaction() as session:
            row = (await session.scalars(select(IdempotencyKey))).one()
            assert (await session.execute(select(func.count()).where(ApiKey.name == "till"))).scalar_one() == 1
        assert first["token"].encode() not in row.answer

    async def test_is_another_than_the_same_key_with_other_content(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        await official.post(PATH, json=pharmacy_body(1), headers=named("one"))
        for path, body in (
            (PATH, pharmacy_body(2)),
            ("/v1/regimes", pharmacy_body(1)),
            (f"{PATH}?a=1", pharmacy_body(1)),
        ):
            refused = await official.post(path, json=body, headers=named("one"))
            assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
        assert await count(database, Pharmacy) == 1

    async def test_that_was_refused_is_done_when_it_can_be(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        door = "/v1/pharmacies"
        bad = await official.post(door, json=pharmacy_body() | {"enrolled_on": "2026-02-16"}, headers=named("one"))
        assert bad.status_code == 422
        assert await count(database, IdempotencyKey) == 0
        assert (await official.post(door, json=pharmacy_body(), headers=named("one"))).status_code == 201

    async def test_belongs_to_its_account(
        self, official: httpx.AsyncClient, client_for: Clients, database: Database
    ) -> None:
        other = client_for(await keys.token(database, "admin", FUTIAN))
        assert (await official.post(PATH, json=pharmacy_body(), headers=named("one"))).status_code == 201
        assert (await other.post(PATH, json=pharmacy_body(2), headers=named("one"))).status_code == 201

    async def test_without_a_token_is_refused_as_ever(self, anonymous: httpx.AsyncClient) -> None:
        assert (await anonymous.post(PATH, json=pharmacy_body(), headers=named("one"))).status_code == 401

    async def test_that_is_malformed_is_refused(self, official: httpx.AsyncClient) -> None:
        answer = await official.post(PATH, json=pharmacy_body(), headers=named('"one'))
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_malformed")

    async def test_is_forgotten_after_a_day(
        self, official: httpx.AsyncClient, database: Database, clock: SettableClock
    ) -> None:
        await official.post(PATH, json=pharmacy_body(1), headers=named("one"))
        async with database.transaction() as session:
            assert await purge(session, now=MOMENT + timedelta(hours=24, seconds=-1)) == 0
        clock.moment = MOMENT + timedelta(hours=24)
        assert (await official.post(PATH, json=pharmacy_body(2), headers=named("one"))).status_code == 201
        async with database.transaction() as session:
            assert await purge(session, now=MOMENT + timedelta(hours=48)) == 1

    async def test_keeps_no_key_and_no_content_in_plain(self, official: httpx.AsyncClient, database: Database) -> None:
        await official.post(PATH, json=pharmacy_body(), headers=named("13800138000"))
        async with database.transaction() as session:
            row = (await session.scalars(select(IdempotencyKey))).one()
        kept = row.key_hash + row.fingerprint + row.answer
        assert b"13800138000" not in kept
        assert pharmacy_body()["name"].encode() not in kept


class TestAPurchaseWithAKey:
    @pytest.fixture
    async def world(self, database: Database) -> World:
        return await build_world(database)

    async def test_is_known_by_its_own_name(self, world: World, client_for: Clients, database: Database) -> None:
        till = client_for(world.tills[0])
        body = world.purchase()
        answers = [await till.post("/v1/registrations", json=body, headers=named(str(uuid4()))) for _ in "12"]
        assert [answer.status_code for answer in answers] == [201, 200]
        assert await count(database, IdempotencyKey) == 0

    async def test_that_is_malformed_is_refused(self, world: World, client_for: Clients) -> None:
        till = client_for(world.tills[0])
        assert (await till.post("/v1/registrations", json=world.purchase(), headers=named("a b"))).status_code == 400


class TestTheDocument:
    def test_offers_the_key_on_every_post(self) -> None:
        from app import openapi
        from app.serving import blueprint

        for methods in openapi.document(blueprint())["paths"].values():
            if "post" in methods:
                assert "Idempotency-Key" in {one["name"] for one in methods["post"]["parameters"]}
