"""One till repeats itself without end: nothing comes of it, and nobody else notices. Everybody here is synthetic."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.auth import guards
from app.core.database import Database
from app.core.ids import new_id
from app.core.repeats import Repeats
from app.core.sealing import Keyring
from app.registrations import intake as module
from app.registrations.drafts import Submission
from app.registrations.intake import MOST_FROM_ONE, Intake
from app.registrations.models import Registration
from app.registrations.schemas import RegistrationIn
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.world import World, a_purchase, build_world


class StandingStill:
    """The guards' clock: no budget refills during the test."""

    def monotonic(self) -> float:
        return 1000.0


@pytest.fixture
async def city(database: Database) -> World:
    return await build_world(database, pharmacies=2)


async def stored(database: Database) -> int:
    async with database.transaction() as session:
        return int(await session.scalar(select(func.count()).select_from(Registration)) or 0)


class TestAStormOfRepeats:
    async def test_creates_nothing_is_limited_and_leaves_others_alone(
        self, city: World, client_for: Clients, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guards, "time", StandingStill())
        storm, other = [client_for(token) for token in city.tills]
        rows = [city.purchase() for _ in range(1_000)]
        assert (await storm.post("/v1/registrations/batch", json=rows)).json()["created"] == 1_000
        statuses: Counter[int] = Counter()
        for number in range(80):
            answer = await storm.post("/v1/registrations/batch", json=rows)
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                assert (answer.json()["created"], answer.json()["duplicate"]) == (0, 1_000)
            else:
                assert answer.json()["code"] == "rate_limited"
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.headers["ratelimit"].startswith('"rows";r=0;t=')
            if number % 10 == 0:
                assert (await other.post("/v1/registrations", json=city.purchase())).status_code == 201
        assert statuses == {200: 49, 429: 31}
        assert await stored(database) == 1_008

    async def test_of_single_purchases_is_limited_by_itself(
        self, city: World, client_for: Clients, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guards, "time", StandingStill())
        storm, other = [client_for(token) for token in city.tills]
        body = city.purchase()
        first = await storm.post("/v1/registrations", json=body)
        assert first.headers["ratelimit-policy"] == '"purchases";q=2000;w=20'
        assert first.headers["ratelimit"] == '"purchases";r=1999;t=1'
        meter = guards.meters_of
        spent = await storm.get("/v1/regimes")
        assert spent.headers["ratelimit"] == '"till";r=999;t=1'
        assert meter is guards.meters_of
        statuses = Counter([(await storm.post("/v1/registrations", json=body)).status_code for _ in range(2_010)])
        assert statuses == {200: 1_999, 429: 11}
        assert (await other.post("/v1/registrations", json=city.purchase())).status_code == 201
        assert (await storm.get("/v1/regimes")).status_code == 200
        assert await stored(database) == 2


class TestATransaction:
    async def test_takes_a_bounded_number_of_each_key_and_the_others_at_once(
        self, city: World, database: Database, clock: SettableClock, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shared: list[Counter[UUID | None]] = []
        real = module.record_registrations

        async def watched(session: Any, submissions: list[Submission], **members: Any) -> Any:
            shared.append(Counter(one.actor.key_id for one in submissions))
            return await real(session, submissions, **members)

        monkeypatch.setattr(module, "record_registrations", watched)
        one, other = [await keys.actor(database, "pharmacy", pharmacy_ids=[shop]) for shop in city.pharmacies]
        row = RegistrationIn.model_validate(city.purchase())
        last = RegistrationIn.model_validate(city.purchase())
        intake = Intake(database, clock, keyring)
        storm = [intake.record(Submission(one, row)) for _ in range(5 * MOST_FROM_ONE)]
        await asyncio.gather(*storm, intake.record(Submission(other, last)))
        assert all(together[one.key_id] <= MOST_FROM_ONE for together in shared)
        assert shared[0][other.key_id] == 1
        assert len(shared) == 5


class TestBatchesOfOneKey:
    async def test_follow_each_other(self, clock: SettableClock, keyring: Keyring, database: Database) -> None:
        intake = Intake(database, clock, keyring)
        running: Counter[UUID] = Counter()
        most: Counter[UUID] = Counter()
        one, other = new_id(), new_id()

        async def record_all(submissions: Any) -> Any:
            [key] = submissions
            running[key] += 1
            most[key] = max(most[key], running[key])
            most[new_id()] = 0
            together.append(sum(running.values()))
            await asyncio.sleep(0)
            running[key] -= 1
            return []

        together: list[int] = []
        intake.record_all = record_all  # type: ignore[method-assign]
        work = [intake.record_many(key, [key]) for key in (one, other) for _ in range(10)]  # type: ignore[list-item]
        await asyncio.gather(*work)
        assert (most[one], most[other], max(together)) == (1, 1, 2)
        assert not intake._turns


class TestARepeatedBatch:
    async def test_is_remembered_only_where_all_of_it_was_there(self, city: World, client_for: Clients) -> None:
        till = client_for(city.tills[0])
        rows = [city.purchase() for _ in range(3)]
        answers = [(await till.post("/v1/registrations/batch", json=rows)).json() for _ in range(4)]
        assert [(one["created"], one["duplicate"]) for one in answers] == [(3, 0), (0, 3), (0, 3), (0, 3)]
        assert answers[1] == answers[2] == answers[3]
        more = [*rows, city.purchase()]
        assert (await till.post("/v1/registrations/batch", json=more)).json()["created"] == 1

    async def test_of_another_key_is_read(self, city: World, client_for: Clients) -> None:
        rows = [a_purchase("SYN-1"), a_purchase("SYN-2")]
        one, other = [client_for(token) for token in city.tills]
        for _ in range(3):
            await one.post("/v1/registrations/batch", json=rows)
        assert (await other.post("/v1/registrations/batch", json=rows)).json()["created"] == 2

    async def test_is_kept_within_bounds(self) -> None:
        repeats = Repeats(most_bytes=1_000)
        key = new_id()
        for number in range(100):
            repeats.remember((key, b"%d" % number), b"x" * 90, 1)
        assert repeats.find((key, b"0")) is None
        assert repeats.find((key, b"99")) is not None
        assert repeats._bytes <= 1_000
        repeats.remember((key, b"large"), b"x" * 2_000, 1)
        assert repeats.find((key, b"large")) is None

    async def test_at_the_same_moment_is_read_once(
        self, city: World, client_for: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        till = client_for(city.tills[0])
        rows = [city.purchase() for _ in range(3)]
        await till.post("/v1/registrations/batch", json=rows)
        recorded = 0
        real = module.record_registrations

        async def counting(*given: Any, **members: Any) -> Any:
            nonlocal recorded
            recorded += 1
            return await real(*given, **members)

        monkeypatch.setattr(module, "record_registrations", counting)
        answers = await asyncio.gather(*(till.post("/v1/registrations/batch", json=rows) for _ in range(8)))
        assert {answer.json()["duplicate"] for answer in answers} == {3}
        assert recorded == 1
