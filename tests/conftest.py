"""A real PostgreSQL, built by the real migrations; each test in one outer transaction that is taken back."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as of_hypothesis
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.database import BoundDatabase, Database, async_url
from app.core.http import Services
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.main import create_app
from app.metadata import migrate
from tests import sharing

if TYPE_CHECKING:
    from tests.factories.world import World

Clients = Callable[[str | None], httpx.AsyncClient]
"""Makes HTTP clients that speak to the application with a token (or without one)."""

# How long an example takes says how busy the machine is, and nothing about the code.
of_hypothesis.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
of_hypothesis.load_profile("unhurried")

MOMENT = datetime(2026, 2, 15, 2, 0, tzinfo=UTC)
"""When the tests happen, unless one sets its clock."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Answer pytest-xdist, which is asked for `-n auto` in pyproject.toml."""
    return sharing.processes(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest file first; all others stay in their order."""
    items.sort(key=lambda item: item.path.name != sharing.LONGEST)


class SettableClock:
    """Business time that stands still until a test moves it."""

    def __init__(self, moment: datetime = MOMENT) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server on which test databases are made: SENTINEL_DATABASE_URL, or an embedded one."""
    given = os.environ.get("SENTINEL_DATABASE_URL")
    if given:
        yield given
        return
    from app.core.embedded import running

    with running(tmp_path_factory.mktemp("cluster"), erase=True) as url:
        yield url


@asynccontextmanager
async def fresh_database(server_url: str, template: str = "template0") -> AsyncIterator[str]:
    """Make a database of its own on the server; drop it at the end."""
    name = f"test_{new_id().hex}"
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        finally:
            try:
                await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            except asyncpg.InsufficientPrivilegeError:
                # An autovacuum worker is in there, which is the superuser's. FORCE may not end it; a plain DROP asks it to leave.
                await admin.execute(f'DROP DATABASE "{name}"')
    finally:
        await admin.close()


@pytest.fixture(scope="session")
async def migrated_url(server_url: str) -> AsyncIterator[str]:
    """A database with the newest schema and no rows; a template for others."""
    async with fresh_database(server_url) as url:
        await migrate(url)
        yield url


@pytest.fixture(scope="session")
async def engine(migrated_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(async_url(migrated_url), poolclass=NullPool)
    yield engine
    await engine.dispose()


@pytest.fixture
def keyring() -> Keyring:
    """Keys of the tests: synthetic, the same in every run."""
    return Keyring({1: bytes(range(32))})


@pytest.fixture
async def database(engine: AsyncEngine, migrated_url: str) -> AsyncIterator[Database]:
    """A database whose commits are savepoints of one transaction, which is rolled back after the test."""
    async with engine.connect() as connection:
        outer = await connection.begin()
        yield BoundDatabase(connection, migrated_url)
        await outer.rollback()


@pytest.fixture
async def session(database: Database) -> AsyncIterator[AsyncSession]:
    """A session inside the test's transaction."""
    async with database.transaction() as session:
        yield session


@pytest.fixture
async def committed(server_url: str, migrated_url: str) -> AsyncIterator[Database]:
    """A database of its own with real commits, for races and crashes."""
    async with fresh_database(server_url, str(make_url(migrated_url).database)) as url:
        database = Database(url)
        yield database
        await database.dispose()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def settings(migrated_url: str) -> Settings:
    return Settings(database_url=migrated_url)


@pytest.fixture
def services(settings: Settings, database: Database, clock: SettableClock, keyring: Keyring) -> Services:
    return Services(settings=settings, database=database, clock=clock, keyring=keyring)


@pytest.fixture
def app(services: Services) -> FastAPI:
    return create_app(services)


@pytest.fixture
async def client_for(app: FastAPI) -> AsyncIterator[Clients]:
    """Make HTTP clients that speak to the application with a token (or without one)."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    clients: list[httpx.AsyncClient] = []

    def make(token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://sentinel.test", headers=headers))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def anonymous(client_for: Clients) -> httpx.AsyncClient:
    """A caller without a key."""
    return client_for(None)


@pytest.fixture
async def world(database: Database) -> "World":
    """The synthetic city with one pharmacy; a chapter that needs another one makes its own."""
    from tests.factories.world import build_world  # which needs what stands above

    return await build_world(database)


@pytest.fixture
def till(world: "World", client_for: Clients) -> httpx.AsyncClient:
    """The till of the city's first pharmacy."""
    return client_for(world.tills[0])


@pytest.fixture
def epidemiologist(world: "World", client_for: Clients) -> httpx.AsyncClient:
    return client_for(world.tokens["epidemiologist"])


@pytest.fixture
def official(world: "World", client_for: Clients) -> httpx.AsyncClient:
    return client_for(world.tokens["official"])
