"""Tables that people hand in: a header line and rows below it, read with a place for every complaint."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from app.core.errors import AppError

MAX_CELL = 4000


class SheetUnreadable(AppError):
    """The file is not a table with the columns that are needed: neither CSV in a known encoding nor a plain XLSX workbook."""

    status, code, title = 422, "sheet_unreadable", "The file cannot be read as a table"


@dataclass(frozen=True, slots=True)
class RowError:
    """What is wrong with one cell: line as an editor counts it, column by its header, a stable code, words for people."""

    line: int
    column: str
    code: str
    detail: str


@dataclass(slots=True)
class Record:
    """One line of a table as it came: `line` as an editor or spreadsheet counts it.

    A line of CSV that cannot be taken apart is `broken`; its text then stands in the first cell.
    """

    line: int
    cells: list[str]
    broken: bool = False


Lines = Iterable[str] | Iterable[Record]
"""A table: lines of CSV, or records that were taken apart already."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a sheet; cells by column, without spaces around them. A missing cell is empty."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def error(self, column: str, code: str, detail: str) -> RowError:
        """Return a complaint about one of this line's cells."""
        return RowError(self.line, column, code, detail)


def read_sheet(
    lines: Lines,
    required: Sequence[str],
    optional: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a table. Empty lines and lines that begin with `#` are skipped.

    `aliases` are further headers by which a column may go, such as its Chinese name.

    Raises:
        SheetUnreadable: there is no header, it lacks a required column or has an unknown one, or a line is broken.
    """
    header: list[str] | None = None
    for line, cells in _taken_apart(lines):
        if not any(cells) or cells[0].lstrip("\ufeff").startswith("#"):
            continue
        values = [cell.strip() for cell in cells]
        if header is None:
            header = _header(values, required, optional, aliases or {})
            continue
        if len(values) > len(header) or any(len(value) > MAX_CELL or "\0" in value for value in values):
            raise SheetUnreadable(f"Line {line} has too many cells, or one that is too long")
        yield Row(line, dict(zip(header, values, strict=False)))
    if header is None:
        raise SheetUnreadable("The file is empty")


def _taken_apart(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    waiting = iter(lines)
    first = next(waiting, None)
    if isinstance(first, Record):
        for record in (first, *waiting):
            assert isinstance(record, Record)
            if record.broken:
                raise SheetUnreadable(f"Line {record.line} cannot be read")
            yield record.line, record.cells
        return
    reader = csv.reader((line for line in chain((first,), waiting) if isinstance(line, str)), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise SheetUnreadable(f"Line {reader.line_num + 1} cannot be read") from error


def _header(
    values: Sequence[str], required: Sequence[str], optional: Sequence[str], aliases: Mapping[str, str]
) -> list[str]:
    names = [aliases.get(name, name) for name in (value.lstrip("\ufeff").strip().lower() for value in values)]
    missing = [column for column in required if column not in names]
    if missing:
        raise SheetUnreadable(f"The header lacks: {', '.join(missing)}")
    if len(set(names)) < len(names) or not set(names) <= {*required, *optional}:
        raise SheetUnreadable(f"The header may hold, once each: {', '.join([*required, *optional])}")
    return names
