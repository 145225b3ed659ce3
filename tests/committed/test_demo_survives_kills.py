"""The demo under fire: the API, the worker and the database are killed in the middle of its traffic.

No acknowledged registration and no alert may be lost, and nothing may be there twice: the demo itself compares every
figure with the truth.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.playing import Demo, kill

BLOWS = {
    4: ("api",),
    6: ("worker",),
    8: ("postgres",),
    11: ("worker", "postgres"),
    14: ("api",),
    16: ("postgres", "api", "worker"),
    19: ("worker",),
}
"""Who is killed on which day of the story."""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    played = Demo(tmp_path, "--once", "--scale", "0.15", "--seed", "2")
    yield played
    played.end()


def strike(demo: Demo, who: str) -> int:
    """Kill, and return how many processes that were."""
    found = demo.postgres() if who == "postgres" else demo.children(who)
    kill(found)
    return len(found)


class TestTheDemo:
    def test_agrees_whatever_is_killed_meanwhile(self, demo: Demo) -> None:
        struck: list[tuple[int, str]] = []
        for line in demo.progress():
            if " day " not in line:
                continue
            day = int(line.split(" day ")[1].split("/")[0])
            time.sleep(0.05)  # the day's first requests are on their way
            struck += [(day, who) for who in BLOWS.get(day, ()) if strike(demo, who)]
        figures = demo.report()
        assert figures["differences"] == []
        assert demo.process.wait(30) == 0
        assert struck == [(day, who) for day, those in BLOWS.items() for who in those]
        assert figures["performance"]["restarts"] == {"api": 3, "worker": 4}
        assert figures["performance"]["sent_again"] > 0
