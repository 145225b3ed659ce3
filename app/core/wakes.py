"""Waking workers: a notification soon after a commit that enqueued jobs.

NOTIFY inside the transaction would be simpler, but PostgreSQL makes all transactions that notify commit one after the
other, each with its own flush to disk: 32 concurrent commits fell to a quarter of their rate. So a process tells the
workers afterwards, in a transaction of its own that waits for no disk, once for all commits of the last moment. A
notification that is lost costs one polling interval and nothing else.
"""

import asyncio
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from app.core.database import Database

CHANNEL = "sentinel_jobs"
"""The notification's payload is the kind of the jobs."""

SHORTEST_INTERVAL_SECONDS = 0.05

# A transaction by itself, and the setting is that transaction's own: one word to the server instead of four.
_TELL = """
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, kind) FROM unnest($2::text[]) AS kind
"""

_waiting: WeakKeyDictionary[Database, set[str]] = WeakKeyDictionary()


def wake(database: Database, kind: str) -> None:
    """Have the workers of a kind woken; returns at once."""
    kinds = _waiting.get(database)
    if kinds is not None:  # a task is about to tell, or telling
        kinds.add(kind)
        return
    _waiting[database] = {kind}
    task = asyncio.create_task(_tell(database))
    database.following.add(task)
    task.add_done_callback(database.following.discard)


async def _tell(database: Database) -> None:
    try:
        while kinds := _waiting[database]:
            _waiting[database] = set()
            async with database.engine.connect() as connection:
                raw = await connection.get_raw_connection()
                notify = raw.driver_connection
                assert notify is not None
                await notify.execute(_TELL, CHANNEL, list(kinds))
            await asyncio.sleep(SHORTEST_INTERVAL_SECONDS)
    except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        pass  # the workers look for themselves every second
    finally:
        del _waiting[database]
