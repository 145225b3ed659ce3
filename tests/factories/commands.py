"""The command line as an operator runs it: a process of its own."""

import asyncio
import os
import sys

from app.core.database import Database
from app.core.sealing import Keyring


async def sentinel(database: Database, keyring: Keyring, *words: object) -> tuple[int, str, str]:
    """Run `sentinel` on a database; return its exit status, what it said and what it said aside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *map(str, words)),
        env={
            "PATH": os.environ["PATH"],
            "SENTINEL_DATABASE_URL": database.url,
            "SENTINEL_SEALING_KEYS": keyring.notation(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, aside = await process.communicate()
    return process.returncode or 0, said.decode(), aside.decode()
