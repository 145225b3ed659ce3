"""Single purchases that arrive at the same moment share a transaction.

A commit costs about as much as a hundred rows. Requests that come in while a transaction is under way wait for the next one
and go together; each is answered only after its commit. Under no load a purchase waits for nobody.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import AppError
from app.core.sealing import Keyring
from app.registrations.drafts import Submission
from app.registrations.rows import find_lines
from app.registrations.service import Outcome, Recorded, record_registrations

MOST_TOGETHER = 200
_Waiting = tuple[Submission, "asyncio.Future[Outcome]"]


class Intake:
    """Takes purchases one by one and records them together."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring, *, at_once: int = 2) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._at_once = at_once
        self._waiting: list[_Waiting] = []
        self._running: set[asyncio.Task[None]] = set()

    async def record(self, submission: Submission) -> Recorded:
        """Record one purchase; return when it is committed.

        Raises:
            AppError: why it was not stored.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, future))
        if len(self._running) < self._at_once:
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        outcome = await future
        if isinstance(outcome, AppError):
            raise outcome
        return outcome

    async def _drain(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            try:
                outcomes = await self.record_all([submission for submission, _ in together])
            except Exception as error:
                await self._one_by_one(together, error)
            else:
                for (_, future), outcome in zip(together, outcomes, strict=True):
                    _answer(future, outcome)

    async def _one_by_one(self, together: Sequence[_Waiting], error: Exception) -> None:
        # One purchase that breaks the transaction must not refuse its neighbours.
        for submission, future in together:
            try:
                if len(together) == 1:
                    raise error
                [outcome] = await self.record_all([submission])
            except Exception as own:
                if not future.done():
                    future.set_exception(own)
            else:
                _answer(future, outcome)

    async def record_all(self, submissions: Sequence[Submission]) -> list[Outcome]:
        """Record purchases in one transaction; duplicates come with their lines, so that each gets the same answer again."""
        async with self._database.transaction() as session:
            outcomes = await record_registrations(session, submissions, now=self._clock.now(), keyring=self._keyring)
            bare = {outcome.id for outcome in outcomes if isinstance(outcome, Recorded) and not outcome.lines}
            if bare:
                lines = await find_lines(session, bare)
                outcomes = [
                    replace(outcome, lines=lines[outcome.id])
                    if isinstance(outcome, Recorded) and outcome.id in bare
                    else outcome
                    for outcome in outcomes
                ]
        return outcomes


def _answer(future: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not future.done():  # the caller may have hung up; its purchase is kept all the same
        future.set_result(outcome)
