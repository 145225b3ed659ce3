"""What time it is, and what day it is in China.

Only the edges (a route, the worker's loop, the command line) read a clock; everything below them is handed `now`.
"""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

_AHEAD = timedelta(hours=8)
CHINA = timezone(_AHEAD, "Asia/Shanghai")
"""China keeps one zone without daylight saving (since 1992), so a fixed offset is exact for every purchase."""


class Clock(Protocol):
    """Business time: when a registration was received, when a case was uploaded."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...


class SystemClock:
    """The clock of every real service."""

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC)


def china_day(instant: datetime) -> date:
    """Return the calendar day in China on which an aware instant falls."""
    return (instant.astimezone(UTC) + _AHEAD).date()  # a third of what it takes to go to the zone of China


def day_start(day: date) -> datetime:
    """Return the instant at which a calendar day in China begins."""
    return datetime(day.year, day.month, day.day, tzinfo=CHINA)
