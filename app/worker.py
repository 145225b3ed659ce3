"""The background worker: what is done after an answer has been given.

`handlers` is the one list of who works on which kind of job and what comes round by the clock; `run_worker` works until
the process is told to stop. Any number of workers may run, beside the API or alone.
"""

import asyncio
import signal

from app.core.clock import Clock
from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Pace, Runner

CONNECTIONS = 16
"""Connections that one worker needs at most: a transaction for each loop, the look-out, the heartbeat, the listener."""


def handlers() -> Registry:
    """Return every handler and schedule of the service; each chapter's line stands here."""
    return Registry()


async def run_worker(
    database: Database,
    registry: Registry,
    *,
    clock: Clock,
    pace: Pace | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Work until `stop` is set or, without one, until SIGTERM or SIGINT; then finish what is in hand.

    `clock` gives the `now` of the handlers. Leases, delays and the schedule go by the database's clock whatever it
    says. A second signal ends the process at once: its leases run out and another worker repeats the work.
    """
    runner = Runner(database, registry, clock=clock, pace=pace)
    if stop is None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def first_signal() -> None:
            stop.set()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, first_signal)
    running = asyncio.create_task(runner.run())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        runner.stop()
        await running
    finally:
        stopped.cancel()
        running.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)
