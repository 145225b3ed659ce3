"""The demo's API and worker: the service itself, with a clock that the driver sets.

`python -m app.demo.play.processes api CLOCK PORT` and `… worker CLOCK`. The clock is handed over as an argument by this
module alone; the command line of the service has no way to name one.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from app import serving
from app.core.log import configure
from app.core.processes import follow_parent
from app.core.runner import Pace
from app.core.settings import load_settings
from app.demo.play.clock import DemoClock

HOST = "127.0.0.1"

# Workers of the demo may be killed while somebody watches: their work is taken over within seconds, not half a minute.
PACE = Pace(lease_seconds=3.0, heartbeat_seconds=0.5, poll_seconds=0.25, grace_seconds=5.0)


def command(*words: str) -> list[str]:
    """Return the command line of one of the processes."""
    return [sys.executable, "-m", "app.demo.play.processes", *words]


def environment(folder: Path) -> Mapping[str, str]:
    """Return the environment in which they run: an embedded database in `folder`, whatever the caller's names.

    Deliveries to the loopback are allowed, because the demo's own subscriber listens there.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("SENTINEL_")}
    return {
        **own,
        "SENTINEL_DATA_DIR": str(folder.absolute()),
        "SENTINEL_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "SENTINEL_LOG_LEVEL": "INFO",
    }


def main(words: list[str]) -> None:
    """Be the API or the worker until SIGTERM, or until the driver is gone."""
    follow_parent()
    what, path, *rest = words
    clock = DemoClock(Path(path))
    if what == "api":
        serving.listen(partial(serving.create, clock), host=HOST, port=int(rest[0]))
    else:
        settings = load_settings()
        configure(settings.log_level)
        asyncio.run(serving.work(settings, clock, PACE))


if __name__ == "__main__":
    main(sys.argv[1:])
