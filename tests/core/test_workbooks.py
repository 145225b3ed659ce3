import io
import zipfile
from datetime import UTC, date, datetime
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.sheets import SheetUnreadable
from app.core.workbooks import MOST_COLUMNS, WorkbookReader, write_workbook

CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SHEET = "xl/worksheets/sheet1.xml"


def written(*rows: list[str]) -> io.BytesIO:
    file = io.BytesIO()
    write_workbook(rows, file)
    return file


def read(file: io.BytesIO) -> list[list[str]]:
    file.seek(0)
    return [record.cells for record in WorkbookReader(file)]


def of_excel(*rows: list[Any], change: Any = None) -> io.BytesIO:
    """A workbook with typed cells, as a spreadsheet program writes it."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if change is not None:
        change(book)
    file = io.BytesIO()
    book.save(file)
    return file


def altered(part: str, old: bytes, new: bytes, *, of: io.BytesIO | None = None) -> io.BytesIO:
    """A workbook, if none is given of one cell, in one part of which something is replaced."""
    file, result = of or written(["a"]), io.BytesIO()
    with zipfile.ZipFile(file) as before, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content.replace(old, new) if name == part else content)
    return result


class TestAWorkbook:
    @settings(max_examples=60)
    @given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=8))
    def test_comes_back_as_it_was_written(self, rows: list[list[str]]) -> None:
        trimmed = []
        for row in rows:
            cells = list(row)
            while cells and not cells[-1]:
                cells.pop()
            trimmed.append(cells)
        # XML parsers make one line end of all; the writer's escapes keep a carriage return.
        assert read(written(*rows)) == [row for row in trimmed if row]

    def test_of_a_spreadsheet_program_is_read_as_it_shows_it(self) -> None:
        file = of_excel(
            ["x", 1, 36.6, 13800138000, 110105194912310020, True, None],
            [datetime(2026, 2, 15, 9, 41, 7, tzinfo=UTC).replace(tzinfo=None), date(2026, 2, 15), 13800138000.0],
        )
        assert read(file) == [
            ["x", "1", "36.6", "13800138000", "1.10105E+17", "TRUE"],
            ["2026-02-15 09:41:07", "2026-02-15 00:00:00", "13800138000"],
        ]

    def test_counts_rows_as_a_spreadsheet_does(self) -> None:
        file = written(["a"], [], ["", "b"])
        file.seek(0)
        assert [record.line for record in WorkbookReader(file)] == [1, 3]

    def test_shows_a_formula_as_one_and_never_works_it_out(self) -> None:
        assert read(of_excel(["=1+1", '=HYPERLINK("http://x")'])) == [["=1+1", '=HYPERLINK("http://x")']]

    def test_may_have_hidden_and_empty_sheets(self) -> None:
        def add(book: Any) -> None:
            book.create_sheet("empty")
            hidden = book.create_sheet("lists")
            hidden.append(["是"])
            hidden.sheet_state = "hidden"

        assert read(of_excel(["a"], change=add)) == [["a"]]

    def test_does_not_believe_what_it_says_of_its_size(self) -> None:
        file = altered(SHEET, b"<cols>", b'<dimension ref="A1"/><cols>')
        assert read(file) == [["a"]]

    def test_is_not_begun_before_its_first_row_is_asked_for(self) -> None:
        assert WorkbookReader(written(["a"])).share == 0


def shares(file: io.BytesIO) -> list[float]:
    """How far the reader says it is, after each row and at the end."""
    file.seek(0)
    sheet = WorkbookReader(file)
    return [*(sheet.share for _ in sheet), sheet.share]


class TestHowFarAWorkbookIsRead:
    ROWS = tuple([f"{number} of many", "x" * 50] for number in range(4_000))

    def test_grows_with_the_rows_to_the_whole(self) -> None:
        told = shares(written(*self.ROWS))
        # A reader is ahead of its rows by what it unpacks at a time.
        assert all(abs(share - number / 4_000) < 0.1 for number, share in enumerate(told[:-1]))
        assert told == sorted(told)
        assert told[-1] == 1

    @pytest.mark.parametrize("size", ["A1", "A1:B1048576", "B7:A1"])
    def test_is_the_same_whatever_the_sheet_says_of_its_size(self, size: str) -> None:
        rows = self.ROWS[:1_000]
        plain, claimed = written(*rows), written(*rows)
        lying = altered(SHEET, b"<cols>", f'<dimension ref="{size}"/><cols>'.encode(), of=claimed)
        assert shares(lying) == pytest.approx(shares(plain), abs=0.1)

    def test_never_falls_where_rows_are_left_out_or_come_in_another_order(self) -> None:
        more = b"".join(b'<row r="%d"><c><v>1</v></c></row>' % number for number in (20_000, 7, 30_000))
        told = shares(altered(SHEET, b"</sheetData>", more + b"</sheetData>", of=written(*self.ROWS[:500])))
        assert told == sorted(told)
        assert told[-1] == 1


class TestAHostileWorkbook:
    def test_with_several_sheets_is_refused(self) -> None:
        with pytest.raises(SheetUnreadable):
            read(of_excel(["a"], change=lambda book: book.create_sheet("more").append(["b"])))

    def test_with_merged_cells_is_refused(self) -> None:
        with pytest.raises(SheetUnreadable):
            read(of_excel(["a"], change=lambda book: book.active.merge_cells("A1:B2")))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"<worksheet ", b'<!DOCTYPE x [<!ENTITY a SYSTEM "/etc/passwd">]><worksheet '),
            (b"</sheetData>", b'<row r="2"><c r="XFD2"><v>1</v></c></row></sheetData>'),
            (b"</sheetData>", b'<row r="99999999999"><c r="A1"><v>1</v></c></row></sheetData>'),
            (b"</sheetData>", b"</sheetDat>"),
            (b"<sheetData>", b"<sheetData>\0"),
        ],
        ids=["entities", "far column", "far row", "no XML", "another encoding"],
    )
    def test_is_refused(self, old: bytes, new: bytes) -> None:
        with pytest.raises(SheetUnreadable):
            read(altered(SHEET, old, new))

    def test_with_too_many_columns_is_refused(self) -> None:
        with pytest.raises(SheetUnreadable):
            read(written(["a"] * (MOST_COLUMNS + 1)))

    def test_that_would_fill_the_memory_is_refused(self) -> None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(SHEET, "w") as part:
            for _ in range(520):
                part.write(b" " * 1024 * 1024)
        assert len(file.getvalue()) < 1_000_000
        with pytest.raises(SheetUnreadable, match="sheet_unreadable"):
            read(file)

    @pytest.mark.parametrize("content", [b"PK\x03\x04", b"PK\x03\x04" + b"x" * 100, b""])
    def test_that_is_no_archive_is_refused(self, content: bytes) -> None:
        with pytest.raises(SheetUnreadable):
            read(io.BytesIO(content))

    @settings(max_examples=40)
    @given(place=st.integers(0, 2000), byte=st.integers(0, 255))
    def test_with_one_byte_changed_is_read_or_refused(self, place: int, byte: int) -> None:
        content = bytearray(written(["a", "b"]).getvalue())
        content[place % len(content)] = byte
        try:
            read(io.BytesIO(bytes(content)))
        except SheetUnreadable:
            return
