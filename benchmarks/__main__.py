"""All benchmarks, one after the other: `./run bench`, or those that are named: `./run bench ingest`. One that is named alone may be
given options: `./run bench matching --help`.

Each prints its ratios as a table and what is asked of them; the status is 1 if one falls short.
"""

import sys
from collections.abc import Callable, Mapping

import click

from benchmarks import ingest, jobs, matching, storm

ALL: Mapping[str, Callable[[], int]] = {
    "ingest": ingest.main,
    "jobs": jobs.main,
    "matching": matching.main,
    "storm": storm.main,
}


def main(names: list[str]) -> int:
    """Run the benchmarks of these names, or all; return the worst status."""
    if names[:1] == ["matching"] and len(names) > 1 and names[1].startswith("-"):
        return matching.main(names[1:])
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
