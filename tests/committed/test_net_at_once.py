"""A case tells of a purchase at the moment in which its registration is matched: whoever commits last sees the other."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from app.auth.rules import Actor
from app.capture.schemas import DeclaredPurchasesIn
from app.capture.service import declare_purchases, judge_purchases
from app.cases.schemas import CaseIn
from app.cases.service import Recorded, record_cases
from app.core.database import Database
from app.core.sealing import Keyring
from app.matching.service import rematch
from app.registrations.schemas import RegistrationIn
from app.registrations.service import Submission, record_registrations
from tests.factories import keys
from tests.factories.divisions import FUTIAN
from tests.factories.world import World, a_case, a_purchase, build_world

NOW = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)


async def facts(database: Database, keyring: Keyring) -> tuple[World, Actor, UUID, UUID]:
    """A registration and its case, not yet matched."""
    world = await build_world(database)
    till = await keys.actor(database, "pharmacy", pharmacy_ids=world.pharmacies)
    authority = await keys.actor(database, "health_authority", FUTIAN)
    async with database.transaction() as session:
        row = RegistrationIn.model_validate(a_purchase())
        [registered] = await record_registrations(session, [Submission(till, row)], now=NOW, keyring=keyring)
        case = CaseIn.model_validate(a_case())
        [listed] = await record_cases(session, [case], actor=authority, now=NOW, keyring=keyring)
    assert isinstance(listed, Recorded)
    assert not isinstance(registered, Exception)
    return world, authority, registered.id, listed.id


async def until_somebody_waits(database: Database, task: "asyncio.Task[str]") -> None:
    """Return when a lock is waited for, or the other has ended without."""
    while not task.done():
        async with database.transaction() as session:
            query = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            if await session.scalar(text(query)):
                return


class TestAPurchaseToldAtThatMoment:
    async def test_is_covered_whoever_commits_last(self, committed: Database, keyring: Keyring) -> None:
        world, authority, registration_id, case_id = await facts(committed, keyring)
        told = DeclaredPurchasesIn.model_validate(
            {"items": [{"pharmacy_id": str(world.pharmacies[0]), "purchased_on": "2026-02-15"}]}
        )

        async def tell() -> str:
            async with committed.transaction() as session:
                declared = await declare_purchases(session, case_id, told, actor=authority, now=NOW, keyring=keyring)
                return declared.purchases[0].status.value

        async with committed.transaction() as session:
            await rematch(session, registration_ids=[registration_id], now=NOW, keyring=keyring)
            news = await judge_purchases(session, [case_id], now=NOW)
            assert (news.raised, news.ended) == ((), ())
            telling = asyncio.create_task(tell())
            await until_somebody_waits(committed, telling)
        assert await telling == "covered"

    async def test_is_judged_again_by_whoever_matches_last(self, committed: Database, keyring: Keyring) -> None:
        world, authority, registration_id, case_id = await facts(committed, keyring)
        told = DeclaredPurchasesIn.model_validate(
            {"items": [{"pharmacy_id": str(world.pharmacies[0]), "purchased_on": "2026-02-15"}]}
        )

        async def follow() -> str:
            async with committed.transaction() as session:
                await rematch(session, registration_ids=[registration_id], now=NOW, keyring=keyring)
                news = await judge_purchases(session, [case_id], now=NOW)
                return ",".join(str(one.facts["status"]) for one in news.ended)

        async with committed.transaction() as session:
            declared = await declare_purchases(session, case_id, told, actor=authority, now=NOW, keyring=keyring)
            assert declared.purchases[0].status == "missed"
            following = asyncio.create_task(follow())
            await until_somebody_waits(committed, following)
        assert await following == "covered"
