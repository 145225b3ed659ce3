"""Facts that arrive at the same moment: whoever commits last sees the other, and nothing is seen twice.

Real commits, several connections, two workers that run all the time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.auth.rules import Actor
from app.cases.schemas import CaseIn, ClassificationIn
from app.cases.service import Outcome, Recorded, reclassify_case, record_cases
from app.core.database import Database
from app.core.sealing import Keyring
from app.matching.service import rematch
from app.registrations.schemas import RegistrationIn
from app.registrations.service import Submission, record_registrations
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN
from tests.factories.identities import flow_worker, resident_number
from tests.factories.world import a_case, a_person, a_purchase, build_world

NOW = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
PAIRS = 2_000
RACES = 200


class City:
    """A till and an authority, each with connections of its own."""

    def __init__(self, tills: Database, lists: Database, keyring: Keyring, till: Actor, authority: Actor) -> None:
        self.tills, self.lists, self.keyring = tills, lists, keyring
        self.till, self.authority = till, authority

    async def register(self, people: Sequence[int]) -> list[UUID]:
        rows = [
            RegistrationIn.model_validate(
                a_purchase(
                    f"SYN-{person}", buyer=a_person(document={"type": "resident_id", "number": resident_number(person)})
                )
            )
            for person in people
        ]
        async with self.tills.transaction() as session:
            outcomes = await record_registrations(
                session, [Submission(self.till, row) for row in rows], now=NOW, keyring=self.keyring
            )
        return [outcome.id for outcome in outcomes if not isinstance(outcome, Exception)]

    async def tell(self, people: Sequence[int], **members: Any) -> list[Outcome]:
        rows = [
            CaseIn.model_validate(
                a_case(
                    f"SYN-{person}",
                    **{"person": {"document": {"type": "resident_id", "number": resident_number(person)}}} | members,
                )
            )
            for person in people
        ]
        async with self.lists.transaction() as session:
            return await record_cases(session, rows, actor=self.authority, now=NOW, keyring=self.keyring)

    async def case(self, person: int, **members: Any) -> UUID:
        [outcome] = await self.tell([person], **members)
        assert isinstance(outcome, Recorded)
        return outcome.id

    async def discard(self, case_id: UUID) -> None:
        change = ClassificationIn.model_validate({"classification": "discarded", "reason": "-"})
        async with self.lists.transaction() as session:
            await reclassify_case(session, case_id, change, actor=self.authority, now=NOW, keyring=self.keyring)

    async def drain(self) -> None:
        await flow_worker(self.tills, self.keyring, SettableClock(NOW)).drain()
        assert await self.rows("SELECT kind, state, last_error FROM jobs") == []

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.tills.transaction() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    @asynccontextmanager
    async def two_workers(self) -> AsyncIterator[None]:
        """Let two workers work meanwhile, and finish at the end whatever is left."""
        workers = [flow_worker(database, self.keyring, SettableClock(NOW)) for database in (self.tills, self.lists)]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
            for _ in range(600):
                if await self.rows("SELECT 1 FROM jobs LIMIT 1") == []:
                    break
                await asyncio.sleep(0.05)
        finally:
            for worker in workers:
                worker.stop()
            await asyncio.gather(*running)
        await self.drain()


@pytest.fixture
async def city(committed: Database, keyring: Keyring) -> AsyncIterator[City]:
    world = await build_world(committed)
    lists = Database(committed.url)
    yield City(
        committed,
        lists,
        keyring,
        await keys.actor(committed, "pharmacy", pharmacy_ids=world.pharmacies),
        await keys.actor(committed, "health_authority", FUTIAN),
    )
    await lists.dispose()


class TestAPurchaseAndItsCaseAtTheSameMoment:
    async def test_always_make_one_match_one_alert_and_one_event(self, city: City) -> None:
        chance = random.Random(20260215)
        people = list(range(PAIRS))
        chance.shuffle(people)
        facts: list[list[Any]] = []
        while people:
            some = [people.pop() for _ in range(min(len(people), chance.choice((1, 2, 5, 20))))]
            pair = [city.register(some), city.tell(chance.sample(some, len(some)))]
            chance.shuffle(pair)
            facts.append(pair)
        arriving = iter(facts)

        async def arrive() -> None:
            for pair in arriving:
                await asyncio.gather(*pair)

        async with city.two_workers():
            await asyncio.gather(*(arrive() for _ in range(3)))
        [matches] = await city.rows(
            "SELECT count(*), count(DISTINCT registration_id), count(DISTINCT case_id),"
            " count(*) FILTER (WHERE status = 'counted' AND strength = 'certain' AND turn = 1) FROM matches"
        )
        assert matches == (PAIRS,) * 4
        assert await city.rows("SELECT kind, count(*), count(DISTINCT match_id) FROM alerts GROUP BY kind") == [
            ("case.matched", PAIRS, PAIRS)
        ]
        assert await city.rows("SELECT kind, count(*), count(DISTINCT subject_id) FROM events GROUP BY kind") == [
            ("case.matched", PAIRS, PAIRS)
        ]
        decisions = "SELECT count(*), count(DISTINCT case_id) FROM reward_decisions"
        assert await city.rows(decisions) == [(PAIRS, PAIRS)]


class TestADiscardedCase:
    async def test_never_keeps_a_match_however_its_end_races_with_matching(self, city: City) -> None:
        people = range(RACES)
        told = await city.tell(people)
        cases = [outcome.id for outcome in told if isinstance(outcome, Recorded)]
        await city.drain()
        order = random.Random(4).sample(people, RACES)

        async def race(persons: Sequence[int]) -> None:
            for person in persons:
                await city.register([person])
                await asyncio.sleep(random.Random(person).uniform(0, 0.02))
                await city.discard(cases[person])

        async with city.two_workers():
            await asyncio.gather(*(race(order[start::4]) for start in range(4)))
        assert await city.rows("SELECT count(*) FROM matches WHERE status = 'counted'") == [(0,)]
        unbalanced = (
            "SELECT match_id FROM alerts GROUP BY match_id"
            " HAVING count(*) FILTER (WHERE kind = 'case.matched') <> count(*) FILTER (WHERE kind = 'match.withdrawn')"
        )
        assert await city.rows(unbalanced) == []

    async def test_waits_for_a_match_that_is_being_made(self, city: City) -> None:
        """The order of events in which a match would outlive its case if matching took no lock."""
        case_id = await city.case(1)
        await city.drain()
        [registration_id] = await city.register([1])
        async with city.tills.transaction() as matching:
            assert len(await rematch(matching, registration_ids=[registration_id], now=NOW, keyring=city.keyring)) == 1
            ending = asyncio.create_task(city.discard(case_id))
            done, _ = await asyncio.wait([ending], timeout=0.3)
            if done:  # without the lock: its job comes by before the match is committed, and finds nothing to withdraw
                async with city.lists.transaction() as other:
                    await rematch(other, case_ids=[case_id], now=NOW, keyring=city.keyring)
                    await other.execute(text("DELETE FROM jobs"))
        await ending
        await city.drain()
        assert await city.rows("SELECT status FROM matches") == [("withdrawn",)]
        assert not done


class TestACaseOfWhichMoreIsToldMeanwhile:
    async def test_does_not_lose_its_match_for_a_moment(self, city: City) -> None:
        [registration_id] = await city.register([1])
        await city.case(1)
        await city.drain()
        phone = {"document": {"type": "resident_id", "number": resident_number(1)}, "phone": "13800138000"}
        row = CaseIn.model_validate(a_case("SYN-1", person=phone))
        async with city.lists.transaction() as telling:
            [outcome] = await record_cases(telling, [row], actor=city.authority, now=NOW, keyring=city.keyring)
            assert isinstance(outcome, Recorded)
            assert outcome.status == "updated"

            async def match_again() -> Sequence[Any]:
                async with city.tills.transaction() as matching:
                    return await rematch(matching, registration_ids=[registration_id], now=NOW, keyring=city.keyring)

            waiting = asyncio.create_task(match_again())
            done, _ = await asyncio.wait([waiting], timeout=0.3)
            assert not done
        assert await waiting == []
        assert await city.rows("SELECT status, turn, evidence ->> 'phone' FROM matches") == [("counted", 1, "equal")]
