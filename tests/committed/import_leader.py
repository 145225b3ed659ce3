"""`sentinel import` with a helper for a file of any size: `python -m tests.committed.import_leader import registrations FILE …`.

It tells the import's id, waits for a line, and then records nothing: the chunks that it takes stay in its hands until it is killed.
What becomes of the others is its helper's work.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app import cli, helping, importing
from app.core.database import Database
from app.core.sealing import Keyring
from app.imports.models import Import
from app.registrations.imports import RegistrationImporter


@asynccontextmanager
async def helper(database: Database, keyring: Keyring, taken: Import) -> AsyncIterator[None]:
    sys.stdout.write(f"{taken.id}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    async with helping.helper(database, keyring, taken):
        yield


async def hold(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


if __name__ == "__main__":
    helping.HELPED_FROM_BYTES = 0
    os.cpu_count = lambda: 2  # type: ignore[assignment]
    importing.helper = helper
    RegistrationImporter.record = hold  # type: ignore[method-assign]
    cli.main()
