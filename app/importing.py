"""`sentinel import`: one table, one chapter's own import, one report."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import SYSTEM, Actor
from app.catalogue.imports import import_lists
from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import NotFound
from app.core.sealing import Keyring
from app.core.sheet_text import CsvReader, Transcoder, delimiter_of, is_preamble
from app.core.sheets import Lines, Record, RowError, SheetUnreadable
from app.core.workbooks import OLE_BEGINS, ZIP_BEGINS, WorkbookReader
from app.divisions.service import import_divisions
from app.helping import helper
from app.imports.importers import Importer, Importers
from app.imports.queries import get_import, progress_of
from app.imports.receiving import Reception
from app.imports.refusals import refused_file, refused_rows
from app.imports.routes import shown
from app.imports.schemas import ImportOut
from app.imports.service import open_refusals
from app.imports.working import Told, Work
from app.pharmacies.imports import import_pharmacies
from app.pharmacies.queries import PHARMACIES


@dataclass(frozen=True, slots=True)
class Report:
    """How many rows had which outcome; what should be looked at; what was refused, and why."""

    counts: Mapping[str, int]
    notes: tuple[str, ...]
    errors: tuple[str, ...]


Import = Callable[[AsyncSession, Lines, datetime, Keyring], Awaitable[Report]]

_READ_AT_ONCE = 256 * 1024


def read_records(file: Path) -> list[Record]:
    """Return the lines of a table: CSV in UTF-8, UTF-16 or GB18030, or XLSX.

    Raises:
        SheetUnreadable: it is neither.
    """
    with file.open("rb") as content:
        beginning = content.read(len(ZIP_BEGINS))
        content.seek(0)
        if beginning == ZIP_BEGINS:
            return list(WorkbookReader(content))
        if beginning == OLE_BEGINS:
            raise SheetUnreadable(
                "This is an old or protected workbook; save it as .xlsx without a password, or as CSV"
            )
        text = Transcoder().feed(content.read(), final=True)
    reader = CsvReader(delimiter_of(text[:65536].decode("utf-8", "ignore")))
    reader.feed(text)
    reader.end()
    records = list(iter(reader.read, None))
    return [record for at, record in enumerate(records) if at or not is_preamble(record.cells)]


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows on its way in: sealed, worked through and answered as an upload is, by this process itself and its helper."""

    database: Database
    clock: Clock
    keyring: Keyring
    importer: Importer

    async def bring(self, file: Path, pharmacies: Collection[UUID] = (), *, dry_run: bool, told: Told) -> ImportOut:
        """Record the rows of a file, purchases in the name of these pharmacies; return what became of them.

        Raises:
            NotFound: there is no such pharmacy.
            SheetUnreadable: the file is not such a table.
        """
        actor = replace(SYSTEM, pharmacy_ids=frozenset(pharmacies))
        async with self.database.transaction() as session:
            if not (await PHARMACIES.get(session)).keys() >= actor.pharmacy_ids:
                raise NotFound("There is no such pharmacy")
        async with Reception(
            self.database, self.clock, self.keyring, self.importer, actor=actor, dry_run=dry_run
        ) as reception:
            with file.open("rb") as content:
                while data := content.read(_READ_AT_ONCE):
                    await reception.take(data)
            import_id = await reception.end(queue=False)
        work = Work(self.database, self.clock, self.keyring, Importers(self.importer))
        async with self.database.transaction() as session:
            taken = await get_import(session, import_id, actor=actor)
        async with helper(self.database, self.keyring, taken):
            await work.go_on(import_id, told=told)
        return await self._look(import_id, actor)

    async def refusals(self, done: ImportOut) -> AsyncIterator[bytes]:
        """Yield the file of refused rows, in the format of the file itself."""
        async with self.database.transaction() as session:
            file_format, delimiter, header = await open_refusals(session, done.id, actor=SYSTEM, now=self.clock.now())
        rows = refused_rows(self.database, self.keyring, done.id, header)
        async for data in refused_file(rows, file_format, delimiter):
            yield data

    async def _look(self, import_id: UUID, actor: Actor) -> ImportOut:
        async with self.database.transaction() as session:
            found = await get_import(session, import_id, actor=actor)
            return shown(found, await progress_of(session, import_id))


def _told(complaints: Iterable[RowError]) -> tuple[str, ...]:
    return tuple(f"line {error.line}, {error.column}: {error.detail} ({error.code})" for error in complaints)


async def _divisions(session: AsyncSession, lines: Lines, now: datetime, _: Keyring) -> Report:
    done = await import_divisions(session, lines, actor=SYSTEM, now=now)
    counts = {"created": done.created, "changed": done.changed, "unchanged": done.unchanged}
    return Report(counts, (), _told(done.errors))


async def _catalogue(session: AsyncSession, lines: Lines, now: datetime, _: Keyring) -> Report:
    done = await import_lists(session, lines, actor=SYSTEM, now=now)
    counts = {"lists": len(done.loaded), "new versions": sum(one.created for one in done.loaded)}
    return Report(counts, _told(done.notes), _told(done.errors))


async def _pharmacies(session: AsyncSession, lines: Lines, now: datetime, _: Keyring) -> Report:
    done = await import_pharmacies(session, lines, actor=SYSTEM, now=now)
    counts = {"created": done.created, "changed": done.changed, "unchanged": done.unchanged}
    return Report(counts, _told(done.warnings), _told(done.errors))


KINDS: Mapping[str, Import] = {
    "divisions": _divisions,
    "catalogue": _catalogue,
    "pharmacies": _pharmacies,
}
"""Tables that are read as a whole, by the word on the command line."""
