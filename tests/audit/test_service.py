"""The trail in a real database: nobody changes it, and who does it all the same is found out."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.jobs import PATROL, register
from app.audit.models import AuditEntry, AuditLink
from app.audit.queries import find_patrol, read_integrity
from app.audit.rules import Patrol
from app.auth.rules import SYSTEM
from app.core.database import Database
from app.core.handlers import Registry
from app.core.jobs import enqueue
from app.core.runner import Runner
from app.core.sealing import Keyring
from tests.conftest import MOMENT, SettableClock


async def act(session: AsyncSession, *names: str, **members: Any) -> None:
    for name in names:
        await audit.record(session, actor=SYSTEM, now=MOMENT, action=name, subject=("thing", name), **members)


async def disarm(session: AsyncSession) -> None:
    """Take away what keeps the tables from being changed, as their owner can."""
    for statement in (
        "ALTER TABLE audit_entries DISABLE TRIGGER append_only",
        "ALTER TABLE audit_chain DISABLE TRIGGER append_only",
        "ALTER TABLE audit_chain DROP CONSTRAINT fk_audit_chain_entry_id_audit_entries",
    ):
        await session.execute(text(statement))


async def chained(session: AsyncSession) -> list[str]:
    rows = await session.execute(
        select(AuditEntry.action).join(AuditLink, AuditLink.entry_id == AuditEntry.id).order_by(AuditLink.position)
    )
    return list(rows.scalars())


async def verified(session: AsyncSession, keyring: Keyring) -> tuple[int, int | None]:
    """Send the patrol along the chain once; return up to which link it is whole, and where it is broken."""
    while True:
        patrol = await audit.patrol_chain(session, keyring=keyring, now=MOMENT)
        if patrol.broken_at is not None or patrol.position == 0:
            return patrol.verified_up_to, patrol.broken_at


class TestTheTrail:
    @pytest.mark.parametrize("table", ["audit_entries", "audit_chain"])
    @pytest.mark.parametrize(
        "statement", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {} CASCADE", "DELETE FROM {} WHERE false"]
    )
    async def test_is_only_added_to(self, database: Database, keyring: Keyring, table: str, statement: str) -> None:
        async with database.transaction() as session:
            await act(session, "a")
            await audit.chain_entries(session, keyring=keyring)
        change = "action = 'b'" if table == "audit_entries" else "hash = ''"
        with pytest.raises(DBAPIError, match="append-only"):
            async with database.transaction() as session:
                await session.execute(text(statement.format(table, change)))

    async def test_is_written_with_the_act_or_not_at_all(self, database: Database) -> None:
        with suppress(RuntimeError):
            async with database.transaction() as session:
                await act(session, "undone")
                raise RuntimeError
        async with database.transaction() as session:
            assert (await session.execute(select(AuditEntry))).all() == []


class TestTheChain:
    async def test_takes_each_entry_once(self, session: AsyncSession, keyring: Keyring) -> None:
        await act(session, "a", "b", detail={"n": 1.5, "text": "ü", "list": [1, None]}, purpose="synthetic")
        assert await audit.chain_entries(session, keyring=keyring) == 2
        assert await audit.chain_entries(session, keyring=keyring) == 0
        await act(session, "c", division="440304")
        assert await audit.chain_entries(session, keyring=keyring) == 1
        assert await chained(session) == ["a", "b", "c"]
        assert await verified(session, keyring) == (3, None)

    async def test_takes_latecomers_behind_those_who_were_seen_first(
        self, committed: Database, keyring: Keyring
    ) -> None:
        async with committed.transaction() as late:
            await act(late, "late")  # has the lower id, and is not to be seen yet
            async with committed.transaction() as session:
                await act(session, "early")
            async with committed.transaction() as session:
                assert await audit.chain_entries(session, keyring=keyring) == 1
        async with committed.transaction() as session:
            assert await audit.chain_entries(session, keyring=keyring) == 1
            assert await chained(session) == ["early", "late"]
            assert await verified(session, keyring) == (2, None)

    async def test_is_made_by_one_at_a_time(self, committed: Database, keyring: Keyring) -> None:
        async with committed.transaction() as session:
            await act(session, *(f"act-{number}" for number in range(50)))

        async def once() -> int:
            async with committed.transaction() as session:
                return await audit.chain_entries(session, keyring=keyring)

        counts = await asyncio.gather(*(once() for _ in range(5)))
        assert sum(counts) == 50
        async with committed.transaction() as session:
            assert await verified(session, keyring) == (50, None)

    async def test_is_read_in_batches(
        self, session: AsyncSession, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.audit.service._PATROL_BATCH", 2)
        monkeypatch.setattr("app.audit.service._CHAIN_BATCH", 3)
        await act(session, "a", "b", "c", "d", "e")
        assert [await audit.chain_entries(session, keyring=keyring) for _ in range(3)] == [3, 2, 0]
        assert await verified(session, keyring) == (5, None)

    async def test_outlives_a_new_key(self, session: AsyncSession, keyring: Keyring) -> None:
        await act(session, "a")
        await audit.chain_entries(session, keyring=keyring)
        turned = Keyring({1: bytes(range(32)), 2: bytes(range(1, 33))})
        await act(session, "b")
        await audit.chain_entries(session, keyring=turned)
        assert await verified(session, turned) == (2, None)


class TestSomebodyWithTheDatabaseInHisHands:
    """The tables' owner takes the guards away; without the key the chain still tells."""

    @pytest.mark.parametrize(
        ("tampering", "broken_at"),
        [
            ("UPDATE audit_entries SET action = 'x' WHERE action = 'c'", 3),
            ("UPDATE audit_entries SET at = at + interval '1 microsecond' WHERE action = 'c'", 3),
            ("UPDATE audit_entries SET detail = '{\"n\": 2}' WHERE action = 'a'", 1),
            ("UPDATE audit_entries SET purpose = 'another' WHERE action = 'e'", 5),
            ("UPDATE audit_entries SET key_id = gen_random_uuid() WHERE action = 'b'", 2),
            ("DELETE FROM audit_chain WHERE position = 3", 3),
            ("DELETE FROM audit_chain WHERE position = 1", 1),
            ("DELETE FROM audit_chain WHERE position = 5", 5),
            ("UPDATE audit_chain SET key_id = 9 WHERE position = 4", 4),
            ("DELETE FROM audit_chain WHERE position = 3; DELETE FROM audit_entries WHERE action = 'c'", 3),
            ("DELETE FROM audit_entries WHERE action = 'c'", 3),
            (
                "DELETE FROM audit_chain WHERE position = 3;"
                "UPDATE audit_chain SET position = position - 1 WHERE position = 4;"
                "UPDATE audit_chain SET position = position - 1 WHERE position = 5",
                3,
            ),
            (
                "UPDATE audit_chain SET position = 6 WHERE position = 5;"
                "INSERT INTO audit_chain SELECT 5, max(id), 1, '\\x00' FROM audit_entries",
                5,
            ),
            ("UPDATE audit_chain SET hash = (SELECT hash FROM audit_chain WHERE position = 1) WHERE position = 2", 2),
        ],
    )
    async def test_is_found_out(self, session: AsyncSession, keyring: Keyring, tampering: str, broken_at: int) -> None:
        await act(session, "a", "b", "c", "d", "e", detail={"n": 1})
        await audit.chain_entries(session, keyring=keyring)
        await act(session, "not yet chained")
        assert await verified(session, keyring) == (5, None)
        await disarm(session)
        for statement in tampering.split(";"):
            await session.execute(text(statement.replace(":", r"\:")))
        assert await verified(session, keyring) == (5, broken_at)
        integrity = await read_integrity(session, [], keyring=keyring)
        assert (integrity.whole, integrity.links, integrity.broken_at) == (False, broken_at - 1, broken_at)

    async def test_cannot_forge_it_with_another_key(self, session: AsyncSession, keyring: Keyring) -> None:
        await act(session, "a")
        await audit.chain_entries(session, keyring=Keyring({1: bytes(32)}))
        assert await verified(session, keyring) == (0, 1)

    async def test_cannot_tell_the_patrol_that_all_is_well(self, session: AsyncSession, keyring: Keyring) -> None:
        await act(session, "a", "b")
        await audit.chain_entries(session, keyring=keyring)
        await disarm(session)
        await session.execute(text("UPDATE audit_entries SET action = 'x' WHERE action = 'b'"))
        assert await verified(session, keyring) == (0, 2)
        await session.execute(text("UPDATE audit_patrols SET broken_at = NULL, verified_up_to = 2"))
        assert await find_patrol(session, keyring=keyring) == Patrol()
        assert await verified(session, keyring) == (0, 2)


