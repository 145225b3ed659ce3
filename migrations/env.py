"""Runs migrations over the connection that `app.metadata.migrate` hands in, or over SENTINEL_DATABASE_URL."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.core.database import async_url
from app.metadata import metadata


def run(connection: Connection) -> None:
    """Run the migrations, each in a transaction of its own."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    """Open a connection from the environment, for `alembic` on the command line."""
    engine = create_async_engine(async_url(os.environ["SENTINEL_DATABASE_URL"]), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


handed_in = context.config.attributes.get("connection")
if handed_in is None:
    asyncio.run(connect_and_run())
else:
    run(handed_in)
