"""Working a file through, a thousand rows at a time.

Each chunk is one transaction: its rows, and the count of what became of them. Two are under way at once, so that the database works
on one while the next is read – unless rows build on each other. Whoever goes on after a crash begins behind the chunks that are done.

Any number of processes may work on one file. Each reads all of it and records the chunks that are in nobody's hands; whoever
comes to the end waits for those that still are, and takes over what was let go.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from app.core.clock import Clock
from app.core.database import Database, trouble
from app.core.errors import TryAgain
from app.core.sealing import Keyring
from app.core.sheet_text import CsvReader, is_preamble
from app.core.sheets import Record, SheetUnreadable
from app.core.workbooks import WorkbookReader
from app.imports import rows, service
from app.imports.importers import Importer
from app.imports.models import PIECE_BYTES, Import
from app.imports.rows import Bookmark, bookmarks
from app.imports.schemas import ImportFormat, ImportResult

ROWS_PER_CHUNK = 1_000
AT_ONCE = 2
"""Chunks of a file that are under way at a time."""
ATTEMPTS = 5

Told = Callable[[int, int], None]
"""Is told how far the work is, of how much."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are recorded together, and where they end."""

    mark: Bookmark
    records: list[Record]


class Work:
    """Works imports through with the importers of all kinds."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keyring: Keyring,
        importers: Mapping[str, Importer],
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self._database, self._clock, self._keyring = database, clock, keyring
        self._importers = importers
        self._at_once = at_once

    async def go_on(self, import_id: UUID, *, seconds: float | None = None, told: Told | None = None) -> bool:
        """Work for about so many seconds, or to the end; return whether nothing is left to do."""
        async with self._database.transaction() as session:
            found = await rows.start_work(session, import_id)
            done = await bookmarks(session, import_id) if found is not None else []
        if found is None:
            return True
        until = None if seconds is None else time.monotonic() + seconds
        # Where rows build on each other nobody goes past a chunk that is in another's hands.
        wait = self._importers[found.kind].in_order
        while True:
            end = await self._record_free(found, done, until=until, told=told, wait=wait)
            if end is None:
                return False
            async with self._database.transaction() as session:
                done = await bookmarks(session, import_id)
            if len(done) >= end.chunks:
                await self._finish(found, problem=end.problem, result=end.result)
                return True
            wait = True

    async def help(self, import_id: UUID) -> None:
        """Record the chunks of an import that are in nobody's hands; whoever leads it sees to the rest and to the end."""
        async with self._database.transaction() as session:
            found = await rows.start_work(session, import_id)
            done = await bookmarks(session, import_id) if found is not None else []
        if found is not None and not self._importers[found.kind].in_order:
            await self._record_free(found, done, until=None, told=None, wait=False)

    async def piece(self, import_id: UUID, number: int) -> bytes | None:
        """Return a piece of the file; None after the last."""
        async with self._database.transaction() as session:
            return await rows.open_piece(session, import_id, number, keyring=self._keyring)

    async def read_header(self, found: Import, cells: list[str]) -> Any:
        """Return how the rows below this header are read."""
        plan = self._importers[found.kind].read_header(cells)
        if found.header is None:
            async with self._database.transaction() as session:
                await rows.keep_header(session, found.id, cells)
        return plan

    async def _record_free(
        self, found: Import, done: list[Bookmark], *, until: float | None, told: Told | None, wait: bool
    ) -> "_End | None":
        """Go through the file and record what is not `done` and in nobody's hands; return where it ends, None if time is up."""
        at_once = 1 if self._importers[found.kind].in_order else self._at_once
        tasks: set[asyncio.Task[None]] = set()
        sheet = _Sheet(self, found)
        end = _End()
        try:
            async for chunk in sheet.chunks(done):
                if until is not None and time.monotonic() >= until:
                    return None
                tasks.add(asyncio.create_task(self._record(found, sheet.plan, chunk, wait=wait)))
                if len(tasks) >= at_once:
                    finished, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in finished:
                        task.result()
                if told is not None:
                    told(chunk.mark.position, found.size)
        except SheetUnreadable as error:
            end.problem, end.result = error.detail or error.title, ImportResult.UNREADABLE
        finally:
            failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if one is not None]
        if failed:
            raise failed[0]
        end.chunks = sheet.last + 1
        return end

    async def _finish(self, found: Import, *, problem: str | None = None, result: ImportResult | None = None) -> None:
        async with self._database.transaction() as session:
            await service.finish_import(
                session,
                found.id,
                actor=service.actor_of(found),
                now=self._clock.now(),
                problem=problem,
                result=result,
            )

    async def _record(self, found: Import, plan: Any, chunk: Chunk, *, wait: bool) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._record_once(found, plan, chunk, wait=wait)
            except Exception as error:
                if attempt == ATTEMPTS or not isinstance(trouble(error), TryAgain):
                    raise
                await asyncio.sleep(0.05 * attempt)
            else:
                return

    async def _record_once(self, found: Import, plan: Any, chunk: Chunk, *, wait: bool) -> None:
        importer = self._importers[found.kind]
        async with self._database.transaction() as session:
            if not await rows.claim_chunk(session, found.id, chunk.mark, wait=wait):
                return
            trial = await session.begin_nested() if found.dry_run else None
            verdicts = await importer.record(
                session, plan, chunk.records, actor=service.actor_of(found), now=self._clock.now()
            )
            if trial is not None:
                await trial.rollback()
            await rows.keep_verdicts(
                session, found.id, chunk.mark.number, chunk.records, verdicts, keyring=self._keyring
            )


