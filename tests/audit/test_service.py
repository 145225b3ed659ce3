"""The trail in a real database: nobody changes it, and who does it all the same is found out."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.models import AuditEntry, AuditLink
from app.audit.queries import verify_chain
from app.audit.rules import Integrity
from app.auth.rules import SYSTEM
from app.core.database import Database
from app.core.sealing import Keyring
from tests.conftest import MOMENT


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
        assert await verify_chain(session, keyring=keyring) == Integrity(True, 3, None)

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
            assert (await verify_chain(session, keyring=keyring)).whole

    async def test_is_made_by_one_at_a_time(self, committed: Database, keyring: Keyring) -> None:
        async with committed.transaction() as session:
            await act(session, *(f"act-{number}" for number in range(50)))

        async def once() -> int:
            async with committed.transaction() as session:
                return await audit.chain_entries(session, keyring=keyring)

        counts = await asyncio.gather(*(once() for _ in range(5)))
        assert sum(counts) == 50
        async with committed.transaction() as session:
            assert await verify_chain(session, keyring=keyring) == Integrity(True, 50, None)

    async def test_is_read_in_batches(
        self, session: AsyncSession, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.audit.queries._VERIFY_BATCH", 2)
        monkeypatch.setattr("app.audit.service._CHAIN_BATCH", 3)
        await act(session, "a", "b", "c", "d", "e")
        assert [await audit.chain_entries(session, keyring=keyring) for _ in range(3)] == [3, 2, 0]
        assert await verify_chain(session, keyring=keyring) == Integrity(True, 5, None)

    async def test_outlives_a_new_key(self, session: AsyncSession, keyring: Keyring) -> None:
        await act(session, "a")
        await audit.chain_entries(session, keyring=keyring)
        turned = Keyring({1: bytes(range(32)), 2: bytes(range(1, 33))})
        await act(session, "b")
        await audit.chain_entries(session, keyring=turned)
        assert await verify_chain(session, keyring=turned) == Integrity(True, 2, None)


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
        assert (await verify_chain(session, keyring=keyring)).whole
        await disarm(session)
        for statement in tampering.split(";"):
            await session.execute(text(statement.replace(":", r"\:")))
        found = await verify_chain(session, keyring=keyring)
        assert (found.whole, found.broken_at) == (False, broken_at)

    async def test_cannot_forge_it_with_another_key(self, session: AsyncSession, keyring: Keyring) -> None:
        await act(session, "a")
        await audit.chain_entries(session, keyring=Keyring({1: bytes(32)}))
        assert not (await verify_chain(session, keyring=keyring)).whole
