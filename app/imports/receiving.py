"""An upload, taken piece by piece and sealed at once.

What can be seen at the beginning of a file – its encoding, its header – is judged there, so that a wrong file is refused while it
comes. No transaction is open while the network is waited for.
"""

from types import TracebackType
from uuid import UUID

from app.auth.rules import Actor
from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import BodyTooLarge
from app.core.sealing import Keyring
from app.core.sheet_text import CsvReader, Transcoder, delimiter_of, is_preamble
from app.core.sheets import SheetUnreadable
from app.core.workbooks import OLE_BEGINS, ZIP_BEGINS
from app.imports import rows, service
from app.imports.importers import Importer
from app.imports.models import PIECE_BYTES
from app.imports.schemas import ImportFormat

MOST_BYTES = 512 * 1024 * 1024
MOST_WORKBOOK_BYTES = 20 * 1024 * 1024


class Reception:
    """Receives one file: `take` what comes, then `end`. Used as a context: what did not end is discarded."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keyring: Keyring,
        importer: Importer,
        *,
        actor: Actor,
        dry_run: bool = False,
        charset: str | None = None,
    ) -> None:
        self._database, self._clock, self._keyring = database, clock, keyring
        self._importer, self._actor, self._dry_run = importer, actor, dry_run
        self._text = Transcoder(charset)
        self._beginning: bytes | None = b""
        self._format = ImportFormat.CSV
        self._delimiter = ","
        self._waiting = bytearray()
        self._pieces = self._size = 0
        self._id: UUID | None = None
        self._ended = False

    async def __aenter__(self) -> "Reception":
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what did not become an import."""
        if self._id is not None and not self._ended:
            async with self._database.transaction() as session:
                await rows.discard_import(session, self._id)

    async def take(self, data: bytes) -> None:
        """Take what came next.

        Raises:
            SheetUnreadable: this is no table, or not one with the columns that are needed.
            BodyTooLarge: there is too much of it.
            TooManyImports: the account has enough imports under way.
        """
        if self._beginning is not None:
            self._beginning += data
            if len(self._beginning) < len(ZIP_BEGINS):
                return
            data, self._beginning = self._beginning, None
            self._recognise(data)
        self._waiting += data if self._format is ImportFormat.XLSX else self._text.feed(data)
        most = MOST_WORKBOOK_BYTES if self._format is ImportFormat.XLSX else MOST_BYTES
        if self._size + len(self._waiting) > most:
            raise BodyTooLarge(f"At most {most} bytes")
        while len(self._waiting) >= PIECE_BYTES:
            await self._keep(bytes(self._waiting[:PIECE_BYTES]))
            del self._waiting[:PIECE_BYTES]

    async def end(self, *, queue: bool = True) -> UUID:
        """Say that the file is whole; return the import's id. With `queue`, a worker goes on from here.

        Raises:
            SheetUnreadable: this is no table, or not one with the columns that are needed.
        """
        if self._beginning is not None:
            data, self._beginning = self._beginning, None
            self._recognise(data)
            self._waiting += self._text.feed(data)
        if self._format is ImportFormat.CSV:
            self._waiting += self._text.feed(b"", final=True)
        if self._waiting or not self._pieces:
            await self._keep(bytes(self._waiting))
        assert self._id is not None
        async with self._database.transaction() as session:
            await rows.end_upload(session, self._id, size=self._size, delimiter=self._delimiter, queue=queue)
        self._ended = True
        return self._id

    def _recognise(self, beginning: bytes) -> None:
        if beginning.startswith(OLE_BEGINS):
            raise SheetUnreadable(
                "This is an old or protected workbook; save it as .xlsx without a password, or as CSV"
            )
        self._format = ImportFormat.XLSX if beginning.startswith(ZIP_BEGINS) else ImportFormat.CSV

    async def _keep(self, piece: bytes) -> None:
        if not self._pieces and self._format is ImportFormat.CSV:
            self._read_header(piece)
        async with self._database.transaction() as session:
            if self._id is None:
                self._id = await service.begin_import(
                    session,
                    actor=self._actor,
                    now=self._clock.now(),
                    kind=self._importer.kind,
                    file_format=self._format,
                    dry_run=self._dry_run,
                )
            await rows.keep_piece(session, self._id, self._pieces, piece, keyring=self._keyring)
        self._pieces += 1
        self._size += len(piece)

    def _read_header(self, piece: bytes) -> None:
        self._delimiter = delimiter_of(piece[:65536].decode("utf-8", "ignore"))
        reader = CsvReader(self._delimiter)
        reader.feed(piece)
        reader.end()
        while (record := reader.read()) is not None:
            if not is_preamble(record.cells):
                self._importer.read_header(record.cells)
                return
        raise SheetUnreadable("The file is empty")
