"""When a pharmacy that usually reports has stopped: judged by its own rhythm, day of the week by day of the week."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import pairwise

HISTORY_DAYS = 56
"""Eight of each day of the week (choice): long enough to tell Sundays, short enough to follow the seasons."""
FEWEST_DAYS = 21
"""With less than three weeks between the first report and the last there is no rhythm to judge by (choice)."""
OVERDUE = 1.5
"""Expected reports that may fail to come: the second one never waits for a third (choice)."""
MARGIN = 1.5
"""How much longer a silence must be than the longest that was none (choice)."""
WAITED_DAYS = 14
"""Whole days of duty on which nothing came from a pharmacy that has never reported (choice)."""
MOST_WAITED_DAYS = 400
"""How far back the beginning of such a time is looked for."""
_DAY = timedelta(days=1)


class SilenceEnd(StrEnum):
    """What ended a silence."""

    REPORTED = "reported"
    CLOSED = "closed"
    """The pharmacy was closed for good."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a pharmacy usually reports.

    `shares` has, for each day of the week from Monday on, the share of such days on which anything came; `longest` is the longest
    gap between two reports, in reports that were expected meanwhile.
    """

    shares: tuple[float, ...]
    longest: float

    def expected(self, first: date, end: date) -> float:
        """Return how many days with a report are expected from `first` until the day before `end`."""
        return sum(self.shares[(first + _DAY * off).weekday()] for off in range((end - first).days))

    @property
    def limit(self) -> float:
        """Expected reports without one, from which on a silence is no chance."""
        return max(OVERDUE, MARGIN * self.longest)


def rhythm_of(reported: Collection[date]) -> Rhythm | None:
    """Return the rhythm of the days on which a pharmacy reported, up to its last report; None if that is too little.

    It ends with the last report, so a silence does not become the new habit while it lasts.
    """
    if not reported:
        return None
    last = max(reported)
    days = sorted(day for day in reported if day > last - _DAY * HISTORY_DAYS)
    first = days[0] if days[0] == min(reported) else last - _DAY * (HISTORY_DAYS - 1)
    if (last - first).days < FEWEST_DAYS:
        return None
    seen, came = [0] * 7, [0] * 7
    for off in range((last - first).days + 1):
        seen[(first + _DAY * off).weekday()] += 1
    for day in days:
        came[day.weekday()] += 1
    shares = Rhythm(tuple(part / whole for part, whole in zip(came, seen, strict=True)), 0.0)
    gaps = (shares.expected(one + _DAY, other) for one, other in pairwise(days))
    return Rhythm(shares.shares, max(gaps, default=0.0))


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence: the last day with a report, how many reports were expected since, and how many may be."""

    last_on: date
    expected: float
    limit: float


def find_silence(reported: Collection[date], today: date) -> Silence | None:
    """Return the silence in which a pharmacy is before today, if any; today is not over and proves nothing.

    A pharmacy is silent when one and a half reports that its rhythm expects have not come, and half as much again as in the longest
    gap that its own past knows. One that reports on each day that it is open is so found at the end of the second such day; one that
    comes and goes is given as much time as it has taken before.
    """
    rhythm = rhythm_of(reported)
    if rhythm is None:
        return None
    last = max(reported)
    expected = rhythm.expected(last + _DAY, today)
    if expected < rhythm.limit:
        return None
    return Silence(last, expected, rhythm.limit)


def unbroken_since(holds: Callable[[date], bool], changes: Iterable[date], today: date) -> date | None:
    """Return since when something that holds today has held without a break, as far back as is looked; None if it does not hold.

    It is asked only on days on which it may change: between two of `changes` every day is like the one before.
    """
    if not holds(today):
        return None
    furthest = today - _DAY * MOST_WAITED_DAYS
    for change in sorted((day for day in changes if furthest < day <= today), reverse=True):
        if not holds(change - _DAY):
            return change
    return furthest


def waited_since(first: date, duties: Iterable[date | None], today: date) -> date | None:
    """Return since when a pharmacy of which nothing was ever heard has had to report without a break; None if that is too short.

    `first` is the first whole day on which it could have reported, `duties` say since when each thing without which it need not report has
    held. One free day and the waiting begins anew: who had nothing to register is not blamed for that time, and who need not report today
    for none. Today is not over and proves nothing.
    """
    since = max([first, *(begun or date.max for begun in duties)])
    return since if since <= today - _DAY * WAITED_DAYS else None
