"""What a process needs to serve: a database, the keys, the application around them."""

import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg
import uvicorn
from fastapi import FastAPI

from app import worker
from app.auth.rules import SYSTEM
from app.catalogue import imports as catalogue
from app.core.clock import Clock, SystemClock
from app.core.database import Database
from app.core.embedded import running
from app.core.http import Services
from app.core.log import configure, logger
from app.core.processes import spare_the_collector
from app.core.runner import Pace
from app.core.sealing import Keyring, load_or_create
from app.core.settings import Settings, load_settings
from app.core.wire import OneWrite
from app.divisions import service as divisions
from app.main import create_app
from app.metadata import migrate, newest_revision
from app.people.queries import check_index_key
from app.questionnaires import service as questionnaires
from app.webhooks.addresses import AddressPolicy
from app.webhooks.sender import Sender

KEY_FILE = "sealing-keys"
RESTART_SECONDS = 1.0
STOP_SECONDS = 25.0


class NotReady(Exception):
    """The service cannot start as it is set up; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process works: which database, with which keys."""

    url: str
    keyring: Keyring
    is_embedded: bool


@contextmanager
def place_of(settings: Settings) -> Iterator[Place]:
    """Give the database and the keys that the settings name; start or join the embedded server if they name none.

    Raises:
        NotReady: a database is named, but no keys.
        EmbeddedPostgresError, KeyringInvalid: the message says what to do.
    """
    if settings.database_url is not None:
        if settings.sealing_keys is None:
            raise NotReady(
                "SENTINEL_DATABASE_URL is set, so SENTINEL_SEALING_KEYS must be too: "
                "identities sealed with keys that nobody keeps are lost. `sentinel keys sealing` makes one."
            )
        keyring = Keyring.parse(settings.sealing_keys.get_secret_value())
        yield Place(settings.database_url.get_secret_value(), keyring, is_embedded=False)
        return
    with running(settings.data_dir) as url:
        if settings.sealing_keys is not None:
            keyring = Keyring.parse(settings.sealing_keys.get_secret_value())
        else:
            keyring = load_or_create(settings.data_dir / KEY_FILE)
        yield Place(url, keyring, is_embedded=True)


async def require_schema(url: str) -> None:
    """Make sure that the database has the schema that this version of the code was written for.

    Raises:
        NotReady: it has not.
    """
    connection = await asyncpg.connect(url)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            raise NotReady("The database is empty: run `sentinel migrate` first.")
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
    finally:
        await connection.close()
    if revision != newest_revision():
        raise NotReady(f"The schema is at {revision}, the code at {newest_revision()}: run `sentinel migrate` first.")


async def prepare_database(url: str, clock: Clock) -> None:
    """Bring the schema up to date and load the divisions, drug lists and questionnaires that ship with the package."""
    await migrate(url)
    database = Database(url)
    try:
        for load in (divisions.load_shipped, catalogue.load_shipped, questionnaires.load_shipped):
            async with database.transaction() as session:
                await load(session, actor=SYSTEM, now=clock.now())
    finally:
        await database.dispose()


def blueprint() -> FastAPI:
    """Return the application connected to nothing, for what can be read off it: its doors and its OpenAPI document."""
    nowhere = Database("postgresql://nobody@localhost/nothing")
    return create_app(Services(settings=Settings(), database=nowhere, clock=SystemClock(), keyring=Keyring.generate(1)))


def create(clock: Clock | None = None) -> FastAPI:
    """Build the application of one API process, for uvicorn's factory; closed by its lifespan.

    Started as a service it has the system's clock: uvicorn calls it without an argument.
    """
    settings = load_settings()
    configure(settings.log_level)
    held = ExitStack()
    place = held.enter_context(place_of(settings))
    database = Database(place.url)
    services = Services(settings=settings, database=database, clock=clock or SystemClock(), keyring=place.keyring)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await require_schema(place.url)
        async with database.transaction() as session:
            await check_index_key(session, place.keyring)
        spare_the_collector()
        yield
        await database.dispose()
        held.close()

    return create_app(services, lifespan=lifespan)


async def work(settings: Settings, clock: Clock, pace: Pace | None = None) -> None:
    """Be a background worker until SIGTERM or SIGINT."""
    with place_of(settings) as place:
        await require_schema(place.url)
        database = Database(place.url, pool_size=worker.CONNECTIONS)
        async with database.transaction() as session:
            await check_index_key(session, place.keyring)
        spare_the_collector()
        policy = AddressPolicy(settings.webhook_allowed_networks)
        async with Sender(policy) as sender:
            registry = worker.handlers(place.keyring, sender)
            await worker.run_worker(database, registry, clock=clock, pace=pace)
        await database.dispose()


def listen(application: str | Callable[[], FastAPI], *, host: str, port: int, processes: int = 1) -> None:
    """Serve HTTP until SIGTERM or SIGINT; finish the requests in hand.

    Args:
        application: `module:function` that builds the application, called once in each process; or, for one
            process, the function itself.
        host, port: where to listen.
        processes: how many processes share the port.
    """
    uvicorn.run(
        application,
        factory=True,
        http=OneWrite,
        host=host,
        port=port,
        workers=processes,
        access_log=False,  # `core.middleware` writes the access log, without paths and queries
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here looks at the caller's address
        timeout_keep_alive=30,
        timeout_graceful_shutdown=20,
    )


@contextmanager
def worker_beside(command: Sequence[str]) -> Iterator[None]:
    """Keep a background worker running as a child for the length of the block; start it again if it dies.

    The child's standard input is a pipe from this process: when this process is killed, the pipe closes and the child ends
    (`core.processes.follow_parent`).
    """
    leaving = threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while not leaving.is_set():
            children[:] = [subprocess.Popen(command, stdin=subprocess.PIPE)]
            children[0].wait()
            if not leaving.wait(RESTART_SECONDS):
                logger("serving").error(
                    "the worker ended and is started again", extra={"status": children[0].returncode}
                )

    thread = threading.Thread(target=keep, name="worker-keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        for child in children:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
