"""An import as its sender sees it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.core.schemas import Out


class ImportFormat(StrEnum):
    """How the file was written; the file of refused rows is written alike."""

    CSV = "csv"
    XLSX = "xlsx"


class ImportState(StrEnum):
    """How far an import is."""

    RECEIVING = "receiving"
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class ImportResult(StrEnum):
    """What a finished import came to."""

    COMPLETE = "complete"
    """Every row that had to be kept is kept."""
    PARTIAL = "partial"
    """Some rows were refused, others kept."""
    REFUSED = "refused"
    """All rows were refused."""
    NOT_REQUIRED = "not_required"
    """There were rows, and none of them had to be, or may be, kept."""
    NO_ROWS = "no_rows"
    """The file has a header and nothing below it."""
    UNREADABLE = "unreadable"
    """The file turned out to be no table; rows before the place are kept."""
    FAILED = "failed"
    """A fault of this service, tried many times. Hand the same file in again later."""


class ImportRows(Out):
    """Rows by what became of them. `updated` added to what was known; `skipped` is the template's sample."""

    read: int
    created: int
    updated: int
    duplicate: int
    conflict: int
    invalid: int
    not_required: int
    skipped: int


class ImportErrorOut(Out):
    """What is wrong with one cell. `line` is the one that an editor or spreadsheet shows, `column` its header."""

    line: int
    column: str
    code: str
    detail: str


class ImportOut(Out):
    """How far an import is and what it came to.

    `percent` says how much of the file is behind: bytes of text, or of a workbook's sheet. It never falls, and is 100 when the import is finished, not before.
    Only `result` says how it ended, and only a `complete` one is a success without more to do.
    """

    id: UUID
    kind: str
    format: ImportFormat
    dry_run: bool
    state: ImportState
    result: ImportResult | None
    problem: str | None
    percent: int
    rows: ImportRows
    errors: list[ImportErrorOut]
    received_at: datetime
    finished_at: datetime | None
