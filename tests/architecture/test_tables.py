"""Tables point the way the chapters do, and the migrations tell their story: numbered, without waiting, there and back."""

import asyncio
import re
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.core.database import Base, async_url
from app.metadata import alembic_config, metadata, migrate, script_location
from tests.architecture.tree import CHAPTERS
from tests.conftest import fresh_database

MAPPERS = list(Base.registry.mappers)
CHAPTER_OF = {mapper.local_table.name: mapper.class_.__module__.split(".")[1] for mapper in MAPPERS}
REVISIONS = sorted(path for path in (script_location() / "versions").glob("*.py"))


class TestATable:
    def test_belongs_to_a_chapter(self) -> None:
        assert set(CHAPTER_OF) == set(metadata.tables)
        assert set(CHAPTER_OF.values()) <= set(CHAPTERS)

    @pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
    def test_points_only_to_its_own_chapter_and_those_before(self, table: Table) -> None:
        own = CHAPTERS.index(CHAPTER_OF[table.name])
        for key in table.foreign_keys:
            assert CHAPTERS.index(CHAPTER_OF[key.column.table.name]) <= own

    def test_is_a_plural_noun(self) -> None:
        # People are more than one; the links of the trail are one chain.
        assert {name for name in metadata.tables if not name.endswith("s")} <= {"audit_chain", "people"}


class TestARelationship:
    def test_is_never_loaded_behind_the_reader_s_back(self) -> None:
        lazy = {relation for mapper in MAPPERS for relation in mapper.relationships if relation.lazy != "raise"}
        assert not lazy


class TestAMigration:
    @pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
    def test_is_named_by_its_number_and_its_file(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert re.search(rf'^revision = "{path.stem}"$', text, re.MULTILINE)
        assert re.fullmatch(r"\d{4}_[a-z0-9_]+", path.stem)

    @pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
    def test_would_rather_fail_than_make_tills_wait(self, path: Path) -> None:
        upgrade, downgrade = path.read_text(encoding="utf-8").split("def downgrade()")
        assert "SET LOCAL lock_timeout" in upgrade
        assert "SET LOCAL lock_timeout" in downgrade

    def test_follows_the_one_before(self) -> None:
        script = ScriptDirectory.from_config(alembic_config())
        assert script.get_heads() == [REVISIONS[-1].stem]
        assert [int(path.stem[:4]) for path in REVISIONS] == list(range(1, len(REVISIONS) + 1))
        befores = [script.get_revision(path.stem).down_revision for path in REVISIONS]
        assert befores == [None, *(path.stem for path in REVISIONS[:-1])]


async def differences(url: str) -> None:
    """Raise if the tables of the database are not those of the code."""

    def check(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.check(config)

    engine = create_async_engine(async_url(url), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(check)
    await engine.dispose()


async def things_in(url: str) -> set[str]:
    """Return the names of all tables and columns, functions and triggers that a migration could leave behind."""
    engine = create_async_engine(async_url(url), poolclass=NullPool)
    async with engine.connect() as connection:
        names = await connection.exec_driver_sql(
            "SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'public'::regnamespace"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
            " UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal"
            " UNION ALL SELECT 'column ' || c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'alembic_version'"
            " AND a.attnum > 0 AND NOT a.attisdropped"
        )
        found = {str(name) for (name,) in names}
    await engine.dispose()
    return found


class TestTheSchema:
    async def test_is_what_the_code_says(self, migrated_url: str) -> None:
        await differences(migrated_url)

    async def test_would_notice_a_difference(self, migrated_url: str) -> None:
        table = Table("forgotten_things", metadata)
        try:
            with pytest.raises(Exception, match="New upgrade operations detected"):
                await differences(migrated_url)
        finally:
            metadata.remove(table)

    async def test_goes_one_step_back_and_forth(self, server_url: str) -> None:
        async with fresh_database(server_url) as url:
            await migrate(url)
            before = await things_in(url)
            await migrate(url, down_to=REVISIONS[-2].stem)
            assert await things_in(url) < before
            await migrate(url)
            assert await things_in(url) == before
            await differences(url)

    async def test_goes_all_the_way_back_and_forth(self, server_url: str) -> None:
        async with fresh_database(server_url) as url:
            await migrate(url)
            before = await things_in(url)
            await migrate(url, down_to="base")
            assert await things_in(url) <= {"relation alembic_version", "relation alembic_version_pkc"}
            await migrate(url)
            assert await things_in(url) == before

    async def test_is_brought_up_to_date_once_however_many_start(self, server_url: str) -> None:
        async with fresh_database(server_url) as url:
            await asyncio.gather(*(migrate(url) for _ in range(4)))
            await differences(url)