@dataclass(slots=True)
class _End:
    """Where a file ends: after how many chunks, and why, where it is no table from there on."""

    chunks: int = 0
    problem: str | None = None
    result: ImportResult | None = None


class _Sheet:
    """The rows of an uploaded file from its header on."""

    def __init__(self, work: Work, found: Import) -> None:
        self._work, self._found = work, found
        self.plan: Any = None
        self.last = -1
        """The number of the last chunk that was read."""

    async def chunks(self, done: list[Bookmark]) -> AsyncIterator[Chunk]:
        """Yield the chunks that are not in `done`."""
        numbers = {mark.number for mark in done}
        start = Bookmark(-1, 0, 0)
        for mark in done:
            if mark.number != start.number + 1:
                break
            start = mark
        self.last = start.number
        source = self._workbook(start) if self._found.format is ImportFormat.XLSX else self._text(start)
        async for records, position, line in source:
            self.last += 1
            if self.last not in numbers:
                yield Chunk(Bookmark(self.last, position, line), records)

    async def _text(self, start: Bookmark) -> AsyncIterator[tuple[list[Record], int, int]]:
        if start.number >= 0:  # the header lies behind; it is needed all the same
            async for _ in self._text_from(Bookmark(-1, 0, 0), header_only=True):
                pass
        async for some in self._text_from(start, header_only=False):
            yield some

    async def _text_from(self, start: Bookmark, *, header_only: bool) -> AsyncIterator[tuple[list[Record], int, int]]:
        reader = CsvReader(self._found.delimiter, line=start.line, position=start.position)
        number, skip = divmod(start.position, PIECE_BYTES)
        records: list[Record] = []
        ended = False
        while not ended:
            piece = await self._work.piece(self._found.id, number)
            if piece is None:
                reader.end()
                ended = True
            else:
                reader.feed(piece[skip:])
            number, skip = number + 1, 0
            while (record := reader.read()) is not None:
                if self.plan is None:
                    if not is_preamble(record.cells):
                        self.plan = await self._work.read_header(self._found, record.cells)
                    if header_only and self.plan is not None:
                        return
                    continue
                records.append(record)
                if len(records) == ROWS_PER_CHUNK:
                    yield records, reader.position, reader.line
                    records = []
        if records:
            yield records, reader.position, reader.line

    async def _workbook(self, start: Bookmark) -> AsyncIterator[tuple[list[Record], int, int]]:
        file, number = io.BytesIO(), 0
        while (piece := await self._work.piece(self._found.id, number)) is not None:
            file.write(piece)
            number += 1
        file.seek(0)
        sheet = WorkbookReader(file)
        while True:  # in a thread: taking a workbook apart takes seconds
            header = await asyncio.to_thread(next, sheet, None)
            if header is None:
                raise SheetUnreadable("The sheet is empty")
            if not is_preamble(header.cells):
                break
        self.plan = await self._work.read_header(self._found, header.cells)
        for _ in range(start.number + 1):
            await asyncio.to_thread(list, islice(sheet, ROWS_PER_CHUNK))
        while records := await asyncio.to_thread(list, islice(sheet, ROWS_PER_CHUNK)):
            yield records, int(sheet.share * self._found.size), records[-1].line
