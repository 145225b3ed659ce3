"""The database: one declarative base, and the two ways in which a transaction is opened and committed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import StrEnum
from typing import Any

import asyncpg
from sqlalchemy import Enum, MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.core.errors import AppError, DatabaseUnavailable, TryAgain

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# One statement must not hold a till up for long, and a forgotten transaction must not hold everybody up.
_SERVER_SETTINGS = {
    "application_name": "pharmacy-sentinel",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "jit": "off",  # the statements are short; compiling them costs more than running them
}

_UNREACHABLE = (
    *(PoolTimeout, OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError),
    asyncpg.InternalClientError,  # what the driver says of a connection on which the server has just said its last word
    # Shutting down, starting up, a statement cancelled; no memory, disk or connection left; a standby; not (yet) there.
    *(asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError, asyncpg.ReadOnlySQLTransactionError),
    *(asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError),
)
_MOST_DEAD = 20
"""More than a pool holds."""
_RETRY_SOON = {"Retry-After": "1"}
_CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)


def text_enum(kind: type[StrEnum]) -> Enum:
    """Return the column type of an enum: text of at most 32 characters, held to the enum's values by a check.

    A text column with a check changes in one short migration; a PostgreSQL enum type does not. The check is named
    after the enum in lower case, so a migration writes `CheckConstraint("state IN (…)", name="statekind")`.
    """
    return Enum(
        kind,
        name=kind.__name__.lower(),
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


def async_url(url: str) -> str:
    """Return the URL for SQLAlchemy's asyncpg dialect, whichever PostgreSQL scheme it was written with."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def trouble(error: BaseException) -> AppError | None:
    """Return what a caller is told of trouble that passes, if the error is such, whichever way the statement went.

    `DatabaseUnavailable` where the database does not answer, `TryAgain` where somebody else held the rows; None where
    the fault is ours and sending the same again would meet it again.
    """
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return DatabaseUnavailable(headers=_RETRY_SOON)
        # SQLAlchemy wraps the driver's error twice: once as the dialect's, once as its own.
        error = (error.orig and error.orig.__cause__) or error
    if isinstance(error, _CONTENDED):
        return TryAgain(headers=_RETRY_SOON)
    return DatabaseUnavailable(headers=_RETRY_SOON) if isinstance(error, _UNREACHABLE) else None


class Database:
    """The engine and the only way to a committed transaction."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.following: set[asyncio.Task[None]] = set()
        self.engine: AsyncEngine = create_async_engine(
            async_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            # The connection that was given back last has its statements prepared and its catalogue read: a purchase that meets a
            # cold one waits a tenth of a second longer.
            pool_use_lifo=True,
            connect_args={"server_settings": _SERVER_SETTINGS, "timeout": 5},
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction; commit when the block ends, roll back when it raises.

        This and `statements` are the places of the service that commit. Whoever answers a caller answers after the block.
        """
        async with AsyncSession(self.engine, expire_on_commit=False, autoflush=False) as session:
            yield session
            await session.commit()
            for action in session.info.get("after_commit", ()):
                action(self)

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction for what goes to the driver alone (`driver`, `copy_in`); it ends as `transaction` does.

        The path of every purchase: beginning, committing and asking by way of the ORM took an eighth of the processor time of a single
        one. The session has no connection for the ORM, and refuses; what a purchase needs of it is read beside (`orm_beside`).
        """
        async with self.engine.connect() as connection:
            raw = await _begun(connection)
            session = AsyncSession(autoflush=False)
            session.info.update(driver=raw, database=self)
            try:
                yield session
                if session.new or session.dirty or session.deleted:
                    raise RuntimeError("something waits in the session for the ORM, which is not asked here")
                if await raw.execute("COMMIT") != "COMMIT":
                    raise RuntimeError("a statement had failed, and its error was not passed on")
            except BaseException:
                await _take_back(connection, raw)
                raise
        for action in session.info.get("after_commit", ()):
            action(self)

    async def dispose(self) -> None:
        """Let what follows commits end, within a second, and close all connections."""
        if self.following:
            await asyncio.wait(self.following, timeout=1)
            for task in self.following:
                task.cancel()
            await asyncio.gather(*self.following, return_exceptions=True)
        await self.engine.dispose()


class BoundDatabase(Database):
    """A database whose transactions are savepoints inside one outer connection, which is never committed.

    For tests: every verb and route runs its real code, and the outer transaction takes all of it back.
    """

    def __init__(self, connection: AsyncConnection, url: str) -> None:
        self.url = url
        self.following = set()
        self.engine = connection.engine
        self._connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a savepoint; release it when the block ends."""
        async with AsyncSession(
            bind=self._connection,
            join_transaction_mode="create_savepoint",
            expire_on_commit=False,
            autoflush=False,
        ) as session:
            yield session
            await session.commit()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[AsyncSession]:
        """Open a savepoint; release it when the block ends."""
        async with self.transaction() as session:
            yield session


