"""The same purchases from many sides at once, with real commits. Everybody here is synthetic."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import func, select, text

from app.auth.rules import Actor
from app.core.database import Database
from app.core.errors import AppError
from app.core.http import Services
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.main import create_app
from app.people.models import Person
from app.registrations import intake
from app.registrations.drafts import Recorded, Submission
from app.registrations.intake import Intake
from app.registrations.models import Registration
from app.registrations.schemas import RegistrationIn
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.world import World, a_person, a_purchase, build_world


@pytest.fixture
async def world(committed: Database) -> World:
    return await build_world(committed)


@pytest.fixture
async def intakes(committed: Database, keyring: Keyring, clock: SettableClock) -> AsyncIterator[list[Intake]]:
    """Two processes, as far as the database can tell."""
    second = Database(committed.url)
    yield [Intake(database, clock, keyring) for database in (committed, second)]
    await second.dispose()


@pytest.fixture
async def actor(world: World) -> Actor:
    return await keys.actor(world.database, "pharmacy", pharmacy_ids=world.pharmacies)


def synthetic(number: int, **members: Any) -> dict[str, Any]:
    """A purchase by a buyer of its own."""
    return a_purchase(f"RACE-{number:05d}", buyer=a_person(phone=f"138{number:08d}", document=None)) | members


def submission(actor: Actor, body: dict[str, Any]) -> Submission:
    return Submission(actor, RegistrationIn.model_validate(body))


async def outcome_of(call: Any) -> str:
    try:
        recorded = await call
    except AppError as error:
        return error.code
    return "duplicate" if recorded.duplicate else "created"


async def count(database: Database, table: type) -> int:
    async with database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def queued(database: Database) -> list[UUID]:
    async with database.transaction() as session:
        payloads = await session.execute(text("SELECT payload FROM jobs WHERE kind = 'registrations.recorded'"))
        return sorted(UUID(one) for payload in payloads.scalars() for one in payload["registration_ids"])


async def registration_ids(database: Database) -> list[UUID]:
    async with database.transaction() as session:
        return sorted((await session.execute(select(Registration.id))).scalars())


class TestOnePurchaseFromManySides:
    async def test_is_created_once(self, intakes: list[Intake], actor: Actor, committed: Database) -> None:
        for number in range(5):
            one = submission(actor, synthetic(number))
            outcomes = await asyncio.gather(*(outcome_of(intakes[at % 2].record(one)) for at in range(20)))
            assert Counter(outcomes) == {"created": 1, "duplicate": 19}
        assert await count(committed, Registration) == await count(committed, Person) == 5
        assert await queued(committed) == await registration_ids(committed)

    async def test_with_differing_content_is_created_once(
        self, intakes: list[Intake], actor: Actor, committed: Database
    ) -> None:
        rows = [submission(actor, synthetic(1, temperature_c=36 + at / 10)) for at in range(20)]
        outcomes = await asyncio.gather(*(outcome_of(intakes[at % 2].record(row)) for at, row in enumerate(rows)))
        assert Counter(outcomes) == {"created": 1, "client_reference_conflict": 19}
        assert await queued(committed) == await registration_ids(committed)
        assert len(await registration_ids(committed)) == 1


class TestBatchesWithTheSameRows:
    @pytest.fixture(autouse=True)
    def _no_second_attempt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The retry would hide a deadlock; the order in which rows are inserted is what must keep it away.
        monkeypatch.setattr(intake, "ATTEMPTS", 1)

    async def test_in_opposite_orders_never_block_each_other(
        self, intakes: list[Intake], actor: Actor, committed: Database
    ) -> None:
        # Of new buyers, where they wait for each other at the people; and of a known one, where at the purchases.
        known = a_person()
        await intakes[0].record(submission(actor, a_purchase("KNOWN", buyer=known)))
        for start, members in ((0, {}), (1000, {"buyer": known}), (2000, {"buyer": known}), (3000, {})):
            rows = [submission(actor, synthetic(start + number, **members)) for number in range(500)]
            both = await asyncio.gather(intakes[0].record_all(rows), intakes[1].record_all(rows[::-1]))
            both[1].reverse()
            for pair in zip(*both, strict=True):
                assert all(isinstance(one, Recorded) for one in pair)
                assert pair[0].id == pair[1].id
                assert sorted(one.duplicate for one in pair) == [False, True]
        assert (await count(committed, Registration), await count(committed, Person)) == (2001, 1001)
        assert await queued(committed) == await registration_ids(committed)

    async def test_that_overlap_in_part_create_each_row_once(
        self, intakes: list[Intake], actor: Actor, committed: Database
    ) -> None:
        def window(start: int) -> list[Submission]:
            # The same buyers under other references too, so that people and purchases are contended apart.
            own = [synthetic(number) | {"client_reference": f"OWN-{start}-{number}"} for number in range(60, 0, -1)]
            return [submission(actor, body) for body in [*(synthetic(start + at) for at in range(100)), *own]]

        starts = (0, 50, 25, 75)
        batches = await asyncio.gather(*(intakes[at % 2].record_all(window(start)) for at, start in enumerate(starts)))
        created = [
            one.id for outcomes in batches for one in outcomes if isinstance(one, Recorded) and not one.duplicate
        ]
        assert len(created) == len(set(created)) == 175 + 4 * 60
        assert await queued(committed) == await registration_ids(committed) == sorted(created)


class TestAnAnswer:
    @pytest.fixture
    async def till(
        self, world: World, committed: Database, clock: SettableClock, keyring: Keyring, settings: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        services = Services(settings=settings, database=committed, clock=clock, keyring=keyring)
        transport = httpx.ASGITransport(app=create_app(services), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {world.tills[0]}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://sentinel.test", headers=headers) as client:
            yield client

    async def fail_at_commit(self, database: Database, table: str, errcode: str) -> None:
        """Make every transaction that writes to a table fail when it commits, and not before."""
        async with database.transaction() as session:
            await session.execute(
                text(
                    f"CREATE FUNCTION fail_late() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN RAISE EXCEPTION '王小样 synthetic' USING ERRCODE = '{errcode}'; END $$"
                )
            )
            await session.execute(
                text(
                    f"CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED "
                    f"FOR EACH ROW EXECUTE FUNCTION fail_late()"
                )
            )

    @pytest.mark.parametrize(
        ("errcode", "status", "code"),
        [("40001", 503, "try_again"), ("57P01", 503, "database_unavailable"), ("P0001", 500, "internal_error")],
    )
    async def test_is_given_only_after_the_commit(
        self, till: httpx.AsyncClient, committed: Database, errcode: str, status: int, code: str
    ) -> None:
        await self.fail_at_commit(committed, "registrations", errcode)
        answer = await till.post("/v1/registrations", json=a_purchase())
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert ("retry-after" in answer.headers) == (status == 503)
        assert "王小样" not in answer.text
        assert await count(committed, Registration) == 0
        async with committed.transaction() as session:
            await session.execute(text("DROP TRIGGER fails ON registrations"))
        assert (await till.post("/v1/registrations", json=a_purchase())).status_code == 201

    async def test_of_any_other_route_too(self, till: httpx.AsyncClient, world: World, committed: Database) -> None:
        await self.fail_at_commit(committed, "regime_states", "40001")
        body = {"division": "440304", "disease": "dengue", "state": "register", "valid_from": "2026-01-01"}
        official = {"Authorization": f"Bearer {world.tokens['official']}"}
        answer = await till.post("/v1/regimes", json=body, headers=official)
        assert (answer.status_code, answer.json()["code"]) == (503, "try_again")

    async def test_survives_a_connection_that_was_cut(
        self, till: httpx.AsyncClient, committed: Database, server_url: str
    ) -> None:
        assert (await till.post("/v1/registrations", json=synthetic(1))).status_code == 201
        admin = await asyncpg.connect(server_url)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            committed.engine.url.database,
        )
        await admin.close()
        statuses = [(await till.post("/v1/registrations", json=synthetic(2))).status_code for _ in range(2)]
        assert statuses in ([201, 200], [503, 201])

    async def test_while_the_database_is_gone_is_503_and_says_when_to_come_again(
        self, till: httpx.AsyncClient, committed: Database
    ) -> None:
        await till.get("/v1/registrations")  # the key is known for two seconds
        gone = Database(committed.url.replace(str(committed.engine.url.database), f"no_such_{new_id().hex}"))
        engine, committed.engine = committed.engine, gone.engine
        try:
            answers = [
                await till.post("/v1/registrations", json=synthetic(3)),
                await till.get("/v1/registrations"),
                await till.get("/readyz"),
            ]
            figures = await till.get("/metrics")
        finally:
            committed.engine = engine
            await gone.dispose()
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["content-type"] == "application/problem+json"
            assert (answer.headers["retry-after"], "x-request-id" in answer.headers) == ("1", True)
        assert figures.status_code == 200
        assert 'route="/readyz",status="503"' in figures.text
        assert (await till.get("/readyz")).status_code == 200
