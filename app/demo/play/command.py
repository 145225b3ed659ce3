"""`sentinel demo`: begins everything, plays, tells, and ends everything."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.core.cluster import free_port
from app.core.settings import load_settings
from app.demo.play import opening, processes, report
from app.demo.play.caller import Caller, ServiceSilent, Unexpected
from app.demo.play.clock import DemoClock, Hand
from app.demo.play.driver import Driver, WorkStuck
from app.demo.play.figures import Figures, Performance, sum_up
from app.demo.play.interviews import interview
from app.demo.play.invitation import invitation
from app.demo.play.keeper import Child, DoesNotStart, keeping
from app.demo.play.notebook import Notebook
from app.demo.play.opening import Company
from app.demo.play.progress import Teller
from app.demo.play.reading import read_back
from app.demo.play.subscriber import Subscriber
from app.demo.play.verdict import Verdict
from app.demo.story import Plan, plan

FOLDER = "demo"
"""Below the data folder: the demo never touches the database and the keys of the service itself."""

AGREES, DIFFERS, INTERRUPTED = 0, 1, 130

_MISHAPS = (ServiceSilent, Unexpected, WorkStuck, DoesNotStart)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    scale: float
    seed: int
    once: bool
    as_json: bool


def run_demo(wish: Wish) -> int:
    """Play the story and return the exit status: 0 only if every figure agrees with the truth.

    Raises:
        NotReady, EmbeddedPostgresError: it cannot begin; the message says what to do.
    """
    began = time.monotonic()
    teller = Teller(report.console(stderr=True))
    folder = load_settings().data_dir / FOLDER
    story = plan(wish.scale, wish.seed, datetime.now(UTC))
    teller.say(f"a city of {len(story.facts.city.residents):,} residents and {len(story.pharmacies)} pharmacies")
    with opening.empty_place(folder) as url:
        teller.say("an empty PostgreSQL")
        try:
            return asyncio.run(_run(Evening(story, folder, url, teller, began), wish))
        except (asyncio.CancelledError, KeyboardInterrupt):
            teller.say("interrupted; everything is stopped")
            return INTERRUPTED


async def _run(evening: "Evening", wish: Wish) -> int:
    """Play, tell, and unless it is for once keep serving until a signal comes."""
    leave = asyncio.Event()
    playing = asyncio.current_task()
    assert playing is not None

    def end() -> None:
        if evening.is_over:
            leave.set()
        else:
            playing.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    async with AsyncExitStack() as held:
        try:
            figures = await evening.play(held)
        except _MISHAPS as mishap:
            if wish.as_json:
                print(json.dumps({"agrees": False, "differences": [str(mishap)]}, ensure_ascii=False))  # noqa: T201
            evening.teller.say(f"[bold red]The play broke off:[/] {mishap}")
            evening.teller.say(f"What the processes said stands in {evening.folder}/api.log and worker.log.")
            return DIFFERS
        if wish.as_json:
            sys.stdout.write(json.dumps(figures, ensure_ascii=False, indent=2) + "\n")
            sys.stdout.flush()
        else:
            report.show(figures, report.console())
        if not figures["agrees"]:
            return DIFFERS
        if not wish.once:
            out = report.console(stderr=wish.as_json)
            out.print(invitation(evening.caller.url, evening.company), highlight=False, soft_wrap=True)
            await leave.wait()
            evening.teller.say("good-bye; everything is stopped")
    return AGREES


class Evening:
    """Everything that is there for one performance."""

    def __init__(self, story: Plan, folder: Path, url: str, teller: Teller, began: float) -> None:
        """Make the clock and name the processes; nothing runs yet."""
        self.story, self.folder, self.teller = story, folder, teller
        self.company = Company({})
        self.caller = Caller(f"http://{processes.HOST}:{free_port()}")
        self.is_over = False
        self._url, self._began = url, began
        clock = folder / "clock"
        self._hand = Hand(clock)
        self._hand.set_to(story.calendar.at(0, 0))
        self._clock = DemoClock(clock)
        self._notebook, self._subscriber = Notebook(), Subscriber()
        port = self.caller.url.rpartition(":")[2]
        self._children = [self._child("api", str(clock), port), self._child("worker", str(clock))]

    def _child(self, name: str, *words: str) -> Child:
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        environment = processes.environment(self.folder)
        return Child(name, processes.command(name, *words), environment=environment, log=log)

    async def play(self, held: AsyncExitStack) -> Figures:
        """Play, read everything back, compare, and return the report; what was started goes on until `held` is closed.

        Raises:
            ServiceSilent, Unexpected, WorkStuck, DoesNotStart: the play broke off.
        """
        self.company = await opening.engage(self._url, self._clock)
        self.teller.say("the schema, the divisions, the drug lists; a token for each role")
        await held.enter_async_context(self._subscriber.listening())
        await held.enter_async_context(self.caller.open())
        keeper = await held.enter_async_context(keeping(self._children))
        return await _unless_ended(self._play(), keeper)

    async def _play(self) -> Figures:
        caller, company, notebook = self.caller, self.company, self._notebook
        await caller.must(200, method="GET", path="/readyz")
        await opening.enrol(caller, company, self.story.pharmacies)
        notebook.pharmacy_ids = company.pharmacy_ids
        await opening.subscribe(caller, company, self._subscriber)
        self.teller.say(f"the service at {caller.url}; its pharmacies enrolled, an endpoint subscribed")
        driver = Driver(caller, company, self._hand, notebook)
        caller.requests = caller.resent = 0  # those before the doors were open do not count
        curtain = time.monotonic()
        with self.teller.playing(self.story.calendar, notebook, self._subscriber) as begun:
            await driver.play(self.story.hours, begun)
            await driver.rest()
        play_seconds = time.monotonic() - curtain
        await interview(caller, company, self.story.calendar, self.story.truth.tellings)
        self._hand.release()
        self.teller.say(f"{notebook.registered:,} purchases registered, all work done; reading everything back")
        found = await read_back(caller, company, self.story.calendar)
        verdict = Verdict(self.story.truth, found, notebook, self._subscriber)
        restarts = {child.name: child.starts - 1 for child in self._children}
        performance = Performance(play_seconds, time.monotonic() - self._began, restarts)
        self.is_over = True
        return sum_up(self.story, found, verdict, notebook, self._subscriber, caller, performance)


async def _unless_ended(play: Coroutine[Any, Any, Figures], keeper: asyncio.Task[None]) -> Figures:
    """Return what the play gives, unless the keeper of the processes ends first."""
    playing = asyncio.create_task(play)
    try:
        await asyncio.wait([playing, keeper], return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            keeper.result()
        return await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
