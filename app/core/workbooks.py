"""XLSX workbooks: one plain sheet read row by row, and written as text.

Strangers' workbooks are read with openpyxl's streaming reader, after the archive was looked at: how much it unpacks to, and that
nothing in it refers to anything outside. What a table cannot say – merged cells, several sheets – is refused rather than guessed.

The writer is our own: rows go straight into the archive, in constant memory. Libraries for it buffer in temporary files, where identities
would lie in plain.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import IO, Any
from xml.sax.saxutils import escape

from openpyxl.reader.excel import ExcelReader

from app.core.sheets import Record, SheetUnreadable

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ZIP_BEGINS = b"PK\x03\x04"
OLE_BEGINS = b"\xd0\xcf\x11\xe0"
"""Workbooks of Excel before 2007, and those that a password protects."""

MOST_PARTS = 1_000
MOST_UNPACKED_BYTES = 512 * 1024 * 1024
MOST_SHARED_BYTES = 64 * 1024 * 1024
MOST_COLUMNS = 256
MOST_ROWS = 1_048_576
"""What a sheet of Excel can hold."""

_LONGEST_WHOLE = 10**15
"""From here on a number in a cell has lost digits: Excel keeps fifteen."""
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_FAR_COLUMN = re.compile(rb'<(?:\w+:)?c r="[A-Z]{3}')
_PART = re.compile(
    r"(?:xl/(?:worksheets/[^/]*|sharedStrings|styles|workbook)\.xml|.*\.rels|\[Content_Types\]\.xml)", re.IGNORECASE
)


class WorkbookReader(Iterator[Record]):
    """Reads a workbook's one sheet: its rows without the empty ones, all cells as text. `share` says how far it has been read.

    Numbers are written as Excel shows them: without a point where they are whole, with an exponent where digits are lost. Times are
    written as 2026-02-15 09:41:07. A formula is shown as one.

    Whoever asks for a row meets SheetUnreadable where this is no such workbook, or one that unpacks to more than a table does.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._records = self._read(file)
        self._sheet: IO[bytes] | None = None
        self._sheet_bytes = 1

    def __next__(self) -> Record:
        return next(self._records)

    @property
    def share(self) -> float:
        """How much of the sheet has been read, from 0 to 1.

        By the bytes of its part of the archive, whose number nobody can misstate: how many rows there are is known in the end, and
        what a sheet says of that itself may be wrong.
        """
        if self._sheet is None:
            return 0.0
        return 1.0 if self._sheet.closed else self._sheet.tell() / self._sheet_bytes

    def _read(self, file: IO[bytes]) -> Iterator[Record]:
        _inspect(file)
        try:
            archive = _Archive(file)
            shown = [sheet for sheet in _load(archive).worksheets if sheet.sheet_state == "visible"]
            if not shown:
                raise SheetUnreadable("The workbook has no sheet")
            for sheet in shown[1:]:
                if any(cell for row in _rows_of(sheet) for cell in row):
                    raise SheetUnreadable("The workbook has several sheets that hold something; keep one")
            for line, row in enumerate(_rows_of(shown[0]), start=1):
                if line == 1:
                    self._sheet, self._sheet_bytes = archive.opened_last
                if any(row):
                    yield Record(line, row)
        except SheetUnreadable:
            raise
        except Exception as error:  # whatever a stranger's file makes a parser raise
            raise SheetUnreadable("The workbook cannot be read; save it again as .xlsx") from error


class _Archive(zipfile.ZipFile):
    """An archive that tells which of its parts was opened last, and its size when unpacked."""

    opened_last: tuple[IO[bytes], int]

    def open(self, name: str | zipfile.ZipInfo, *more: Any, **also: Any) -> IO[bytes]:
        part = super().open(name, *more, **also)
        size = (name if isinstance(name, zipfile.ZipInfo) else self.getinfo(name)).file_size
        self.opened_last = part, max(size, 1)
        return part


def _load(archive: zipfile.ZipFile) -> Any:
    # What openpyxl's `load_workbook` does, with an archive of ours.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about styles and validations, which are not looked at
        reader = ExcelReader(archive.fp, read_only=True, keep_links=False)
        reader.archive = archive
        reader.read()
    return reader.wb


