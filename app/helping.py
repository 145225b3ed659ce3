"""A second process for a long file: it records what the first has not in hand, so that two cores read rows while PostgreSQL stores.

Nothing passes between the two but the address. What is whose is settled chunk by chunk in the database, so a helper may begin late
or die at any moment: whoever leads the import does without it. It ends when nothing is free, or when its leader is gone.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from app.cases.imports import CaseImporter
from app.core.clock import SystemClock
from app.core.database import Database
from app.core.handlers import describe
from app.core.log import configure, logger
from app.core.processes import follow_parent, spare_the_collector
from app.core.sealing import Keyring
from app.imports.importers import Importer, Importers
from app.imports.models import Import
from app.imports.schemas import ImportFormat
from app.imports.working import AT_ONCE, Work
from app.registrations.imports import RegistrationImporter

ROW_KINDS: Mapping[str, Callable[[Keyring], Importer]] = {
    RegistrationImporter.kind: RegistrationImporter,
    CaseImporter.kind: CaseImporter,
}
"""Tables of which each row stands for itself: they are sealed first and worked through like an upload."""

HELPED_FROM_BYTES = 8 * 1024 * 1024
"""About 50,000 purchases: a shorter file is as good as done when a helper has started."""
PATIENCE_SECONDS = 10.0
"""How long a helper may take to end when it is not needed any more."""


@asynccontextmanager
async def helper(database: Database, keyring: Keyring, taken: Import) -> AsyncIterator[None]:
    """Have another process take part in an import for the length of the block, if the file is long and a core is there for it."""
    # A workbook is read as a whole by everybody who reads it, and is never long.
    is_long = taken.format is ImportFormat.CSV and taken.size >= HELPED_FROM_BYTES
    if not is_long or (os.cpu_count() or 1) < 2:
        yield
        return
    process = await _start({"kind": taken.kind, "import_id": str(taken.id)}, database, keyring)
    try:
        yield
    finally:
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _start(order: Mapping[str, str], database: Database, keyring: Keyring) -> asyncio.subprocess.Process | None:
    """Start a helper; None where the machine has no room for one."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.helping"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        logger("imports").warning("no helper", extra={"error": describe(error)})
        return None
    assert process.stdin is not None
    # By the pipe, because others could read arguments and environment. It stays open: when this process is gone it closes.
    told = {**order, "url": database.url, "keys": keyring.notation()}
    process.stdin.write(json.dumps(told).encode() + b"\n")
    return process


async def _help(order: Mapping[str, str]) -> None:
    database = Database(order["url"], pool_size=AT_ONCE + 1)  # a transaction for each chunk, and one that reads
    keyring = Keyring.parse(order["keys"])
    importer = ROW_KINDS[order["kind"]](keyring)
    try:
        await Work(database, SystemClock(), keyring, Importers(importer)).help(UUID(order["import_id"]))
    except Exception as error:  # the leader meets it too, and tells
        logger("imports").warning("helper ended", extra={"error": describe(error)})
    finally:
        await database.dispose()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the leader, which then closes the pipe
    configure("WARNING")
    if order := sys.stdin.buffer.readline():
        follow_parent()
        spare_the_collector()
        asyncio.run(_help(json.loads(order)))
