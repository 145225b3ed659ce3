"""Single purchases that arrive at the same moment share a transaction.

A commit costs about as much as a hundred rows. Requests that come in while a transaction is under way wait for the next one
and go together; each is answered only after its commit. Under no load a purchase waits for nobody.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from app.core.clock import Clock
from app.core.database import Database, trouble
from app.core.errors import AppError, DatabaseUnavailable, InternalError
from app.core.log import logger
from app.core.sealing import Keyring
from app.core.turns import Turns
from app.registrations.drafts import Recorded, Submission, Unread
from app.registrations.receipts import Heads, find_receipts, receipt_of
from app.registrations.rows import find_lines
from app.registrations.service import Outcome, record_registrations

MOST_TOGETHER = 200
CROWD = 4
GATHER_SECONDS = 0.004
"""After a transaction for more than `CROWD` purchases the next one begins when as many have come again, or when nobody has come for so
long. One transaction for all is cheaper than two that alternate, by so much that everybody is answered sooner."""
MOST_WAITS = 5
"""How often such a time is waited for a crowd that keeps coming."""
MOST_FROM_ONE = 32
"""Of one key's waiting purchases, so many go with one transaction: a till that sends without end fills no transaction alone."""
BATCHES_AT_ONCE = 4
"""Chunks of batches that are recorded at a time, one of each key: the others' purchases always find a connection."""
ATTEMPTS = 3
"""How often a transaction is tried that ran into another one."""
_Answer = tuple[Submission | None, Outcome]
_Waiting = tuple[Submission | Unread, "asyncio.Future[_Answer]"]


class Intake:
    """Takes purchases one by one and records them together."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._heads = Heads()
        self._waiting: list[_Waiting] = []
        self._is_draining = False
        self._crowd: tuple[int, asyncio.Event] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()
        self._room = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def record(self, purchase: Submission | Unread) -> Recorded:
        """Record one purchase; return when it is committed.

        Raises:
            AppError: why it was not stored.
        """
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((purchase, future))
        if self._crowd is not None and len(self._waiting) >= self._crowd[0]:
            self._crowd[1].set()
        if not self._is_draining:
            self._is_draining = True
            self._begin(self._drain())
        submission, outcome = await future
        if isinstance(outcome, AppError):
            raise outcome
        if outcome.told is None and submission is not None and submission.tell is not None:
            outcome.told = submission.tell(outcome)
        return outcome

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._tasks.discard)

    async def record_many(self, key: UUID | None, submissions: Sequence[Submission]) -> list[Outcome]:
        """Record a chunk of a batch when it is the key's turn: a key's batches follow each other, whatever it sends at once.

        Raises:
            DatabaseUnavailable, TryAgain: as `record_all`.
        """
        async with self._turns.take(key), self._room:
            return await self.record_all(submissions)

    async def record_all(self, submissions: Sequence[Submission]) -> list[Outcome]:
        """Record purchases in one transaction; duplicates come without lines and receipts, for which no batch asks.

        If it fails because of a row, that row must not refuse the others: each half is tried by itself, down to the row
        that fails alone, whose outcome is then the error.

        Raises:
            DatabaseUnavailable: nothing can be stored now.
            TryAgain: somebody held the rows, three times in a row.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._record_all(submissions)
            except Exception as error:
                told = trouble(error)
                if told is None:
                    if len(submissions) > 1:
                        break
                    return [_told_of(error)]
                if isinstance(told, DatabaseUnavailable) or attempt == ATTEMPTS:
                    raise told from error
        middle = len(submissions) // 2
        first, rest = submissions[:middle], submissions[middle:]
        return await self.record_all(first) + await self.record_all(rest)

    async def _record_all(self, submissions: Sequence[Submission]) -> list[Outcome]:
        now = self._clock.now()
        async with self._database.statements() as session:
            return await record_registrations(
                session,
                submissions,
                now=now,
                keyring=self._keyring,
                heads=self._heads,
                meanwhile=lambda steps: self._begin(_take(steps)),
            )

    async def _complete(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Give duplicates what they were told the first time: their lines and their receipts."""
        bare = {one.id for one in outcomes if isinstance(one, Recorded) and one.receipt is None}
        if not bare:
            return list(outcomes)
        try:
            async with self._database.transaction() as session:
                lines = await find_lines(session, bare)
                receipts = await find_receipts(session, bare, self._keyring)
        except Exception as error:  # the others are kept, and told so
            told = _told_of(error)
            return [told if isinstance(one, Recorded) and one.receipt is None else one for one in outcomes]
        return [
            replace(
                outcome,
                lines=lines[outcome.id] if outcome.is_newest else outcome.lines,
                receipt=receipt_of(receipts[outcome.id], outcome.revision),
            )
            if isinstance(outcome, Recorded) and outcome.receipt is None
            else outcome
            for outcome in outcomes
        ]

    def _next(self) -> list[_Waiting]:
        """Take those who have waited longest, a bounded number of each key."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) <= MOST_FROM_ONE:
            return waiting
        together: list[_Waiting] = []
        taken: Counter[UUID | None] = Counter()
        for one in waiting:
            key = one[0].actor.key_id
            if taken[key] < MOST_FROM_ONE and len(together) < MOST_TOGETHER:
                taken[key] += 1
                together.append(one)
            else:
                self._waiting.append(one)
        return together

    async def _gather(self, crowd: int) -> None:
        """Wait until as many are waiting as have just been answered, or nobody comes any more."""
        if len(self._waiting) >= crowd:
            return
        is_there = asyncio.Event()
        self._crowd = crowd, is_there
        try:
            for _ in range(MOST_WAITS):
                came = len(self._waiting)
                try:
                    async with asyncio.timeout(GATHER_SECONDS):
                        await is_there.wait()
                    return
                except TimeoutError:
                    if len(self._waiting) == came:
                        return
        finally:
            self._crowd = None

    async def _drain(self) -> None:
        try:
            while self._waiting:
                together = self._next()
                await self._answer(together)
                if len(together) > CROWD:
                    await self._gather(len(together))
        finally:
            # In the same step as the last look at what waits: a purchase that came between would wait for ever.
            self._is_draining = False

    async def _answer(self, together: Sequence[_Waiting]) -> None:
        """Read these purchases, record what can be read, and tell what became of each."""
        readable: list[tuple[Submission, asyncio.Future[_Answer]]] = []
        for purchase, future in together:
            submission = purchase if isinstance(purchase, Submission) else _read(purchase)
            if isinstance(submission, AppError):
                _tell(future, (None, submission))
            else:
                readable.append((submission, future))
        if not readable:
            return
        try:
            outcomes = await self._complete(await self.record_all([submission for submission, _ in readable]))
        except Exception as error:
            outcomes = [_told_of(error)] * len(readable)
        for (submission, future), outcome in zip(readable, outcomes, strict=True):
            _tell(future, (submission, outcome))


def _told_of(error: Exception) -> AppError:
    """Return what a caller is told of what went wrong; what is our fault is logged."""
    told = error if isinstance(error, AppError) else trouble(error)
    if told is None:
        logger("intake").error("purchase failed", exc_info=error)
        return InternalError()
    return told


def _read(purchase: Unread) -> Submission | AppError:
    try:
        return purchase.read()
    except Exception as error:
        return _told_of(error)


def _tell(future: "asyncio.Future[_Answer]", answer: _Answer) -> None:
    if not future.done():  # the caller may have hung up; its purchase is kept all the same
        future.set_result(answer)


async def _take(steps: Iterator[None]) -> None:
    for _ in steps:
        await asyncio.sleep(0)
