"""The background worker: what is done after an answer has been given.

`handlers` is the one list of who works on which kind of job and what comes round by the clock; `run_worker` works until
the process is told to stop. Any number of workers may run, beside the API or alone.
"""

import asyncio
import signal
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import jobs as audit
from app.capture import jobs as capture
from app.cases.imports import CaseImporter
from app.catalogue import jobs as catalogue
from app.core.clock import Clock
from app.core.database import Database
from app.core.handlers import Job, Registry
from app.core.idempotency import EXPIRED, PURGE_SECONDS, purge
from app.core.runner import Pace, Runner
from app.core.sealing import Keyring
from app.flow import Flow
from app.imports import jobs as imports
from app.imports.importers import Importers
from app.registrations import jobs as trials
from app.registrations.imports import RegistrationImporter
from app.webhooks import jobs as deliveries
from app.webhooks.sender import Sender

CONNECTIONS = 20
"""Connections that one worker may have: a transaction for each loop, the look-out, the heartbeat, the listener, and some to spare."""


def handlers(keyring: Keyring, sender: Sender) -> Registry:
    """Return every handler and schedule of the service."""
    registry = Registry()
    Flow(keyring).register(registry)
    audit.register(registry, keyring=keyring)
    deliveries.register(registry, keyring=keyring, sender=sender)
    importers = Importers(RegistrationImporter(keyring), CaseImporter(keyring))
    imports.register(registry, keyring=keyring, importers=importers)
    catalogue.register(registry)
    trials.register(registry)
    capture.register(registry, keyring=keyring)

    async def forget_keys(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
        await purge(session, now=now)

    registry.transactional(EXPIRED, forget_keys)
    registry.every(PURGE_SECONDS, "forget-idempotency-keys", EXPIRED)
    return registry


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
