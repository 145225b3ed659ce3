"""Reading a table of any kind: which columns stand below its header, what a row holds, and which cell a complaint is about."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.chinese import IN_A_TABLE
from app.core.errors import FieldError
from app.core.sheets import MAX_CELL, Record, RowError, SheetUnreadable
from app.imports.cells import CellWrong, Read

Path = tuple[str | int, ...]
"""Where in a body a value belongs."""


IGNORED = "note"
SAMPLE_BEGINS = ("#示例", "#example")
"""The first cell of the template's sample; such a row is skipped."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: where it stands, how it is headed, and where its value belongs in the body."""

    place: int
    header: str
    name: str
    path: Path
    read: Read

    @property
    def pointer(self) -> str:
        """The pointer that complaints about the value bear."""
        return "".join(f"/{part}" for part in self.path)


def fold_header(header: str) -> str:
    """Return a header as it is compared: without case, width, spaces, and what stands in brackets."""
    return re.sub(r"\(.*?\)|[\s*:]", "", unicodedata.normalize("NFKC", header).lower())


def find_name(folded: str, names: Mapping[str, str]) -> str | None:
    """Return the name of the column that one of the names in a folded header has; none where they differ."""
    found = {names.get(part) for part in (folded, *folded.split("/"))} - {None}
    return found.pop() if len(found) == 1 else None


def is_sample(record: Record) -> bool:
    """Return whether a row is the template's sample."""
    return record.cells[0].lstrip().lower().startswith(SAMPLE_BEGINS)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows below a header are read."""

    width: int
    columns: tuple[Column, ...]
    headers: Mapping[str, str]
    """Header of each pointer, as the file has it."""

    def content_of(self, record: Record) -> dict[str, Any] | list[RowError]:
        """Return the values of a row, each at its path, or what is wrong with its cells."""
        if record.broken:
            return [RowError(record.line, "", "row_unreadable", "The line cannot be taken apart; look at its quotes")]
        row = record.cells
        if len(row) > self.width and any(cell.strip() for cell in row[self.width :]):
            return [RowError(record.line, "", "too_many_cells", "The row has more cells than the header")]
        body: dict[Any, Any] = {}
        errors: list[RowError] = []
        for column in self.columns:
            text = row[column.place].strip() if column.place < len(row) else ""
            if not text:
                continue
            try:
                if len(text) > MAX_CELL:
                    raise CellWrong("cell_too_long", f"A cell has at most {MAX_CELL} characters")
                value = column.read(text)
            except CellWrong as wrong:
                errors.append(RowError(record.line, column.header, wrong.code, wrong.detail))
                continue
            place = body
            for part in column.path[:-1]:
                place = place.setdefault(part, {})
            place[column.path[-1]] = value
        return errors or body

    def complaints(self, line: int, errors: Iterable[FieldError], items: Sequence[int] = ()) -> list[RowError]:
        """Return what is wrong with a body as complaints about cells; `items` says which item of the row each item of the body is."""
        return [RowError(line, self._header_of(error.pointer, items), error.code, error.detail) for error in errors]

    def _header_of(self, pointer: str, items: Sequence[int]) -> str:
        parts = pointer.split("/")[1:]
        if parts[:1] == ["items"] and len(parts) > 1 and parts[1].isdecimal() and int(parts[1]) < len(items):
            parts[1] = str(items[int(parts[1])])
        while parts:
            for pointer in ("/" + "/".join((*parts, *last)) for last in _MEANT):
                if pointer in self.headers:
                    return self.headers[pointer]
            parts.pop()
        return ""


_MEANT: tuple[tuple[str, ...], ...] = ((), ("number",), ("name",), ("line",))
"""Which cell is meant where the body's error is about a whole document, person, item or address."""


def plan_with(
    header: Sequence[str],
    ignored: str,
    needed: Mapping[str, Collection[str]],
    name_of: Callable[[str], str | None],
    path_and_read: Callable[[str], tuple[Path, Read]],
) -> Plan:
    """Return how the rows below a header are read, of any kind of table.

    `needed` has, by the words for them, columns of which one at least must be there.

    Raises:
        SheetUnreadable: a header is not known or there twice, or one that is needed is lacking.
    """
    columns: list[Column] = []
    for place, text in enumerate(header):
        if not text.strip() or text.strip() == ignored:
            continue
        name = name_of(text)
        if name is None:
            raise SheetUnreadable(
                f"Column {place + 1} has a header that is not known; remove it, or take one of the template"
            )
        if name == IGNORED:
            continue
        path, read = path_and_read(name)
        if any(column.name == name for column in columns):
            raise SheetUnreadable(f"Column {place + 1} says the same as one before it ({name})")
        columns.append(Column(place, text.strip()[:100], name, path, read))
    names = {column.name for column in columns}
    for words, any_of in needed.items():
        if names.isdisjoint(any_of):
            raise SheetUnreadable(
                f"The header lacks {words}" if len(any_of) == 1 else f"The header lacks one of {words}"
            )
    return Plan(len(header), tuple(columns), {column.pointer: column.header for column in columns})


def sentence(error: RowError) -> str:
    """Return a complaint as whoever corrects the row reads it: in Chinese, with the code."""
    told = IN_A_TABLE.message(error.code, error.detail)
    return f"{error.column}: {told} ({error.code})" if error.column else f"{told} ({error.code})"
