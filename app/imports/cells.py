"""One cell of a table, read as what it stands for: text, a number that is a name, a time, one of several words."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from app.core.clock import CHINA

_LOST_DIGITS = re.compile(r"\d(\.\d+)?E\+?\d{1,3}", re.IGNORECASE)
_WHOLE = re.compile(r"(\d+)\.0+")
SEPARATORS = re.compile(r"[、;,|/\s]+")
_TIME = re.compile(
    r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?"
    r"(?:\s*T?\s*(上午|下午)?\s*(\d{1,2})\s*[:时点]\s*(\d{1,2})?\s*分?(?::?\s*(\d{1,2})(?:\.\d+)?\s*秒?)?)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)


class CellWrong(Exception):
    """A cell does not say what its column asks for. `code` and `detail` say why, and never repeat it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


Read = Callable[[str], Any]


def plain(text: str) -> str:
    """Return text as it stands; for names and addresses, which their own rules normalise."""
    if text.startswith("="):
        raise CellWrong("formula", "The cell holds a formula; paste it as a value")
    return text


def code(text: str) -> str:
    """Return a number that is a name – of a document, a phone, a product – in half width.

    Raises:
        CellWrong: a spreadsheet has made a number of it, and digits are lost.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).strip()
    elif text.isdecimal():  # what nearly every such cell holds
        return text
    if _LOST_DIGITS.fullmatch(text):
        raise CellWrong(
            "cell_must_be_text", "A spreadsheet turned this into a number; format the cell as text and type it again"
        )
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else plain(text)


def codes(text: str) -> list[str]:
    """Return several such numbers, separated by 、 ; , | or spaces."""
    return [code(part) for part in SEPARATORS.split(unicodedata.normalize("NFKC", text)) if part]


def instant(text: str) -> datetime:
    """Return a time; without an offset it is China's.

    >>> instant("2026/2/15 9:41").isoformat()
    '2026-02-15T09:41:00+08:00'
    """
    found = _TIME.fullmatch(text if text.isascii() else unicodedata.normalize("NFKC", text).strip())
    if found is None:
        raise CellWrong("time_format", "A time is written as 2026-02-15 09:41")
    year, month, day, half, hour, minute, second, offset = found.groups()
    if hour is None:
        raise CellWrong("time_missing", "The time of day is needed: 2026-02-15 09:41")
    hours = int(hour) + (12 if half == "下午" and int(hour) < 12 else 0)
    try:
        zone = CHINA if offset is None else _zone(offset)
        return datetime(int(year), int(month), int(day), hours, int(minute or 0), int(second or 0), tzinfo=zone)
    except ValueError:
        raise CellWrong("time_format", "There is no such time") from None


def day(text: str) -> date:
    """Return a day; of a time, the day in China on which it lies."""
    found = _TIME.fullmatch(text if text.isascii() else unicodedata.normalize("NFKC", text).strip())
    if found is None:
        raise CellWrong("date_format", "A day is written as 2026-02-14")
    if found[5] is not None:
        return instant(text).astimezone(CHINA).date()
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        raise CellWrong("date_format", "There is no such day") from None


@lru_cache(maxsize=100)
def _zone(offset: str) -> timezone:
    if offset in "Zz":
        return UTC
    distance = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
    return timezone(-distance if offset[0] == "-" else distance)


def one_of(words: Mapping[str, str]) -> Read:
    """Return a reader of one of these words."""

    def read(text: str) -> str:
        found = words.get(folded(text))
        if found is None:
            raise CellWrong("value_unknown", "This is none of the values that the column can have")
        return found

    return read


def folded(text: str) -> str:
    """Return a word as words are compared."""
    return unicodedata.normalize("NFKC", text).strip().lower()