def _inspect(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED_BYTES:
                raise SheetUnreadable("The workbook is too large when unpacked; hand it in as CSV")
            if any(part.flag_bits & 1 for part in parts):
                raise SheetUnreadable("The workbook is encrypted")
            for part in parts:
                if _PART.fullmatch(part.filename):
                    if "sharedstrings" in part.filename.lower() and part.file_size > MOST_SHARED_BYTES:
                        raise SheetUnreadable("The workbook holds too much text; hand it in as CSV")
                    _inspect_part(archive, part)
    except SheetUnreadable:
        raise
    except Exception as error:  # of the archive itself, of the decompressor, or of how they were called
        raise SheetUnreadable("This is no XLSX workbook, or a damaged one") from error
    file.seek(0)


def _inspect_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    # The archive's own reader gives no more than the size that is stated, which was added up before.
    tail = b""
    with archive.open(part) as content:
        while data := content.read(1024 * 1024):
            seen = tail + data
            if b"\0" in data or b"<!DOCTYPE" in seen or b"<!ENTITY" in seen:
                raise SheetUnreadable("The workbook has definitions that no spreadsheet program writes")
            if b"mergeCell " in seen:
                raise SheetUnreadable(
                    "The workbook has merged cells; unmerge them, so that each row says all of itself"
                )
            if _FAR_COLUMN.search(seen):
                raise SheetUnreadable(f"The sheet has more than {MOST_COLUMNS} columns")
            tail = data[-16:]


def _rows_of(sheet: Any) -> Iterator[list[str]]:
    sheet.reset_dimensions()  # what the file says of its own size may be wrong
    blank = None  # what the reader gives for every row that the file leaves out, up to the last of a million
    for number, row in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS + 1), start=1):
        if number > MOST_ROWS:
            raise SheetUnreadable("The sheet has more rows than a sheet can have")
        if row is blank:
            yield []
            continue
        cells = [_text_of(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if len(cells) > MOST_COLUMNS:
            raise SheetUnreadable(f"The sheet has more than {MOST_COLUMNS} columns")
        if not cells:
            blank = row
        yield cells


def _text_of(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f" or not isinstance(value, str | int | float | datetime | date | time | timedelta):
        return "=" + str(value).removeprefix("=") if isinstance(value, str) else "="
    match value:
        case str():
            return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value) if "_x" in value else value
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            return number_text(value)
        case datetime():
            return (value + timedelta(milliseconds=500)).replace(microsecond=0).isoformat(sep=" ")
        case _:
            return str(value)


def number_text(number: float) -> str:
    """Return a number as a spreadsheet shows it that has fifteen digits.

    >>> number_text(13800138000.0), number_text(36.6), number_text(110105194912310000)
    ('13800138000', '36.6', '1.10105E+17')
    """
    if abs(number) >= _LONGEST_WHOLE:
        mantissa, _, exponent = f"{number:.5E}".partition("E")
        return f"{mantissa.rstrip('0').rstrip('.')}E{exponent}"
    return str(int(number)) if number == int(number) else repr(number)


_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml."
_STATIC = {
    "[Content_Types].xml": (
        f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}styles+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}worksheet+xml"/></Types>'
    ),
    "_rels/.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    ),
    "xl/workbook.xml": (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>'
    ),
    "xl/_rels/workbook.xml.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
    ),
    # Format 49 is "text": what a clerk types over a cell then stays as typed, all eighteen digits of it.
    "xl/styles.xml": (
        f'<styleSheet xmlns="{_MAIN}"><fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        '<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
        '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    ),
}
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


def write_workbook(rows: Iterable[Sequence[str]], file: IO[bytes]) -> None:
    """Write a workbook of one sheet in which every cell is text, so that nothing in it is run or loses a digit."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in _STATIC.items():
            archive.writestr(name, _HEAD + content)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            sheet = io.TextIOWrapper(part, "utf-8", write_through=False)
            sheet.write(
                f'{_HEAD}<worksheet xmlns="{_MAIN}"><cols><col min="1" max="{MOST_COLUMNS}" width="18" style="1"/></cols><sheetData>'
            )
            for number, row in enumerate(rows, start=1):
                sheet.write(f'<row r="{number}">{"".join(map(_cell, row))}</row>')
            sheet.write("</sheetData></worksheet>")
            sheet.flush()


def _cell(text: str) -> str:
    if not text:
        return '<c s="1"/>'
    sane = escape(_NOT_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", text))
    return f'<c s="1" t="inlineStr"><is><t xml:space="preserve">{sane}</t></is></c>'
