"""The command line as an operator runs it: a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.core.database import Database
from app.core.sealing import Keyring


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs."""

    process: asyncio.subprocess.Process
    told: asyncio.StreamWriter
    said: asyncio.StreamReader
    aside: asyncio.StreamReader


@asynccontextmanager
async def running(database: Database, keyring: Keyring, *words: object, module: str = "app") -> AsyncIterator[Command]:
    """Start `sentinel`, or a module that plays its part, on a database; whatever happens it does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, words)),
        env={
            "PATH": os.environ["PATH"],
            "SENTINEL_DATABASE_URL": database.url,
            "SENTINEL_SEALING_KEYS": keyring.notation(),
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield Command(process, process.stdin, process.stdout, process.stderr)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def sentinel(database: Database, keyring: Keyring, *words: object) -> tuple[int, str, str]:
    """Run `sentinel` on a database; return its exit status, what it said and what it said aside."""
    async with running(database, keyring, *words) as command:
        said, aside = await command.process.communicate()
        return command.process.returncode or 0, said.decode(), aside.decode()
