"""`sentinel rematch` as an operator runs it: a process of its own."""

import asyncio
import os
import sys

from app.core.database import Database
from app.core.sealing import Keyring
from tests.factories.world import build_world


async def test_the_command_judges_everything_and_says_what_changed(committed: Database, keyring: Keyring) -> None:
    await build_world(committed)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "rematch"),
        env={
            "PATH": os.environ["PATH"],
            "SENTINEL_DATABASE_URL": committed.url,
            "SENTINEL_SEALING_KEYS": keyring.notation(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, aside = await process.communicate()
    assert process.returncode == 0, aside.decode()
    assert said.decode() == "matches that changed: none\n"
    assert "0 cases looked at" in aside.decode()
