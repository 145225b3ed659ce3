"""Whatever a POS writes is read, or told of; never lost in silence, never turned into something else. Everybody is synthetic."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.till.reading import MAX_ROW, Numbering, Row, Unread, encoded, encoding_of, read

NAME = "合成顾客"


def rows_of(path: Path, content: bytes, name: str) -> list[Row | Unread]:
    path.write_bytes(content)
    return list(read(path, name))


def bodies(found: list[Row | Unread]) -> list[dict[str, Any]]:
    assert all(isinstance(entry, Row) for entry in found), found
    return [entry.body for entry in found if isinstance(entry, Row)]


def codes(found: list[Row | Unread]) -> list[tuple[int, str]]:
    return [(entry.line, entry.code if isinstance(entry, Unread) else "") for entry in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


class TestJsonLines:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
    def test_are_read_in_each_encoding_and_with_each_end(self, path: Path, encoding: str, end: str) -> None:
        text = end.join(json.dumps({"name": NAME, "number": number}, ensure_ascii=False) for number in range(3))
        assert bodies(rows_of(path, text.encode(encoding), "a.jsonl")) == [
            {"name": NAME, "number": number} for number in range(3)
        ]

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b"{bad", "malformed_json"),
            (b"[1, 2]", "not_an_object"),
            (b"null", "not_an_object"),
            (b'"text"', "not_an_object"),
            (b'{"a": NaN}', "malformed_json"),
            (b'{"a": 1' + b"0" * 5000 + b"}", "malformed_json"),
            (b"[" * 100_000, "malformed_json"),
            (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "malformed_json"),
            (b"\0" * 100, "malformed_json"),
            (b'{"name": "' + "合成".encode() + b'\xff"}', "not_text"),
            (b'{"name": "' + b"x" * MAX_ROW + b'"}', "row_too_large"),
            (b'{"_line": "{bad"}', "malformed_json"),
        ],
    )
    def test_that_are_none_are_told_and_the_others_read(self, path: Path, line: bytes, code: str) -> None:
        good = json.dumps({"name": NAME}, ensure_ascii=False).encode()
        found = rows_of(path, b"\n".join([good, line, good, b""]), "a.jsonl")
        assert codes(found) == [(1, ""), (2, code), (3, "")]
        assert [entry.body["name"] for entry in found if isinstance(entry, Row)] == [NAME, NAME]

    def test_in_utf_8_with_a_broken_line_are_not_taken_for_gb18030(self, path: Path) -> None:
        lines = [json.dumps({"name": NAME}, ensure_ascii=False).encode() for _ in range(3)]
        broken = json.dumps({"name": NAME}, ensure_ascii=False).encode("gb18030")
        found = rows_of(path, b"\n".join([*lines, broken]), "a.jsonl")
        assert [entry.body["name"] for entry in found if isinstance(entry, Row)] == [NAME] * 3
        assert codes(found)[-1] == (4, "not_text")

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"\r\n"])
    def test_may_be_none(self, path: Path, content: bytes) -> None:
        assert rows_of(path, content, "a.jsonl") == []

    def test_hide_what_they_hold_from_a_traceback(self, path: Path) -> None:
        found = rows_of(path, f'{{"name": "{NAME}"}}\n{{"name": "{NAME}'.encode(), "a.jsonl")
        assert NAME not in repr(found)

    @given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
    @settings(max_examples=200)
    def test_and_tables_of_any_bytes_are_read_to_their_end(self, tmp_path_factory: Any, content: bytes) -> None:
        path = tmp_path_factory.mktemp("any") / "file"
        header = "purchased_at,购药人姓名,数量\n"
        for name, start in (("a.jsonl", b""), ("a.json", b""), ("a.csv", header.encode()), ("a.csv", b"")):
            for entry in rows_of(path, start + content, name):
                if isinstance(entry, Row):
                    line = encoded(entry.body)
                    assert b"\n" not in line
                    line.decode("utf-8")


class TestAJsonFile:
    def test_holds_one_row_or_many(self, path: Path) -> None:
        assert bodies(rows_of(path, b'{"a": 1}', "a.json")) == [{"a": 1}]
        assert bodies(rows_of(path, b'\xef\xbb\xbf[{"a": 1},\n {"a": 2}]\n', "a.json")) == [{"a": 1}, {"a": 2}]

    def test_with_a_row_that_is_none_is_told_by_its_number(self, path: Path) -> None:
        assert codes(rows_of(path, b'[{"a": 1}, 7, {"a": 2}]', "a.json")) == [(1, ""), (2, "not_an_object"), (3, "")]

    def test_that_is_none_is_told_as_a_whole(self, path: Path) -> None:
        assert codes(rows_of(path, b'[{"a": 1}', "a.json")) == [(0, "malformed_json")]


class TestAnEncoding:
    @given(st.text(min_size=1, max_size=300))
    @settings(max_examples=100)
    def test_of_utf_8_is_never_taken_for_another(self, tmp_path_factory: Any, text: str) -> None:
        path = tmp_path_factory.mktemp("encoding") / "file"
        path.write_bytes(text.encode("utf-8", "replace"))
        assert encoding_of(path) == "utf-8-sig"


class TestAReference:
    def test_of_its_own_is_kept(self) -> None:
        assert Numbering(b"secret").reference({"client_reference": "POS-1"}) == "POS-1"

    def test_does_not_depend_on_the_order_of_members(self) -> None:
        one = Numbering(b"secret").reference({"a": 1, "b": 2})
        assert Numbering(b"secret").reference({"b": 2, "client_reference": "", "a": 1}) == one

    @given(st.lists(st.integers(0, 3), max_size=20))
    def test_is_another_for_each_row_and_the_same_each_time(self, rows: list[int]) -> None:
        def references() -> list[str]:
            numbering = Numbering(b"secret")
            return [numbering.reference({"quantity": number}) for number in rows]

        assert references() == references()
        assert len(set(references())) == len(rows)
