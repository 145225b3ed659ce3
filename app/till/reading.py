"""What files hold: purchases as JSON lines or JSON, and what of them cannot be read. Tables are in `tables.py`.

The till reads form only – lines, text, objects. Whether a purchase is right is for the service to say, which says it of each row.
"""

import codecs
import hashlib
import hmac
import json
from base64 import b32encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.till.folder import LINES
from app.till.tables import read_table

MAX_ROW = 256 * 1024
"""Characters of one row; the service takes no larger purchase either."""
MAX_JSON_BYTES = 32 * 1024 * 1024
_MOST_SHOWN = 16 * 1024
_PIECE = 1024 * 1024

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """A purchase as it will be sent; the line on which it stands (in a JSON array: which one it is)."""

    line: int
    body: Body


@dataclass(frozen=True, slots=True, repr=False)
class Unread:
    """Something that is no row: why, and its text if that is short enough to be corrected in place."""

    line: int
    code: str
    detail: str
    text: str | None = None


def read(path: Path, name: str) -> Iterator[Row | Unread]:
    """Yield what stands in a file, line by line; `name` says of which kind it is.

    Raises:
        OSError: the file cannot be read.
    """
    suffix = Path(name).suffix.lower()
    encoding = encoding_of(path)
    if suffix in LINES:
        yield from _lines(path, encoding)
    elif suffix == ".json":
        yield from _whole(path, encoding)
    else:
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
            for found in read_table(file):
                if found.body is None:
                    yield Unread(found.line, found.code, found.detail)
                else:
                    yield _row(found.line, found.body, "")


def encoding_of(path: Path) -> str:
    """Return in which encoding a file is written: UTF-16 with a mark, UTF-8 or GB18030.

    A file in UTF-8 with a broken line stays one: read as GB18030 all its names would turn into others.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and _decodes(file, "utf-16"):
            return "utf-16"
        file.seek(0)
        if _decodes(file, "utf-8"):
            return "utf-8-sig"
        file.seek(0)
        pieces = iter(lambda: file.readline(_PIECE), b"")
        lines = Counter(_is_utf_8(piece) for piece in pieces if not piece.isascii())
        file.seek(0)
        if lines[False] >= lines[True] and _decodes(file, "gb18030"):
            return "gb18030"
    return "utf-8-sig"


class Numbering:
    """Gives purchases a reference that the POS has not numbered: the same whenever the same file is read.

    From the row's content and how many equal ones stand before it in the file; not from the file's name or the line, so that a
    longer export of the same day numbers the old rows as before. Keyed, because a bare hash of an identity can be looked up.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._mark = hashlib.sha256(b"till/" + secret).hexdigest()[:6]
        self._seen: Counter[bytes] = Counter()

    def reference(self, body: Body) -> str:
        """Return the purchase's own reference, or else one for it."""
        given = body.get("client_reference")
        if given not in (None, ""):
            return str(given)
        content = json.dumps({**body, "client_reference": None}, sort_keys=True, separators=(",", ":")).encode()
        digest = hmac.digest(self._secret, content, "sha256")[:16]
        self._seen[digest] += 1
        numbered = hmac.digest(self._secret, b"%b/%d" % (digest, self._seen[digest]), "sha256")[:16]
        return f"till-{self._mark}-{b32encode(numbered).decode().rstrip('=').lower()}"


def encoded(body: Body) -> bytes:
    """Return a body as one line of JSON in UTF-8; a lone surrogate stays an escape, which the service refuses."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def _lines(path: Path, encoding: str) -> Iterator[Row | Unread]:
    with path.open(encoding=encoding, errors="surrogateescape") as file:
        number = 0
        while line := file.readline(MAX_ROW + 1):
            number += 1
            if len(line) > MAX_ROW:
                while line and not line.endswith("\n"):
                    line = file.readline(MAX_ROW)
                yield Unread(number, "row_too_large", f"A row has at most {MAX_ROW} characters")
            elif line.strip("\ufeff \t\r\n"):
                yield _parsed(number, line.lstrip("\ufeff").rstrip("\r\n"))


def _whole(path: Path, encoding: str) -> Iterator[Row | Unread]:
    if path.stat().st_size > MAX_JSON_BYTES:
        yield Unread(0, "file_too_large", f"A JSON file has at most {MAX_JSON_BYTES} bytes; JSON lines may have more")
        return
    with path.open(encoding=encoding, errors="surrogateescape") as file:
        text = file.read().lstrip("\ufeff")
    if not text.strip():
        return
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        yield Unread(0, "malformed_json", "The file is not JSON")
        return
    for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
        yield _row(number, row, "")


def _parsed(number: int, text: str) -> Row | Unread:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Unread(number, "malformed_json", "The line is not JSON", _short(text))
    return _row(number, value, text)


def _row(number: int, value: Any, text: str) -> Row | Unread:
    if not isinstance(value, dict):
        return Unread(number, "not_an_object", "A row is a JSON object", _short(text))
    line = value.get("_line")
    if isinstance(line, str):  # from a list of refused rows: the line that could not be read, now corrected
        return _parsed(number, line)
    body = {member: given for member, given in value.items() if member != "_refused"}
    try:
        if _is_escaped(json.dumps(body, ensure_ascii=False)):
            return Unread(number, "not_text", "The row is text neither in UTF-8 nor in GB18030")
    except RecursionError:
        return Unread(number, "malformed_json", "The row is nested too deeply")
    return Row(number, body)


def _is_escaped(text: str) -> bool:
    """Say whether bytes of no known encoding hide in a text (surrogateescape)."""
    return any("\udc80" <= character <= "\udcff" for character in text) if not text.isascii() else False


def _short(text: str) -> str | None:
    return text if 0 < len(text) <= _MOST_SHOWN and not _is_escaped(text) else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _decodes(file: Any, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while piece := file.read(_PIECE):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf_8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
