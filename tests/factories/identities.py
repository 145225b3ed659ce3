"""Numbers of people who never were, and the worker who finds them again."""

from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.flow import Flow
from app.people.documents import check_character
from tests.conftest import SettableClock


def resident_number(person: int) -> str:
    """Return a synthetic resident number, another for each person up to 9,990,000; born in 1970 in a Beijing district."""
    day, order = divmod(person, 999)
    year, day = 1970 + day // 336, day % 336
    first = f"110105{year}{day // 28 + 1:02d}{day % 28 + 1:02d}{order + 1:03d}"
    return first + check_character(first)


def old_form(number: str) -> str:
    """Return the form of 15 characters that a resident number had before 1999."""
    return number[:6] + number[8:17]


def flow_worker(database: Database, keyring: Keyring, clock: SettableClock) -> Runner:
    """Return a worker that knows the flow and nothing else."""
    registry = Registry()
    Flow(keyring).register(registry)
    return Runner(database, registry, clock=clock)
