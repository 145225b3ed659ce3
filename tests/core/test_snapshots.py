import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database
from app.core.snapshots import Snapshot, changed, versions


class Held:
    """A snapshot of a value in the database; counts how often it was read."""

    def __init__(self) -> None:
        self.loads = 0
        self.snapshot = Snapshot("tests.value", self.load)

    async def load(self, session: AsyncSession) -> int:
        self.loads += 1
        return int((await session.execute(text("SELECT max(value) FROM held"))).scalar_one())


async def write(session: AsyncSession, value: int) -> None:
    await changed(session, "tests.value")
    await session.execute(text("UPDATE held SET value = :value"), {"value": value})


@pytest.fixture
async def held(database: Database) -> Held:
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE held AS SELECT 0 AS value"))
        await changed(session, "tests.value")
    return Held()


class TestASnapshot:
    async def test_is_read_once_until_it_changes(self, held: Held, database: Database) -> None:
        for value in (1, 2):
            async with database.transaction() as session:
                await write(session, value)
            for _ in range(3):
                async with database.transaction() as session:
                    assert await held.snapshot.get(session) == value
        assert held.loads == 2

    async def test_shows_a_transaction_its_own_change(self, held: Held, session: AsyncSession) -> None:
        assert await held.snapshot.get(session) == 0
        await write(session, 5)
        assert await held.snapshot.get(session) == 5

    async def test_never_keeps_what_was_rolled_back(self, held: Held, database: Database) -> None:
        with suppress(RuntimeError):
            async with database.transaction() as session:
                await write(session, 7)
                assert await held.snapshot.get(session) == 7
                raise RuntimeError
        async with database.transaction() as session:
            assert await held.snapshot.get(session) == 0
            await write(session, 8)
            assert await held.snapshot.get(session) == 8

    async def test_takes_tokens_that_were_read_already(self, held: Held, session: AsyncSession) -> None:
        known = await versions(session)
        assert await held.snapshot.get(session, known) == await held.snapshot.get(session, known) == 0
        assert held.loads == 1

    async def test_that_nobody_ever_changed_is_read_each_time(self, held: Held, session: AsyncSession) -> None:
        await session.execute(text("DELETE FROM versions WHERE name = 'tests.value'"))
        for _ in range(2):
            await held.snapshot.get(session)
        assert held.loads == 2

    async def test_is_read_by_one_for_all_who_go_to_the_driver_alone(self, committed: Database) -> None:
        async with committed.transaction() as session:
            await session.execute(text("CREATE TABLE held AS SELECT 3 AS value"))
            await changed(session, "tests.value")
        held = Held()

        async def ask() -> int:
            async with committed.statements() as session:
                return await held.snapshot.get(session)

        # As many as the pool has connections, but one.
        assert await asyncio.gather(*(ask() for _ in range(9))) == [3] * 9
        assert held.loads == 1