async def _begun(connection: AsyncConnection) -> Any:
    """Begin a transaction; return the driver's connection. One that has died while it lay in the pool is replaced."""
    for attempt in range(1, _MOST_DEAD + 1):
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        try:
            await raw.execute("BEGIN")
        except BaseException as error:
            await connection.invalidate()  # given up as it begins, it must not come back into the pool, either
            if attempt == _MOST_DEAD or not isinstance(error, _UNREACHABLE):
                raise
        else:
            return raw
    raise AssertionError("not reached")


async def _take_back(connection: AsyncConnection, raw: Any) -> None:
    """Roll back; a connection on which that cannot be done goes with its transaction, and never back into the pool."""
    try:
        await raw.execute("ROLLBACK")
    except BaseException as error:
        await connection.invalidate()
        if not isinstance(error, Exception):  # cancelled
            raise


def has_driver_alone(session: AsyncSession) -> bool:
    """Say whether a session is one of `Database.statements`."""
    return "database" in session.info


def orm_beside(session: AsyncSession) -> AbstractAsyncContextManager[AsyncSession]:
    """Open a transaction in which the ORM can ask, beside one of `Database.statements`; it takes a further connection."""
    database: Database = session.info["database"]
    return database.transaction()


def after_commit(session: AsyncSession, action: Callable[[Database], None]) -> None:
    """Call `action` with the database once the session's transaction has committed; it must be quick and not fail.

    Never called after a rollback, nor for the savepoints of a `BoundDatabase`.
    """
    session.info.setdefault("after_commit", []).append(action)


async def driver(session: AsyncSession) -> Any:
    """Return the asyncpg connection of the session's transaction, for set-based statements on hot paths.

    The driver's transaction begins with the first statement that goes through SQLAlchemy; one is sent here if none has
    been yet, so that nothing runs outside it. Rows pending in the session are flushed first.
    """
    if has_driver_alone(session):  # a dozen calls for each purchase
        return session.info["driver"]
    if session.new or session.dirty or session.deleted:
        await session.flush()
    if "driver" not in session.info:
        raw = await (await session.connection()).get_raw_connection()
        connection: Any = raw.driver_connection
        if not connection.is_in_transaction():
            await session.execute(text("SELECT 1"))
        session.info["driver"] = connection
    return session.info["driver"]


async def copy_in(session: AsyncSession, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows as `COPY` does, in the order of the columns.

    Two thirds of what an `INSERT` of the same rows from arrays costs the database, and half of what it costs here.
    """
    if rows:
        await (await driver(session)).copy_records_to_table(table, columns=columns, records=rows)


async def copy_unless_taken(
    session: AsyncSession, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> bool:
    """Insert all rows and return True; or none, because somebody else has inserted one of them, and return False.

    Waits for whoever is about to. What they inserted is committed then and can be looked up. Two transactions that bring the
    same rows in the same order wait for each other and never in a ring.
    """
    connection = await driver(session)
    # Never released: it goes with the transaction, and a single purchase pays for each word to the server.
    await connection.execute("SAVEPOINT untaken")
    try:
        await copy_in(session, table, columns, rows)
    except asyncpg.UniqueViolationError:
        await connection.execute("ROLLBACK TO SAVEPOINT untaken")
        return False
    return True
