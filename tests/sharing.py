"""How many processes share the tests: one for each processor where all are run, none beside our own for some of them."""

import os
from pathlib import Path

import pytest

MOST = 8
"""Each has a database server and reads all tests before the first is run, so more gain nothing."""

LONGEST = "test_openapi_fuzz.py"
"""A file is run by one process, and nobody should wait for the last one: the longest of all comes first."""

SHARE_OF_GROUP = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use of the processors that it sees: microseconds in each period, or `max`."""


def processes(config: pytest.Config) -> int:
    """Return how many processes `-n auto` stands for; 0: the tests are run in our own."""
    is_all = config.args_source is not pytest.Config.ArgsSource.ARGS
    is_all = is_all and not config.option.keyword and not config.option.markexpr
    found = min(MOST, processors(SHARE_OF_GROUP))
    return found if is_all and found > 1 else 0


def processors(share: Path) -> int:
    """Return how many processors we may use.

    Args:
        share: the file that tells a container's share of them, if there is one.
    """
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # known on Linux only
        found = os.cpu_count() or 1
    try:
        quota, period = map(int, share.read_text().split())
    except (OSError, ValueError):  # no such file, or `max`
        return found
    return max(1, min(found, round(quota / period)))
