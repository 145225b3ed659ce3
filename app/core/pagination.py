"""Keyset pages: `?limit=&cursor=`, answered with `items`, `next_cursor` and a `Link` header."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar, overload

from fastapi import Depends, Query, Request, Response

from app.core.errors import FieldError, InvalidRequest
from app.core.schemas import Out

T = TypeVar("T")
Item = TypeVar("Item")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

MAX_LIMIT = 500


class Page(Out, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageParams:
    """Which page of a list is asked for, and how the answer says where the next one begins.

    A list is in the order of a sort key. `place` holds the key of the last row of the page before, each part as text.
    """

    limit: int
    place: tuple[str, ...] | None
    request: Request
    response: Response

    @property
    def wanted(self) -> int:
        """How many rows to look up: one more than the page shows, which says whether there is a next page."""
        return self.limit + 1

    def after(self, read: Callable[[str], T]) -> T | None:
        """Return the sort key of the last row of the page before, where it has one part; None on the first page.

        Raises:
            InvalidRequest: the cursor was not made by this list.
        """
        key = self._read(read)
        return None if key is None else key[0]

    @overload
    def after_key(self, a: Callable[[str], A], b: Callable[[str], B], /) -> tuple[A, B] | None: ...
    @overload
    def after_key(
        self, a: Callable[[str], A], b: Callable[[str], B], c: Callable[[str], C], /
    ) -> tuple[A, B, C] | None: ...
    @overload
    def after_key(
        self, a: Callable[[str], A], b: Callable[[str], B], c: Callable[[str], C], d: Callable[[str], D], /
    ) -> tuple[A, B, C, D] | None: ...
    def after_key(self, *readers: Callable[[str], Any]) -> tuple[Any, ...] | None:
        """Return the same, where the sort key has several parts, each read by its reader.

        Raises:
            InvalidRequest: the cursor was not made by this list.
        """
        return self._read(*readers)

    def cut(self, rows: Sequence[Item], key: Callable[[Item], tuple[object, ...]]) -> tuple[list[Item], str | None]:
        """Return what the page shows of the rows that were looked up, and the cursor of the next page.

        Sets the `Link` header (RFC 8288) where there is a next page.
        """
        if len(rows) <= self.limit:
            return list(rows), None
        shown = list(rows[: self.limit])
        cursor = encode_cursor(*key(shown[-1]))
        next_url = self.request.url.include_query_params(cursor=cursor).replace(scheme="", netloc="")
        self.response.headers["Link"] = f'<{next_url}>; rel="next"'
        return shown, cursor

    def _read(self, *readers: Callable[[str], Any]) -> tuple[Any, ...] | None:
        if self.place is None:
            return None
        if len(self.place) != len(readers):
            raise _bad_cursor()
        try:
            return tuple(read(part) for read, part in zip(readers, self.place, strict=True))
        except (ValueError, OverflowError) as error:
            raise _bad_cursor() from error


def row_number(text: str) -> int:
    """Read a part of a sort key that is a bigint.

    Raises:
        ValueError: it is none.
    """
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError("not a bigint")
    return number


def instant(text: str) -> datetime:
    """Read a part of a sort key that is a time.

    Raises:
        ValueError: it is none that a list of ours could hold: without an offset, or not between 1900 and 2200.
    """
    read = datetime.fromisoformat(text)
    if read.tzinfo is None or not 1900 <= read.year <= 2200:
        raise ValueError("not an instant")
    return read


def encode_cursor(*key: object) -> str:
    """Return an opaque cursor for a row's sort key (each part as text)."""
    return base64.urlsafe_b64encode(json.dumps([str(part) for part in key]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[str, ...]:
    """Return the sort key in a cursor.

    Raises:
        InvalidRequest: with code `cursor_invalid`.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _bad_cursor() from error
    if not isinstance(key, list) or not all(isinstance(part, str) and part.isprintable() for part in key):
        raise _bad_cursor()
    return tuple(key)


def _bad_cursor() -> InvalidRequest:
    return InvalidRequest(
        errors=[FieldError("?cursor", "cursor_invalid", "Take the cursor from next_cursor of the page before")]
    )


async def page_params(
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows on a page")] = 100,
    cursor: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before")] = None,
) -> PageParams:
    """Read `?limit=&cursor=`."""
    return PageParams(limit, decode_cursor(cursor) if cursor is not None else None, request, response)


Paging = Annotated[PageParams, Depends(page_params)]
