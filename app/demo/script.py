"""The pages of the script: the days of the story as instants, and what may happen in one of its hours.

The driver sets the clock to the start of each hour and carries out its actions in any order, several at a time. Whatever is
planned in an hour is therefore received within its first minutes, and nothing in an hour depends on anything else in it.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from enum import StrEnum
from typing import Any

Json = dict[str, Any]

CHINA = timezone(timedelta(hours=8))
"""The one time zone of the story; China has had no summer time since 1992."""

DAYS = 21
"""Whole days told; the day on which the story ends comes on top."""

OFFICE_HOUR = 6
"""Regimes, standings and rosters change before any pharmacy opens, so that a day has one state from its first purchase."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days of the story, counted from 0, as dates and instants in China."""

    first_day: date
    last_hour: datetime

    @classmethod
    def ending(cls, end: datetime) -> "Calendar":
        """Return the calendar of a story whose last hour is the one that `end` lies in.

        Raises `ValueError` where `end` has no offset.
        """
        if end.tzinfo is None:
            raise ValueError("the end of the story needs an offset")
        last_hour = end.astimezone(CHINA).replace(minute=0, second=0, microsecond=0)
        return cls(last_hour.date() - timedelta(days=DAYS), last_hour)

    def on(self, day: int) -> date:
        """Return the date of a day."""
        return self.first_day + timedelta(days=day)

    def at(self, day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
        """Return an instant of a day."""
        return datetime.combine(self.on(day), time(hour, minute, second), CHINA)

    def day_of(self, instant: datetime) -> int:
        """Return the day in which an instant lies."""
        return (instant.astimezone(CHINA).date() - self.first_day).days


class Door(StrEnum):
    """By which door a till sends."""

    SINGLE = "single"
    BATCH = "batch"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a request and the results that may come back for it.

    More than one result is possible only where the same row is sent twice in one hour: whichever arrives first is `created`.
    """

    body: Json
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendRegistrations:
    """A till sends: each row by itself (`single`), or all in one request."""

    pharmacy: int
    door: Door
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class UploadCases:
    """The health authority uploads a piece of its list."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Reclassify:
    """The health authority changes a case's classification by hand."""

    authority: str
    case_number: str
    body: Json


@dataclass(frozen=True, slots=True)
class SetRegime:
    """An official states what a division requires from a day on."""

    body: Json


@dataclass(frozen=True, slots=True)
class SetStanding:
    """An official suspends a pharmacy, or lifts the suspension."""

    pharmacy: int
    body: Json


@dataclass(frozen=True, slots=True)
class SetRoster:
    """A pharmacy says who works there."""

    pharmacy: int
    body: Json


class Verdict(StrEnum):
    """What an official does with a reward decision."""

    APPROVE = "approve"
    REJECT = "reject"
    PAY = "pay"


@dataclass(frozen=True, slots=True)
class ReviewReward:
    """An official approves or rejects a proposed reward, or another official pays an approved one."""

    authority: str
    case_number: str
    pharmacy: int
    verdict: Verdict
    reason: str


Action = SendRegistrations | UploadCases | Reclassify | SetRegime | SetStanding | SetRoster | ReviewReward


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the story.

    `quiet` says that all background work must have come to rest before the hour's actions: an official can only approve what
    has been worked out, and a case is withdrawn or classified anew after its match was told.
    """

    at: datetime
    quiet: bool
    actions: tuple[Action, ...]
