import asyncio
from contextlib import suppress
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, UnboundExecutionError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.database import Database, after_commit, async_url, copy_in, driver, orm_beside, trouble
from app.core.snapshots import Version


async def raised(database: Database, statement: str, *, through_driver: bool) -> BaseException:
    """What a statement raises, sent in one of the two ways."""
    try:
        async with database.transaction() as session:
            if through_driver:
                await (await driver(session)).execute(statement)
            else:
                await session.execute(text(statement))
    except (DBAPIError, asyncpg.PostgresError) as error:
        return error
    raise AssertionError("nothing was raised")


def raising(errcode: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'synthetic' USING ERRCODE = '{errcode}'; END $$"


class TestTrouble:
    @pytest.mark.parametrize("through_driver", [True, False])
    @pytest.mark.parametrize(
        ("errcode", "code"),
        [
            *(("40P01", "try_again"), ("40001", "try_again"), ("55P03", "try_again")),
            *(("57P01", "database_unavailable"), ("57014", "database_unavailable"), ("53300", "database_unavailable")),
            *(("53100", "database_unavailable"), ("08006", "database_unavailable"), ("25006", "database_unavailable")),
            *(("23505", None), ("22001", None), ("42601", None), ("P0001", None)),
        ],
    )
    async def test_that_passes_is_told_from_a_fault_of_ours(
        self, database: Database, errcode: str, code: str | None, through_driver: bool
    ) -> None:
        told = trouble(await raised(database, raising(errcode), through_driver=through_driver))
        assert (told and told.code) == code
        assert told is None or (told.status, told.headers) == (503, {"Retry-After": "1"})

    def test_is_also_what_happens_before_a_statement(self) -> None:
        for error in (
            *(ConnectionRefusedError(), TimeoutError(), PoolTimeout(), asyncpg.InvalidPasswordError("x")),
            asyncpg.InternalClientError("x"),
        ):
            told = trouble(error)
            assert told is not None
            assert told.code == "database_unavailable"
        for error in (ValueError(), KeyError("x"), IntegrityError("x", {}, Exception())):
            assert trouble(error) is None


class TestATransaction:
    async def test_is_committed_at_the_end_and_taken_back_on_an_error(self, committed: Database) -> None:
        async with committed.transaction() as session:
            await session.execute(text("CREATE TABLE kept (value integer)"))
        with suppress(RuntimeError):
            async with committed.transaction() as session:
                await session.execute(text("INSERT INTO kept VALUES (1)"))
                await (await driver(session)).execute("INSERT INTO kept VALUES (2)")
                raise RuntimeError
        async with committed.transaction() as session:
            assert (await session.execute(text("SELECT count(*) FROM kept"))).scalar_one() == 0

    async def test_calls_what_follows_only_after_its_commit(self, committed: Database) -> None:
        called: list[Database] = []
        with suppress(RuntimeError):
            async with committed.transaction() as session:
                after_commit(session, called.append)
                raise RuntimeError
        assert called == []
        async with committed.transaction() as session:
            await session.execute(text("SELECT 1"))
            after_commit(session, called.append)
            assert called == []
        assert called == [committed]

    async def test_waits_for_a_connection_no_longer_than_told(self, migrated_url: str) -> None:
        database = Database(migrated_url, pool_size=1)
        database.engine.pool._timeout = 0.05  # type: ignore[attr-defined]
        try:
            async with database.transaction() as session:
                await session.execute(text("SELECT 1"))
                with pytest.raises(PoolTimeout):
                    async with database.transaction() as second:
                        await asyncio.wait_for(second.execute(text("SELECT 1")), timeout=5)
        finally:
            await database.dispose()


async def values(database: Database) -> list[int]:
    async with database.statements() as session:
        return [row["value"] for row in await (await driver(session)).fetch("SELECT value FROM kept ORDER BY value")]


class TestStatements:
    @pytest.fixture
    async def kept(self, committed: Database) -> Database:
        async with committed.statements() as session:
            await (await driver(session)).execute("CREATE TABLE kept (value integer)")
        return committed

    async def test_are_committed_together_or_taken_back_together(self, kept: Database) -> None:
        called: list[Database] = []
        with suppress(RuntimeError):
            async with kept.statements() as session:
                after_commit(session, called.append)
                await copy_in(session, "kept", ["value"], [(1,)])
                await (await driver(session)).execute("INSERT INTO kept VALUES (2)")
                raise RuntimeError
        assert (await values(kept), called) == ([], [])
        async with kept.statements() as session:
            after_commit(session, called.append)
            await copy_in(session, "kept", ["value"], [(1,)])
            await (await driver(session)).execute("INSERT INTO kept VALUES (2)")
            assert called == []
        assert (await values(kept), called) == ([1, 2], [kept])

    async def test_that_cannot_be_committed_fail(self, kept: Database) -> None:
        async with kept.statements() as session:
            await (await driver(session)).execute("ALTER TABLE kept ADD UNIQUE (value) DEFERRABLE INITIALLY DEFERRED")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with kept.statements() as session:
                await copy_in(session, "kept", ["value"], [(1,), (1,)])
        assert await values(kept) == []

    async def test_of_a_cancelled_task_leave_nothing_on_the_connection(self, kept: Database) -> None:
        async def forgets() -> None:
            async with kept.statements() as session:
                await copy_in(session, "kept", ["value"], [(1,)])
                await (await driver(session)).execute("SELECT pg_sleep(60)")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forgets(), 0.3)
        async with kept.statements() as session:
            await copy_in(session, "kept", ["value"], [(2,)])
        assert await values(kept) == [2]

    async def test_go_over_another_connection_when_theirs_died_in_the_pool(self, kept: Database) -> None:
        async with kept.statements() as session:
            dead = await (await driver(session)).fetchval("SELECT pg_backend_pid()")
        admin = await asyncpg.connect(kept.url)
        await admin.execute("SELECT pg_terminate_backend($1, 5000)", dead)
        await admin.close()
        assert await values(kept) == []

    async def test_go_over_another_connection_when_the_driver_has_heard_but_not_closed_it(
        self, kept: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, dead = asyncpg.Connection.execute, list[object]()

        async def confused(self: asyncpg.Connection, query: str, *arguments: object) -> str:
            if query == "BEGIN" and not dead:
                dead.append(self)
                raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
            told: str = await real(self, query, *arguments)
            return told

        monkeypatch.setattr(asyncpg.Connection, "execute", confused)
        async with kept.statements() as session:
            assert await driver(session) not in dead
        assert len(dead) == 1

    async def test_whose_connection_dies_under_them_are_told_as_trouble_that_passes(self, kept: Database) -> None:
        with pytest.raises(asyncpg.PostgresError) as raised:
            async with kept.statements() as session:
                await (await driver(session)).execute("SELECT pg_terminate_backend(pg_backend_pid())")
        told = trouble(raised.value)
        assert told is not None
        assert told.code == "database_unavailable"
        assert await values(kept) == []

    async def test_have_no_connection_for_the_orm_but_one_beside(self, kept: Database) -> None:
        async with kept.statements() as session:
            with pytest.raises(UnboundExecutionError):
                await session.execute(text("SELECT 1"))
            async with orm_beside(session) as other:
                assert (await other.execute(text("SELECT 1"))).scalar_one() == 1

    async def test_refuse_what_waits_for_the_orm(self, kept: Database) -> None:
        async def adds() -> None:
            async with kept.statements() as session:
                await copy_in(session, "kept", ["value"], [(1,)])
                session.add(Version(name="synthetic", token=UUID(int=1)))

        with pytest.raises(RuntimeError, match="waits in the session"):
            await adds()
        assert await values(kept) == []

    async def test_of_which_one_failed_are_not_taken_for_committed(self, kept: Database) -> None:
        called: list[Database] = []

        async def goes_on() -> None:
            async with kept.statements() as session:
                after_commit(session, called.append)
                with suppress(asyncpg.PostgresError):
                    await (await driver(session)).execute("SELECT 1 / 0")

        with pytest.raises(RuntimeError, match="had failed"):
            await goes_on()
        assert called == []

    async def test_that_are_given_up_as_they_begin_leave_no_open_transaction(
        self, migrated_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database = Database(migrated_url, pool_size=1)
        real = asyncpg.Connection.execute

        async def slow(self: asyncpg.Connection, query: str, *arguments: object) -> str:
            told: str = await real(self, query, *arguments)
            if query == "BEGIN":
                await asyncio.sleep(60)
            return told

        async def begins() -> None:
            async with database.statements():
                raise AssertionError("not reached")

        try:
            with monkeypatch.context() as patch:
                patch.setattr(asyncpg.Connection, "execute", slow)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(begins(), 0.5)
            async with database.transaction() as session:
                assert not (
                    await (await session.connection()).get_raw_connection()
                ).driver_connection.is_in_transaction()  # type: ignore[union-attr]
        finally:
            await database.dispose()


class TestAUrl:
    @pytest.mark.parametrize("scheme", ["postgresql", "postgres+asyncpg", "postgresql+psycopg"])
    def test_is_read_whatever_driver_it_names(self, scheme: str) -> None:
        if scheme.startswith("postgres+"):
            scheme = "postgresql+asyncpg"
        assert async_url(f"{scheme}://u:p%40ss@h:1/d") == "postgresql+asyncpg://u:p%40ss@h:1/d"
