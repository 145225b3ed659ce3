"""Progress on standard error: a live line on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.demo.play.notebook import Notebook
from app.demo.play.subscriber import Subscriber
from app.demo.script import CHINA, DAYS, Calendar


class Teller:
    """Says how far the story has come."""

    def __init__(self, console: Console) -> None:
        """Speak to a console on standard error."""
        self._console = console
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        """Tell of a step."""
        self._console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/]  {what}", highlight=False)

    @contextmanager
    def playing(
        self, calendar: Calendar, notebook: Notebook, subscriber: Subscriber
    ) -> Iterator[Callable[[datetime], None]]:
        """Show the days as they go by; gives what is to be called at the beginning of each hour."""

        def state() -> str:
            matched, clues = subscriber.kinds["case.matched"], subscriber.kinds["clue.reported"]
            return f"{notebook.registered:,} registered · {matched} matches · {clues} clues told"

        if self._console.is_terminal:
            with Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[state]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            ) as bar:
                task = bar.add_task("", total=(DAYS + 1) * 24, state="")

                def advance(at: datetime) -> None:
                    hour = calendar.day_of(at) * 24 + at.astimezone(CHINA).hour
                    what = f"day {calendar.day_of(at) + 1}/{DAYS + 1} {at.astimezone(CHINA):%m-%d %H:00}"
                    bar.update(task, completed=hour, description=what, state=state())

                yield advance
            return
        told_day = -1

        def line(at: datetime) -> None:
            nonlocal told_day
            if calendar.day_of(at) > told_day:
                told_day = calendar.day_of(at)
                self.say(f"day {told_day + 1}/{DAYS + 1} {at.astimezone(CHINA):%Y-%m-%d} · {state()}")

        yield line
