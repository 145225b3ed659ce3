"""Keyset pages: `?limit=&cursor=`, answered with `items`, `next_cursor` and a `Link` header."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request, Response

from app.core.errors import FieldError, InvalidRequest
from app.core.schemas import Out

T = TypeVar("T")
Item = TypeVar("Item")

MAX_LIMIT = 500


class Page(Out, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageParams:
    """How many rows, and behind which row. `after` holds the sort key of the last row of the page before."""

    limit: int
    after: tuple[str, ...] | None

    def after_key(self, *readers: Callable[[str], object]) -> tuple[object, ...] | None:
        """Return the sort key, each part read by its reader; None on the first page.

        Raises:
            InvalidRequest: the cursor was not made by this list.
        """
        if self.after is None:
            return None
        if len(self.after) != len(readers):
            raise _bad_cursor()
        try:
            return tuple(read(part) for read, part in zip(readers, self.after, strict=True))
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
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows on a page")] = 100,
    cursor: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before")] = None,
) -> PageParams:
    """Read `?limit=&cursor=`."""
    return PageParams(limit, decode_cursor(cursor) if cursor is not None else None)


Paging = Annotated[PageParams, Depends(page_params)]


def page_of(
    rows: Sequence[Item],
    params: PageParams,
    key: Callable[[Item], tuple[object, ...]],
    request: Request,
    response: Response,
) -> tuple[Sequence[Item], str | None]:
    """Cut one row more than `params.limit` down to a page; return the rows and the cursor of the next page.

    Queries fetch `limit + 1` rows: the extra one says whether there is a next page. The `Link` header (RFC 8288) is set
    on the response.
    """
    if len(rows) <= params.limit:
        return rows, None
    rows = rows[: params.limit]
    cursor = encode_cursor(*key(rows[-1]))
    next_url = request.url.include_query_params(cursor=cursor).replace(scheme="", netloc="")
    response.headers["Link"] = f'<{next_url}>; rel="next"'
    return rows, cursor