class TestThePatrol:
    @pytest.fixture
    def _small_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.audit.service._PATROL_BATCH", 2)
        monkeypatch.setattr("app.audit.service._PATROL_BATCHES", 1)

    @pytest.mark.usefixtures("_small_steps")
    async def test_goes_on_where_it_stopped_and_begins_again_at_the_end(
        self, session: AsyncSession, keyring: Keyring
    ) -> None:
        await act(session, "a", "b", "c", "d", "e")
        await audit.chain_entries(session, keyring=keyring)
        places = []
        for minute in range(5):
            now = MOMENT + timedelta(minutes=minute)
            patrol = await audit.patrol_chain(session, keyring=keyring, now=now)
            assert patrol == await find_patrol(session, keyring=keyring)
            assert patrol.verified_at is not None
            places.append((patrol.position, patrol.verified_up_to, (patrol.verified_at - MOMENT).seconds // 60))
        assert places == [(2, 2, 0), (4, 4, 1), (0, 5, 2), (2, 5, 2), (4, 5, 2)]

    @pytest.mark.usefixtures("_small_steps")
    async def test_stands_before_a_break_until_it_is_mended(self, session: AsyncSession, keyring: Keyring) -> None:
        await act(session, "a", "b", "c", "d", "e")
        await audit.chain_entries(session, keyring=keyring)
        await disarm(session)
        await session.execute(text("UPDATE audit_entries SET action = 'x' WHERE action = 'd'"))
        for position, broken_at in ((2, None), (2, 4), (2, 4)):
            patrol = await audit.patrol_chain(session, keyring=keyring, now=MOMENT)
            assert (patrol.position, patrol.broken_at, patrol.verified_up_to) == (position, broken_at, 2)
        await session.execute(text("UPDATE audit_entries SET action = 'd' WHERE action = 'x'"))
        assert await verified(session, keyring) == (5, None)

    async def test_leaves_one_dead_job_for_each_break(self, database: Database, keyring: Keyring) -> None:
        async def come_round() -> list[tuple[str, str]]:
            async with database.transaction() as session:
                await enqueue(session, PATROL, [{}])
            await Runner(database, registry, clock=SettableClock()).drain()
            async with database.transaction() as session:
                rows = await session.execute(text("SELECT state, last_error FROM jobs"))
                return [(row.state, row.last_error) for row in rows]

        registry = Registry()
        register(registry, keyring=keyring)
        async with database.transaction() as session:
            await act(session, "a", "b")
            await audit.chain_entries(session, keyring=keyring)
        assert await come_round() == []
        async with database.transaction() as session:
            await disarm(session)
            await session.execute(text("UPDATE audit_entries SET action = 'x' WHERE action = 'a'"))
        for _ in range(3):
            assert await come_round() == [("dead", "AuditTrailBroken")]


class TestAPage:
    @pytest.mark.parametrize(
        ("tampering", "broken_at"),
        [
            ("UPDATE audit_entries SET action = 'x' WHERE action = 'c'", 3),
            ("UPDATE audit_chain SET hash = '\\x00' WHERE position = 2", 3),
            ("DELETE FROM audit_chain WHERE position = 2", 2),
            ("UPDATE audit_entries SET action = 'x' WHERE action = 'a'", None),
        ],
    )
    async def test_verifies_what_it_shows_and_how_that_joins_the_rest(
        self, session: AsyncSession, keyring: Keyring, tampering: str, broken_at: int | None
    ) -> None:
        await act(session, "a", "b", "c", "d")
        await audit.chain_entries(session, keyring=keyring)
        await disarm(session)
        await session.execute(text(tampering))
        page = (await session.scalars(select(AuditEntry).where(AuditEntry.action.in_(["c", "d", "x"])))).all()
        shown = [entry for entry in page if entry.subject_id in ("c", "d")]
        integrity = await read_integrity(session, shown, keyring=keyring)
        assert (integrity.broken_at, integrity.verified_up_to, integrity.verified_at) == (broken_at, 0, None)
        assert await verified(session, keyring) != (4, None)
