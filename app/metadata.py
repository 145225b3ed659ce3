"""All tables in one place, and how they come to be: migrations, told as a numbered story."""

from importlib import import_module
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.core.database import Base, async_url

CHAPTERS = (
    "core.jobs",
    "core.schedule",
    "core.snapshots",
    "core.idempotency",
    "audit.models",
    "divisions.models",
    "auth.models",
    "people.models",
    "catalogue.models",
    "pharmacies.models",
    "webhooks.models",
    "imports.models",
    "regimes.models",
    "questionnaires.models",
    "registrations.models",
    "sales.models",
    "cases.models",
    "matching.models",
    "rewards.models",
    "alerts.models",
    "capture.models",
)

for chapter in CHAPTERS:
    import_module(f"app.{chapter}")

metadata = Base.metadata

_MIGRATION_LOCK = 0x5E17_0000


def script_location() -> Path:
    """Return the folder of migrations: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def alembic_config() -> Config:
    """Return Alembic's configuration for this package."""
    config = Config()
    config.set_main_option("script_location", str(script_location()))
    return config


def newest_revision() -> str:
    """Return the revision that this version of the code was written for."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


async def migrate(url: str, *, down_to: str | None = None) -> None:
    """Bring the schema up to date, or take it back to an earlier revision.

    Safe when several processes start at once: the second waits for the first, then finds nothing to do.
    """

    def run(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        if down_to is None:
            command.upgrade(config, "head")
        else:
            command.downgrade(config, down_to)

    engine = create_async_engine(async_url(url), poolclass=NullPool)
    try:
        async with engine.connect() as guard, engine.connect() as connection:
            await guard.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()
