import codecs
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.sheet_text import LONGEST_LINE, CsvReader, Transcoder, csv_line, delimiter_of, is_preamble
from app.core.sheets import Record, SheetUnreadable

TABLE = "姓名,电话\r\n王小样,13800138000\r\n"
# What stands in a cell: anything but control characters, which no encoding of text carries through.
CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\r'\"=,;"), max_size=12)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=5), max_size=8)


def transcoded(data: bytes, step: int | None = None, charset: str | None = None) -> str:
    transcoder = Transcoder(charset)
    parts = [data] if step is None else [data[at : at + step] for at in range(0, len(data), step)]
    return b"".join([*map(transcoder.feed, parts), transcoder.feed(b"", final=True)]).decode()


def records(text: str, delimiter: str = ",", step: int | None = None) -> list[Record]:
    reader, found, data = CsvReader(delimiter), [], text.encode()
    for at in range(0, len(data), step or len(data) or 1):
        reader.feed(data[at : at + (step or len(data))])
        found += iter(reader.read, None)
    reader.end()
    return [*found, *iter(reader.read, None)]


def filled(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(row) for row in rows if any(cell and not cell.isspace() for cell in row)]


class TestATranscoder:
    @pytest.mark.parametrize("step", [None, 1, 7])
    @pytest.mark.parametrize(
        "data",
        [
            TABLE.encode(),
            TABLE.encode("utf-8-sig"),
            TABLE.encode("gb18030"),
            TABLE.encode("gbk"),
            TABLE.encode("utf-16"),
            codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"),
        ],
        ids=["utf-8", "with mark", "gb18030", "gbk", "utf-16", "utf-16-be"],
    )
    def test_reads_what_spreadsheets_write(self, data: bytes, step: int | None) -> None:
        assert transcoded(data, step) == TABLE

    def test_reads_unicode_text_without_mark(self) -> None:
        assert transcoded("name\tphone\r\n".encode("utf-16-le")) == "name\tphone\r\n"
        assert transcoded("name\tphone\r\n".encode("utf-16-be")) == "name\tphone\r\n"

    def test_waits_for_the_first_character_beyond_ascii(self) -> None:
        head = "name,phone\r\n" + "a,1\r\n" * 40_000
        for encoding in ("utf-8", "gb18030"):
            assert transcoded((head + TABLE).encode(encoding), 4096) == head + TABLE

    def test_believes_the_charset_that_it_is_told(self) -> None:
        assert transcoded("王".encode("gbk"), charset="GB2312") == "王"
        with pytest.raises(SheetUnreadable):
            transcoded(b"a", charset="klingon")

    @pytest.mark.parametrize(
        "data",
        [b"name\0,phone", "王".encode() * 30_000 + "王".encode("gbk"), b"\xff\xff\xff,", b"a\x07,b"],
        ids=["binary", "two encodings", "none", "control"],
    )
    def test_refuses_what_is_not_all_text(self, data: bytes) -> None:
        with pytest.raises(SheetUnreadable):
            transcoded(data)

    @settings(max_examples=60)
    @given(data=st.binary(max_size=300))
    def test_either_reads_or_refuses(self, data: bytes) -> None:
        try:
            whole = transcoded(data)
        except SheetUnreadable:
            return
        assert transcoded(data, 5) == whole


class TestARecord:
    @settings(max_examples=100)
    @given(rows=ROWS, delimiter=st.sampled_from(",;\t"), step=st.integers(1, 40))
    def test_comes_back_as_it_was_written(self, rows: list[list[str]], delimiter: str, step: int) -> None:
        text = "".join(csv_line(row, delimiter) for row in rows)
        assert [record.cells for record in records(text, delimiter, step)] == filled(rows)

    def test_says_the_line_on_which_it_ends(self) -> None:
        found = records('a,b\r\n\r\n"two\r\nlines",c\r\nd,e')
        assert [record.line for record in found] == [1, 4, 5]

    @settings(max_examples=60)
    @given(rows=ROWS)
    def test_can_be_read_from_where_another_ended(self, rows: list[list[str]]) -> None:
        text = "".join(map(csv_line, rows)).encode()
        whole = records(text.decode())
        reader = CsvReader(",")
        reader.feed(text)
        reader.end()
        for at in range(len(whole)):
            rest = CsvReader(",", line=reader.line, position=reader.position)
            rest.feed(text[reader.position :])
            rest.end()
            assert list(iter(rest.read, None)) == whole[at:]
            reader.read()

    def test_that_is_broken_spoils_nothing_but_itself(self) -> None:
        found = records('a,"b"c\nd,"never closed\ne,f\n' + "g,h\n" * 60)
        assert [(record.line, record.broken) for record in found[:4]] == [(1, True), (2, True), (3, False), (4, False)]
        assert found[1].cells == ['d,"never closed']
        assert len(found) == 63

    def test_keeps_what_a_spreadsheet_would_run_from_running(self) -> None:
        line = csv_line(["=1+1", "+8613800138000", "'=x", "it's"])
        assert line.startswith("'=1+1,'+8613800138000,''=x,it's")
        assert records(line)[0].cells == ["=1+1", "+8613800138000", "'=x", "it's"]

    def test_is_no_longer_than_a_table_s(self) -> None:
        with pytest.raises(SheetUnreadable):
            CsvReader(",").feed(b"a" * (LONGEST_LINE + 1))

    def test_ends_where_an_old_apple_ended_it(self) -> None:
        assert [record.cells for record in records("a,b\rc,d\r")] == [["a", "b"], ["c", "d"]]


class TestTheDelimiter:
    @pytest.mark.parametrize(
        ("text", "delimiter"),
        [
            ("a,b\n1;2;3;4,5", ","),
            ("a;b\n", ";"),
            ("a\tb\n", "\t"),
            ("a", ","),
            ("sep=;\na,b;c", ";"),
            ('"a,b,c";d\n', ";"),
            ("# a, comment, of, ours\n\na;b", ";"),
        ],
    )
    def test_is_the_one_of_the_header(self, text: str, delimiter: str) -> None:
        assert delimiter_of(text) == delimiter

    def test_may_be_said_in_a_line_that_is_no_header(self) -> None:
        assert is_preamble(["sep=", ""])
        assert is_preamble(["# note"])
        assert not is_preamble(["姓名"])
