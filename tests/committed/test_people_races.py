"""The same new people in many transactions at once, with real commits. Everybody here is synthetic."""

import asyncio
import random
from datetime import UTC, date, datetime
from uuid import UUID

from sqlalchemy import func, select

from app.core.database import Database
from app.core.sealing import Keyring
from app.people.models import Person
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from app.people.service import ensure_people

NOW = datetime(2026, 2, 15, 2, 0, tzinfo=UTC)


def person(index: int) -> Presentation:
    presentation = prepare(PersonIn(name="王小明", phone=f"138{index:08}"), date(2026, 2, 15))
    assert isinstance(presentation, Presentation)
    return presentation


class TestTransactionsWithTheSameNewPeople:
    async def test_agree_on_one_row_for_each(self, committed: Database, keyring: Keyring) -> None:
        people = [person(index) for index in range(200)]
        dice = random.Random(5)

        async def bring() -> dict[int, UUID]:
            order = dice.sample(range(len(people)), len(people))
            async with committed.transaction() as session:
                ids = await ensure_people(session, [people[index] for index in order], now=NOW, keyring=keyring)
            return dict(zip(order, ids, strict=True))

        for _ in range(3):
            answers = await asyncio.gather(*(bring() for _ in range(8)))
            assert all(answer == answers[0] for answer in answers)
        async with committed.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(Person)) == len(people)
