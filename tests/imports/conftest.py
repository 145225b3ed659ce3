"""A clerk in the synthetic city."""

import pytest

from app.core.database import Database
from app.core.sealing import Keyring
from tests.conftest import Clients, SettableClock
from tests.factories.world import World, build_world
from tests.imports.tables import Desk, import_worker


@pytest.fixture
async def world(database: Database) -> World:
    return await build_world(database, pharmacies=2)


@pytest.fixture
def desk(
    world: World,
    client_for: Clients,
    database: Database,
    keyring: Keyring,
    clock: SettableClock,
) -> Desk:
    """The clerk of the world's first pharmacy."""
    return Desk(client_for(world.tills[0]), import_worker(database, keyring, clock))
