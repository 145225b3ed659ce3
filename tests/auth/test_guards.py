"""From a token to an actor, and how long it is believed."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from app.auth import guards
from app.auth.guards import KNOWN_FOR_SECONDS, KnownActors
from app.auth.models import ApiKey
from app.auth.queries import token_hash
from app.auth.rules import SYSTEM, Actor
from app.auth.service import revoke_key
from app.core.database import Database
from app.core.errors import NotFound, Unauthenticated
from app.core.http import Services
from app.core.ids import new_id
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import FUTIAN


class Time:
    """The guard's own clock."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Time:
    passing = Time()
    monkeypatch.setattr(guards, "time", passing)
    return passing


async def revoke(database: Database, token: str) -> None:
    async with database.transaction() as session:
        key_id = (await session.execute(select(ApiKey.id).where(ApiKey.token_hash == token_hash(token)))).scalar_one()
        await revoke_key(session, key_id, actor=SYSTEM, now=MOMENT)


class TestAKey:
    async def test_opens_what_its_role_may_and_nothing_else(self, database: Database, client_for: Clients) -> None:
        official = client_for(await keys.token(database, "official", FUTIAN))
        assert (await official.get("/v1/pharmacies")).status_code == 200
        refused = await official.get("/v1/audit")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert refused.json()["detail"] == "Needs the permission audit.read"

    async def test_that_is_revoked_is_refused_within_two_seconds(
        self, database: Database, client_for: Clients, passing: Time
    ) -> None:
        token = await keys.token(database, "official", FUTIAN)
        client = client_for(token)
        assert (await client.get("/v1/pharmacies")).status_code == 200
        await revoke(database, token)
        passing.seconds += KNOWN_FOR_SECONDS
        for _ in range(2):
            assert (await client.get("/v1/pharmacies")).status_code == 401
        assert KNOWN_FOR_SECONDS <= 2

    async def test_is_looked_up_once_in_two_seconds(
        self,
        database: Database,
        services: Services,
        client_for: Clients,
        passing: Time,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        token = await keys.token(database, "official", FUTIAN)
        looked_up = 0
        real = guards.find_actors

        async def counting(*arguments: object, **members: object) -> object:
            nonlocal looked_up
            looked_up += 1
            return await real(*arguments, **members)  # type: ignore[arg-type]

        monkeypatch.setattr(guards, "find_actors", counting)
        client = client_for(token)
        for _ in range(5):
            await client.get("/v1/pharmacies")
        assert looked_up == 1
        passing.seconds += KNOWN_FOR_SECONDS
        await client.get("/v1/pharmacies")
        assert looked_up == 2

    async def test_is_looked_up_together_with_those_that_came_since(
        self, database: Database, services: Services, passing: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokens = [await keys.token(database, "official", FUTIAN, name=f"Synthetic {number}") for number in range(4)]
        asked: list[int] = []
        real = guards.find_actors

        async def counting(session: Any, hashed: Any, **members: Any) -> Any:
            asked.append(len(hashed))
            return await real(session, hashed, **members)

        monkeypatch.setattr(guards, "find_actors", counting)
        known = KnownActors()
        actors = [await known.resolve(services, token) for token in tokens]
        assert [await known.resolve(services, token) for token in tokens[:3]] == actors[:3]
        await revoke(database, tokens[1])
        passing.seconds += KNOWN_FOR_SECONDS
        assert await known.resolve(services, tokens[0]) == actors[0]
        with pytest.raises(Unauthenticated):
            await known.resolve(services, tokens[1])
        assert await known.resolve(services, tokens[2]) == actors[2]
        assert asked == [1, 1, 1, 1, 3, 1]
        assert await known.resolve(services, tokens[3]) == actors[3]

    async def test_that_many_present_at_once_is_looked_up_once(
        self, database: Database, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = await keys.token(database, "official", FUTIAN)
        going, looked_up = asyncio.Event(), 0
        real = guards.find_actors

        async def slow(*arguments: Any, **members: Any) -> Any:
            nonlocal looked_up
            looked_up += 1
            await going.wait()
            return await real(*arguments, **members)

        monkeypatch.setattr(guards, "find_actors", slow)
        known = KnownActors()
        calls = [asyncio.create_task(known.resolve(services, token)) for _ in range(5)]
        await asyncio.sleep(0)
        calls[0].cancel()  # who began the look-up hangs up
        going.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert len({actor.key_id for actor in outcomes[1:] if isinstance(actor, Actor)}) == 1
        assert looked_up == 1
        assert not known._asked

    async def test_is_the_first_that_is_presented(self, database: Database, client_for: Clients) -> None:
        good = ("authorization", f"Bearer {await keys.token(database, 'official', FUTIAN)}")
        bad = ("authorization", "Bearer sentinel_nobody")
        for presented, status in (((good, bad), 200), ((bad, good), 401)):
            assert (await client_for(None).get("/v1/pharmacies", headers=list(presented))).status_code == status

    async def test_that_is_unknown_is_not_remembered(
        self, services: Services, database: Database, client_for: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guards, "_MOST_KNOWN", 3)
        for number in range(5):
            await client_for(f"sentinel_{number}").get("/v1/pharmacies")
        known = services.parts.get(KnownActors)
        assert known is None or known._known == {}
        for number in range(5):
            client = client_for(await keys.token(database, "official", FUTIAN, name=f"Synthetic {number}"))
            await client.get("/v1/pharmacies")
        assert len(services.parts[KnownActors]._known) <= 3

    async def test_is_kept_as_a_hash_alone(self, database: Database) -> None:
        token = await keys.token(database, "official", FUTIAN)
        async with database.transaction() as session:
            [key] = (await session.execute(select(ApiKey))).scalars()
            assert token.encode() not in key.token_hash
            assert (key.token_hash, len(key.token_hash)) == (token_hash(token), 32)


class TestRevoking:
    async def test_again_changes_nothing_and_of_nothing_is_refused(self, database: Database) -> None:
        token = await keys.token(database, "official", FUTIAN)
        await revoke(database, token)
        await revoke(database, token)
        with pytest.raises(NotFound):
            async with database.transaction() as session:
                await revoke_key(session, new_id(), actor=SYSTEM, now=MOMENT)


class TestAnAccount:
    async def test_is_one_however_many_keys_it_has(self, database: Database) -> None:
        first, second = [await keys.actor(database, "official", FUTIAN) for _ in range(2)]
        other = await keys.actor(database, "official", FUTIAN, name="Synthetic other")
        above = await keys.actor(database, "official", "4403")
        assert first.account_id == second.account_id
        assert first.key_id != second.key_id
        assert len({first.account_id, other.account_id, above.account_id}) == 3

    async def test_of_a_chain_is_known_by_its_pharmacies_in_any_order(self, database: Database) -> None:
        shops = [new_id(), new_id()]
        one = await keys.actor(database, "pharmacy", pharmacy_ids=shops)
        same = await keys.actor(database, "pharmacy", pharmacy_ids=shops[::-1], name="Another name")
        part = await keys.actor(database, "pharmacy", pharmacy_ids=shops[:1])
        assert one.account_id == same.account_id != part.account_id
        assert one.pharmacy_ids == frozenset(shops)
