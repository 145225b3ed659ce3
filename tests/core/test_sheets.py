import pytest

from app.core.sheets import Row, SheetUnreadable, read_sheet


def read(*lines: str) -> list[Row]:
    return list(read_sheet(lines, ("code", "name"), ("note",)))


class TestASheet:
    def test_is_read_by_its_header_whatever_the_order(self) -> None:
        rows = read("\ufeffName , CODE", "深圳市, 4403")
        assert (rows[0].line, rows[0]["code"], rows[0]["name"], rows[0]["note"]) == (2, "4403", "深圳市", "")

    def test_counts_lines_as_an_editor_does(self) -> None:
        rows = read("# a comment, with a comma", "code,name", "", "1,a", '2,"two\n', 'lines"', "3,c")
        assert [row.line for row in rows] == [4, 6, 7]

    def test_places_a_complaint(self) -> None:
        error = read("code,name", "1,a")[0].error("name", "name_invalid", "No")
        assert (error.line, error.column, error.code) == (2, "name", "name_invalid")

    @pytest.mark.parametrize(
        "lines",
        [
            (),
            ("# only a comment",),
            ("code", "1"),
            ("code,name,colour", "1,a,b"),
            ("code,name,name", "1,a,b"),
            ("code,name", "1,a,b"),
            ("code,name", "1,a\0"),
            ("code,name", f"1,{'a' * 4001}"),
            ("code,name", '1,"a'),
            ("code,name", '1,"a"b'),
        ],
    )
    def test_that_is_no_such_table_is_refused(self, lines: tuple[str, ...]) -> None:
        with pytest.raises(SheetUnreadable):
            read(*lines)
