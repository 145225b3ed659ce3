import base64
import json
from uuid import UUID, uuid4

import pytest
from fastapi import Request, Response
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidRequest
from app.core.pagination import PageParams, decode_cursor, encode_cursor, row_number

printable = st.text().filter(str.isprintable)


def request(query: str) -> Request:
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/things",
        "query_string": query.encode(),
        "headers": [(b"host", b"sentinel.test")],
        "server": ("sentinel.test", 80),
    }
    return Request(scope)


def cursor_of(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class TestACursor:
    @given(st.lists(printable, max_size=4))
    def test_gives_back_the_key_that_it_was_made_of(self, key: list[str]) -> None:
        cursor = encode_cursor(*key)
        assert cursor.isascii()
        assert not set(cursor) & set("+/=&?#% ")
        assert decode_cursor(cursor) == tuple(key)

    @given(st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
    def test_that_somebody_made_up_is_refused_or_read_and_never_a_fault(self, cursor: str) -> None:
        try:
            key = decode_cursor(cursor)
        except InvalidRequest as error:
            refused = [(one.pointer, one.code) for one in error.errors]
        else:
            refused = [("?cursor", "cursor_invalid")]
            assert all(isinstance(part, str) and part.isprintable() for part in key)
        assert refused == [("?cursor", "cursor_invalid")]

    @pytest.mark.parametrize("value", [None, 1, "x", {}, [1], [None], [["x"]], ["\x00"], ["\ud800"], [True]])
    def test_of_anything_but_texts_is_refused(self, value: object) -> None:
        with pytest.raises(InvalidRequest):
            decode_cursor(cursor_of(value))

    def test_of_deep_brackets_or_endless_digits_is_refused(self) -> None:
        for raw in (b"[" * 100_000, b"[" + b"9" * 5000 + b"]"):
            with pytest.raises(InvalidRequest):
                decode_cursor(base64.urlsafe_b64encode(raw).decode())

    @given(st.lists(printable, max_size=3))
    def test_of_another_list_is_refused(self, key: list[str]) -> None:
        asked = PageParams(10, tuple(key), request(""), Response())
        try:
            read = asked.after(UUID)
        except InvalidRequest:
            return
        assert len(key) == 1
        assert read == UUID(key[0])

    def test_of_fewer_parts_than_the_list_sorts_by_is_refused(self) -> None:
        with pytest.raises(InvalidRequest):
            PageParams(10, ("1",), request(""), Response()).after_key(row_number, str)

    def test_is_absent_on_the_first_page(self) -> None:
        asked = PageParams(10, None, request(""), Response())
        assert asked.after(UUID) is None
        assert asked.after_key(row_number, str) is None


class TestARowNumber:
    @given(st.integers(0, 2**63 - 1))
    def test_is_a_bigint(self, number: int) -> None:
        assert row_number(str(number)) == number

    @pytest.mark.parametrize("text", ["-1", str(2**63), "9" * 5000, "", "x", "1.0"])
    def test_is_nothing_else(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".*"):
            row_number(text)


class TestPages:
    @given(st.integers(0, 30), st.integers(1, 12))
    def test_put_together_are_the_whole_list(self, length: int, limit: int) -> None:
        rows = [uuid4() for _ in range(length)]
        seen: list[UUID] = []
        cursor = None
        for _ in range(length + 2):
            response = Response()
            place = None if cursor is None else decode_cursor(cursor)
            asked = PageParams(limit, place, request(f"limit={limit}&division=4403"), response)
            after = asked.after(UUID)
            start = 0 if after is None else rows.index(after) + 1
            shown, cursor = asked.cut(rows[start : start + asked.wanted], lambda row: (row,))
            seen += shown
            assert ("link" in response.headers) == (cursor is not None)
            if cursor is None:
                break
            assert response.headers["link"] == (f'</v1/things?limit={limit}&division=4403&cursor={cursor}>; rel="next"')
        assert seen == rows
