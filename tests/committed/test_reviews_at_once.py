"""Reviewers and workers at the same moment: real commits, several connections. All people are synthetic."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.cases.schemas import CaseIn
from app.cases.service import record_cases
from app.core.database import Database
from app.core.sealing import Keyring
from app.matching.reviews import MatchTransitionNotAllowed, review_match
from app.matching.rules import Act
from app.matching.service import rematch
from app.registrations.schemas import RegistrationIn
from app.registrations.service import Submission, record_registrations
from tests.committed.test_simultaneous_arrival import NOW
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN
from tests.factories.identities import flow_worker
from tests.factories.world import a_case, a_person, a_purchase, build_world

HOMOPHONE = a_person(name="汪晓阳", document={"type": "passport", "number": "E12345678"})


class Desk:
    """Somebody on a list, somebody else at a till whose name sounds alike, and reviewers."""

    def __init__(self, database: Database, other: Database, keyring: Keyring, till: Actor, reviewer: Actor) -> None:
        self.database, self.other, self.keyring = database, other, keyring
        self.till, self.reviewer = till, reviewer

    async def buy(self, number: int) -> UUID:
        row = RegistrationIn.model_validate(a_purchase(f"SYN-{number}", buyer=HOMOPHONE))
        async with self.database.transaction() as session:
            [outcome] = await record_registrations(session, [Submission(self.till, row)], now=NOW, keyring=self.keyring)
        assert not isinstance(outcome, Exception)
        return outcome.id

    async def review(self, session: AsyncSession, match: UUID, act: Act) -> None:
        await review_match(session, match, act, reason="-", actor=self.reviewer, now=NOW, keyring=self.keyring)

    async def work(self, database: Database | None = None) -> None:
        await flow_worker(database or self.database, self.keyring, SettableClock(NOW)).drain()

    async def statuses(self) -> list[str]:
        async with self.database.transaction() as session:
            return list(await session.scalars(text("SELECT status FROM matches ORDER BY id")))

    async def first_match(self) -> UUID:
        async with self.database.transaction() as session:
            found: UUID = (await session.execute(text("SELECT id FROM matches ORDER BY id LIMIT 1"))).scalar_one()
        return found


@pytest.fixture
async def desk(committed: Database, keyring: Keyring) -> AsyncIterator[Desk]:
    world = await build_world(committed)
    other = Database(committed.url)
    till = await keys.actor(committed, "pharmacy", pharmacy_ids=world.pharmacies)
    authority = await keys.actor(committed, "health_authority", FUTIAN)
    desk = Desk(committed, other, keyring, till, await keys.actor(committed, "epidemiologist", FUTIAN))
    listed = {"name": "王小样", "phone": "13800138000"}
    async with committed.transaction() as session:
        row = CaseIn.model_validate(a_case(person=listed))
        await record_cases(session, [row], actor=authority, now=NOW, keyring=keyring)
    await desk.buy(1)
    await desk.work()
    yield desk
    await other.dispose()


class TestARejection:
    async def test_reaches_a_match_that_is_just_being_made(self, desk: Desk) -> None:
        assert await desk.statuses() == ["possible"]
        match, second = await desk.first_match(), await desk.buy(2)
        async with desk.database.transaction() as matching:
            await rematch(matching, registration_ids=[second], now=NOW, keyring=desk.keyring)
            async with desk.other.transaction() as session:
                await session.execute(text("DELETE FROM jobs"))
                await desk.review(session, match, Act.REJECT)
            following = asyncio.create_task(desk.work(desk.other))
            done, _ = await asyncio.wait([following], timeout=0.3)
            assert not done  # it waits, for it would not find the second match
        await following
        assert await desk.statuses() == ["rejected", "rejected"]


class TestTwoReviewers:
    async def test_decide_one_after_the_other(self, desk: Desk) -> None:
        match = await desk.first_match()

        async def confirm(database: Database) -> str:
            try:
                async with database.transaction() as session:
                    await desk.review(session, match, Act.CONFIRM)
            except MatchTransitionNotAllowed:
                return "refused"
            return "confirmed"

        outcomes = await asyncio.gather(confirm(desk.database), confirm(desk.other))
        assert sorted(outcomes) == ["confirmed", "refused"]
        assert await desk.statuses() == ["confirmed"]
