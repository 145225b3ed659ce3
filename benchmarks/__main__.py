"""All benchmarks, one after the other: `./run bench`, or those that are named: `./run bench ingest`.

Each prints its ratios as a table and what is asked of them; the status is 1 if one falls short.
"""

import sys
from collections.abc import Callable, Mapping

import click

from benchmarks import ingest, jobs, storm

ALL: Mapping[str, Callable[[], int]] = {"ingest": ingest.main, "jobs": jobs.main, "storm": storm.main}


def main(names: list[str]) -> int:
    """Run the benchmarks of these names, or all; return the worst status."""
    unknown = set(names) - set(ALL)
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(ALL)}.")
    worst = 0
    for name in names or ALL:
        click.echo(f"── {name}")
        worst = max(worst, ALL[name]())
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
