"""Begin a migration: `./run migration reward_ledger` writes the next numbered file from what the tables say now.

The tables are compared with a database of the moment, built by the migrations so far and removed afterwards.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.database import async_url
from app.core.embedded import running
from app.metadata import alembic_config, migrate, newest_revision

FILE_TEMPLATE = "%%(rev)s"


async def begin(url: str, name: str) -> None:
    """Write the migration's file; its number follows the newest."""
    await migrate(url)
    config = alembic_config()
    config.set_main_option("file_template", FILE_TEMPLATE)
    revision = f"{int(newest_revision()[:4]) + 1:04}_{name}"

    def write(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.revision(config, message=name.replace("_", " "), autogenerate=True, rev_id=revision)

    engine = create_async_engine(async_url(url))
    async with engine.connect() as connection:
        await connection.run_sync(write)
    await engine.dispose()


def main() -> int:
    """Check the name and begin."""
    if len(sys.argv) != 2 or not re.fullmatch(r"[a-z][a-z0-9_]{2,40}", sys.argv[1]):
        sys.stderr.write("Name the migration in lower case: ./run migration reward_ledger\n")
        return 2
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), erase=True) as url:
        asyncio.run(begin(url, sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
