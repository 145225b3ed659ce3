"""Stories told once and read by many tests."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

from app.demo.script import Action, Row, SendRegistrations, UploadCases
from app.demo.story import Plan, plan

END = datetime(2026, 11, 23, 9, 41, tzinfo=UTC)
SEEDS = range(1, 6)
MONTH_CHANGES = datetime(2026, 3, 1, 16, 5, tzinfo=UTC)
YEAR_CHANGES = datetime(2027, 1, 11, 23, 0, tzinfo=UTC)
VARIETY = [
    *((seed, 1.0, END) for seed in SEEDS),
    *((seed, 0.1, MONTH_CHANGES) for seed in range(6, 12)),
    *((seed, 0.5, YEAR_CHANGES) for seed in range(12, 18)),
    (18, 2.0, MONTH_CHANGES),
]
"""Seeds, scales and ends of stories in which nothing may come close to a threshold."""


@cache
def told(seed: int = 1, scale: float = 1.0, end: datetime = END) -> Plan:
    return plan(scale, seed, end)


def actions_of(story: Plan) -> list[Action]:
    return [action for hour in story.hours for action in hour.actions]


def registration_rows(story: Plan) -> Iterator[tuple[datetime, Row]]:
    for hour in story.hours:
        for action in hour.actions:
            if isinstance(action, SendRegistrations):
                yield from ((hour.at, row) for row in action.rows)


def case_rows(story: Plan) -> Iterator[tuple[datetime, Row]]:
    for hour in story.hours:
        for action in hour.actions:
            if isinstance(action, UploadCases):
                yield from ((hour.at, row) for row in action.rows)
