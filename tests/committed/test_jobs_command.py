"""`sentinel jobs` as an operator runs it: a process of its own."""

import asyncio
import os
import sys

from sqlalchemy import text

from app.core.database import Database
from app.core.sealing import Keyring

DEAD = """
INSERT INTO jobs (kind, payload, max_attempts, attempts, state, last_error)
SELECT 'registrations.recorded', '{}', 3, 3, 'dead', 'ValueError' FROM generate_series(1, 2)
"""


async def sentinel(database: Database, keyring: Keyring, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *words),
        env={
            "PATH": os.environ["PATH"],
            "SENTINEL_DATABASE_URL": database.url,
            "SENTINEL_SEALING_KEYS": keyring.notation(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, aside = await process.communicate()
    assert process.returncode == 0, aside.decode()
    return said.decode()


async def test_the_command_lists_dead_jobs_and_has_them_tried_again(committed: Database, keyring: Keyring) -> None:
    async with committed.transaction() as session:
        await session.execute(text(DEAD))
    lines = (await sentinel(committed, keyring, "jobs", "dead")).splitlines()
    assert [line.split("  ")[1::2] for line in lines] == [["registrations.recorded", "3 attempts"]] * 2
    told = await sentinel(committed, keyring, "jobs", "retry", lines[1].split("  ")[0])
    assert told == "1 jobs will be tried again\n"
    async with committed.transaction() as session:
        assert list(await session.scalars(text("SELECT state FROM jobs ORDER BY id"))) == ["dead", "ready"]
        detail = await session.scalar(text("SELECT detail FROM audit_entries WHERE action = 'jobs.retried'"))
    assert detail["count"] == 1
