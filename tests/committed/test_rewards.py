"""Rewards under simultaneous transactions: the cap, the payment."""

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select

from app.auth.rules import Actor
from app.core.database import Database
from app.core.sealing import Keyring
from app.rewards import service
from app.rewards.models import LedgerEntry, RewardDecision
from app.rewards.service import TransitionNotAllowed
from tests.conftest import MOMENT
from tests.factories import divisions, keys
from tests.factories.rewards import CONFIRMED, World


async def prepare(database: Database, keyring: Keyring, cases: int) -> list[UUID]:
    """Cases that one pharmacy registered, the last one confirmed first."""
    await divisions.load_divisions(database)
    async with database.transaction() as session:
        world = World(session, keyring)
        pharmacy = await world.pharmacy()
        made = [await world.case(CONFIRMED - timedelta(hours=n)) for n in range(cases)]
        for case in made:
            await world.match(case, await world.registration(pharmacy))
    return made


async def evaluate(database: Database, *cases: UUID) -> None:
    async with database.transaction() as session:
        await service.evaluate_cases(session, cases, now=MOMENT)


class TestSimultaneousEvaluations:
    async def test_fill_the_places_of_a_month_once_and_in_order(self, committed: Database, keyring: Keyring) -> None:
        cases = await prepare(committed, keyring, 8)
        await asyncio.gather(*(evaluate(committed, case) for case in cases for _ in range(2)))
        async with committed.transaction() as session:
            rows = await session.execute(select(RewardDecision.case_id, RewardDecision.status))
            told = {case: status.value for case, status in rows}
        assert [told[case] for case in cases] == ["not_eligible"] * 5 + ["proposed"] * 3


class TestSimultaneousPayments:
    async def test_pay_once(self, committed: Database, keyring: Keyring) -> None:
        (case,) = await prepare(committed, keyring, 1)
        await evaluate(committed, case)
        approver, *payers = [await keys.actor(committed, "official", "4403", name=f"Synthetic {n}") for n in range(5)]
        async with committed.transaction() as session:
            decision = (await session.scalars(select(RewardDecision.id))).one()
            await service.approve_reward(session, decision, actor=approver, now=MOMENT)

        async def pay(actor: Actor) -> str:
            try:
                async with committed.transaction() as session:
                    await service.pay_reward(session, decision, actor=actor, now=MOMENT)
            except TransitionNotAllowed:
                return "refused"
            return "paid"

        answers = Counter(await asyncio.gather(*(pay(actor) for actor in payers)))
        assert answers == {"paid": 1, "refused": 3}
        async with committed.transaction() as session:
            assert (await session.scalars(select(func.sum(LedgerEntry.amount)))).one() == 1000
