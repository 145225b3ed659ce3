"""Where the time of a batch goes: processor time a row of the API by stage, and of PostgreSQL by statement.

The application runs in this process and one connection sends batches one after the other, so that nothing else is counted. The API
is sampled: a timer that runs on the process's own processor time looks at the stack, and the innermost frame that belongs to
a stage gets the sample. PostgreSQL's share is what the kernel has booked to its backend between two answers.
"""

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import asyncpg
import click
import uvloop
from sqlalchemy import event

from app.core.clock import SystemClock
from app.core.database import Database
from app.core.http import Services
from app.core.processes import spare_the_collector
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.main import create_app
from benchmarks.setting import KEYS, City

EVERY_SECONDS = 0.001
WARM_BATCHES = 5

# From the file and function of a frame to its stage; the innermost frame that has one decides.
STAGES: Sequence[tuple[str, str, str]] = (
    ("pydantic/type_adapter.py", "validate_json", "read the body"),
    ("app/registrations/chain.py", "content_of", "canonical content"),
    ("app/core/sealing.py", "hashed", "keyed hashes"),
    ("app/core/sealing.py", "seal", "seal identities"),
    ("app/people/service.py", "", "people, the rest"),
    ("app/registrations/rules.py", "read_people", "read people"),
    ("asyncpg/", "", "columns for the driver"),
    ("app/registrations/receipts.py", "", "receipts"),
    ("app/registrations/rows.py", "", "rows, the rest"),
    ("app/registrations/service.py", "judge", "judge"),
    ("app/registrations/service.py", "", "record, the rest"),
    ("app/registrations/routes.py", "", "the answer"),
)
OTHER = "everything else"


def stage_of(frame: FrameType | None) -> str:
    """Return the stage at which a stack was seen."""
    while frame is not None:
        code = frame.f_code
        for file, function, stage in STAGES:
            if file in code.co_filename and (not function or code.co_name == function):
                return stage
        frame = frame.f_back
    return OTHER


@contextmanager
def sampling(seen: Counter[str]) -> Iterator[None]:
    """Count the stages at which this process is seen while it works."""
    before = signal.signal(signal.SIGPROF, lambda _, frame: seen.update((stage_of(frame),)))
    signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Backends:
    """Processor time of PostgreSQL's backends, by the statement after which it was booked."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._read: dict[int, float] = {}

    def watch(self, connection: asyncpg.Connection) -> None:
        """Note what each statement of a connection costs."""
        pid = connection.get_server_pid()
        self._read[pid] = cpu_seconds(pid)
        connection.add_query_logger(lambda record: self._note(pid, record.query))

    @contextmanager
    def watching_copies(self) -> Iterator[None]:
        """Note each table's `COPY` too, of which the driver tells no logger."""
        unwatched = asyncpg.Connection.copy_records_to_table

        async def copy(connection: asyncpg.Connection, table: str, **arguments: Any) -> Any:
            done = await unwatched(connection, table, **arguments)
            self._note(connection.get_server_pid(), f"COPY {table}")
            return done

        asyncpg.Connection.copy_records_to_table = copy
        try:
            yield
        finally:
            asyncpg.Connection.copy_records_to_table = unwatched

    def _note(self, pid: int, query: str) -> None:
        now = cpu_seconds(pid)
        self.seconds[statement(query)] += now - self._read[pid]
        self._read[pid] = now


def cpu_seconds(pid: int) -> float:
    """Return the processor time that the kernel has booked to a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


_STATEMENT = re.compile(r"(INSERT INTO|COPY|UPDATE|FROM)\s+\"?(?:public\"?\.\"?)?(?!unnest)(\w+)")


def statement(query: str) -> str:
    """Return a statement's verb and table."""
    found = _STATEMENT.search(query)
    if found is None:
        return query.strip().partition("\n")[0].rstrip(";").lower()[:30]
    return f"{'look up' if found[1] == 'FROM' else found[1].lower()} {found[2]}"


async def _post(app: Any, path: str, token: str, body: bytes) -> int:
    """Send one request to an application in this process; return the status."""
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    await app(scope | {"http_version": "1.1", "scheme": "http", "server": ("localhost", 80)}, receive, send)
    return status


async def measure(place: City, url: str, bodies: Sequence[bytes], rows: int) -> None:
    """Print the table for batches of so many rows; the first few are not counted."""
    database = Database(url)
    backends = Backends()

    @event.listens_for(database.engine.sync_engine, "connect")
    def watch(connection: Any, _: Any) -> None:
        backends.watch(connection.driver_connection)

    services = Services(Settings(), database, SystemClock(), Keyring.parse(KEYS))
    app = create_app(services)
    seen: Counter[str] = Counter()
    took: list[float] = []
    spare_the_collector()
    for number, body in enumerate(bodies):
        token = place.tills[number % len(place.tills)]
        if number == WARM_BATCHES:
            seen.clear()
            backends.seconds.clear()
        begin = time.process_time()
        with sampling(seen), backends.watching_copies():
            assert await _post(app, "/v1/registrations/batch", token, body) == 200
        took.append(time.process_time() - begin)
    await database.dispose()
    counted = len(bodies) - WARM_BATCHES
    own = sum(took[WARM_BATCHES:]) / counted / rows * 1e6
    click.echo(
        f"processor time of a batch of {rows:,}, µs a row: the API {own:.1f} (least {min(took) / rows * 1e6:.1f})"
    )
    for stage, count in seen.most_common():
        click.echo(f"  {stage:<28}{count / seen.total() * own:>7.1f}")
    server = backends.seconds.total() / counted / rows * 1e6
    click.echo(f"PostgreSQL {server:.1f}")
    for stage, seconds in backends.seconds.most_common():
        if seconds / counted / rows * 1e6 >= 0.1:
            click.echo(f"  {stage:<28}{seconds / counted / rows * 1e6:>7.1f}")


def main(place: City, name: str, rows: Sequence[bytes], together: int) -> None:
    """Print where the time of batches goes."""
    chunks = [rows[start : start + together] for start in range(0, len(rows), together)]
    bodies = [b"[" + b",".join(chunk) + b"]" for chunk in chunks]
    uvloop.run(measure(place, asyncio.run(place.copy(name)), bodies, together))
