"""Tables as text, whatever program wrote them: encodings, delimiters, quotes; and text that a spreadsheet will not run.

A file is read piece by piece, so that its size does not matter. `Transcoder` makes UTF-8 of it, `CsvReader` records. A line that
is no CSV spoils nothing but itself.
"""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence

from app.core.sheets import Record, SheetUnreadable

BYTE_ORDER_MARK = "\ufeff"
DELIMITERS = (",", ";", "\t")
LONGEST_RECORD = 50
"""Lines that one record may span. A quote that nobody closed would else swallow the rest of the file."""
LONGEST_LINE = 128 * 1024

_DECIDED_BY = 64 * 1024
_NO_ACCIDENT = 8
"""About one in six characters of GB18030 is valid UTF-8 by itself; so many in a row are no accident."""
_CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f]")
_SEPARATOR_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?\s*", re.IGNORECASE)  # Excel's own hint, not part of the table
# OWASP, CSV injection. An apostrophe before such text keeps a spreadsheet from running it; more than one may stand there.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")


class Transcoder:
    """Turns a text file into UTF-8 without byte order mark, piece by piece.

    Reads UTF-8, UTF-16 (Excel's "Unicode text") and GB18030 with its subsets GBK and GB2312. Which one it is shows in the byte order mark
    or else in the first characters beyond ASCII: GB18030 is as good as never valid UTF-8.
    """

    def __init__(self, charset: str | None = None) -> None:
        """Begin a file; `charset` is what its sender says of it.

        Raises:
            SheetUnreadable: there is no such charset here.
        """
        self._decoder: codecs.IncrementalDecoder | None = None
        self._held = b""
        self._at_start = True
        if charset is not None:
            if charset.lower() not in _CHARSETS:
                raise SheetUnreadable("The charset is none of utf-8, utf-16, gb18030, gbk, gb2312")
            self._decoder = codecs.getincrementaldecoder(_CHARSETS[charset.lower()])()

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return the next part of the file in UTF-8; after the last part call it once more with `final`.

        Raises:
            SheetUnreadable: it is not text, or in no encoding known here.
        """
        if self._decoder is None:
            data, self._held = self._held + data, b""
            if len(data) < _DECIDED_BY and not final:
                self._held = data
                return b""
        try:
            self._decoder = self._decoder or self._choose(data)
            text = self._decoder.decode(data, final) if self._decoder else data.decode("ascii")
        except UnicodeDecodeError:
            raise SheetUnreadable("The text is not all in one of UTF-8, UTF-16 and GB18030") from None
        if self._at_start and text:
            self._at_start = False
            text = text.removeprefix(BYTE_ORDER_MARK)
        if _NOT_TEXT.search(text):
            raise SheetUnreadable("This is neither text nor an XLSX workbook")
        return text.encode()

    def _choose(self, data: bytes) -> codecs.IncrementalDecoder | None:
        """Return the decoder of a file that goes on like this; None as long as it is all ASCII."""
        if self._at_start and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return codecs.getincrementaldecoder("utf-16")()
        if self._at_start and b"\0" in data[:200]:
            return codecs.getincrementaldecoder("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")()
        if data.isascii():
            return None
        try:
            codecs.getincrementaldecoder("utf-8")().decode(data)
        except UnicodeDecodeError as error:
            good = data[: error.start].decode("utf-8", "ignore")
            if sum(not character.isascii() for character in good) > _NO_ACCIDENT:
                raise  # UTF-8 with a damaged place; as GB18030 it would be read as other characters throughout
            return codecs.getincrementaldecoder("gb18030")()
        return codecs.getincrementaldecoder("utf-8")()


class _NeedMore(Exception):
    """The text ends here for now."""


class _TooLong(Exception):
    """A record goes on for too many lines: a quote was not closed."""


class CsvReader:
    """Takes CSV in UTF-8 apart as it comes in. `position` and `line` say how far it has been taken apart."""

    def __init__(self, delimiter: str, *, line: int = 0, position: int = 0) -> None:
        """Begin at the start of the line after `line`, at byte `position` of the text."""
        self.line, self.position = line, position
        self._delimiter = delimiter
        self._lines: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._rest = b""
        self._ended = False
        self._reader = self._new_reader()

    def feed(self, data: bytes) -> None:
        """Add what comes next.

        Raises:
            SheetUnreadable: a line is longer than any table's.
        """
        lines = (self._rest + data).splitlines(keepends=True)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if len(self._rest) > LONGEST_LINE:
            raise SheetUnreadable(f"Line {self.line + len(self._lines) + len(lines) + 1} is too long for a table")
        self._lines.extend(lines)

    def end(self) -> None:
        """Say that nothing follows."""
        if self._rest:
            self._lines.append(self._rest)
        self._rest, self._ended = b"", True

    def read(self) -> Record | None:
        """Return the next record, without the empty ones; None if more must come first, or nothing does."""
        while True:
            self._taken.clear()
            try:
                cells, broken = next(self._reader), False
            except (_NeedMore, StopIteration):
                self._give_back(0)
                return None
            except (csv.Error, _TooLong):
                self._give_back(1)  # only its first line is lost: the others may be good
                cells, broken = [self._taken[0].decode().strip("\r\n")], True
            self.line += len(self._taken)
            self.position += sum(map(len, self._taken))
            if broken or any(cell and not cell.isspace() for cell in cells):
                if any(b"'" in line for line in self._taken) and not broken:
                    cells = [cell[1:] if _GUARDED.match(cell) else cell for cell in cells]
                return Record(self.line, cells, broken)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Hand the next line to the parser."""
        if not self._lines:
            if not self._ended:
                raise _NeedMore
            raise StopIteration
        if len(self._taken) == LONGEST_RECORD:
            raise _TooLong
        self._taken.append(self._lines.popleft())
        return self._taken[-1].decode()

    def _give_back(self, kept: int) -> None:
        self._lines.extendleft(reversed(self._taken[kept:]))
        del self._taken[kept:]
        self._reader = self._new_reader()

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self, delimiter=self._delimiter, strict=True)


def delimiter_of(text: str) -> str:
    """Return the delimiter of a table from its beginning: the one of comma, semicolon and tab that parts the header most often."""
    lines = io.StringIO(text, newline="")
    header = lines.readline()
    if found := _SEPARATOR_LINE.fullmatch(header):
        return found[1]
    while header and (not header.strip() or header.startswith("#")):
        header = lines.readline()
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=bare.count)


def is_preamble(cells: Sequence[str]) -> bool:
    """Say whether a record before the header is none: a comment, or Excel's `sep=;`."""
    return cells[0].startswith("#") or cells[0].lower().startswith("sep=")


def csv_line(cells: Sequence[str], delimiter: str = ",") -> str:
    """Return one line of CSV (RFC 4180). Text that a spreadsheet would run is preceded by an apostrophe, which `CsvReader` takes off."""
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter).writerow(["'" + cell if _FORMULA.match(cell) else cell for cell in cells])
    return line.getvalue()
