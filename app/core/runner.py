"""The loop of a worker: wake, claim, work, until told to stop.

Each kind has loops of its own, so a kind with a million jobs does not hold up the others. A notification wakes the
loops of its kind at once; a look at the queue every second finds what fell due, what a vanished worker left behind,
and what a lost notification did not announce. When the database goes away the loops wait for it; what was in hand is settled by
its lease afterwards.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.core import leases
from app.core.clock import Clock
from app.core.database import Database
from app.core.execution import Execution, Pause, database_error
from app.core.handlers import External, Job, Outcome, Registry, Transactional, describe
from app.core.log import logger
from app.core.schedule import tick
from app.core.wakes import CHANNEL

log = logger("jobs")

ENDED_AT_ONCE = 500
PROBE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How a worker keeps time, in seconds.

    After a worker vanishes its jobs wait for `lease_seconds`; `grace_seconds` is how long a stopping worker lets
    handlers finish before it hands their jobs back.
    """

    lease_seconds: float = 30.0
    heartbeat_seconds: float = 5.0
    poll_seconds: float = 1.0
    grace_seconds: float = 20.0


class Bell:
    """Wakes the loops of one kind. A ring between looking and waiting is not missed."""

    def __init__(self) -> None:
        self.rung = 0
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits."""
        self.rung += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, since: int) -> None:
        """Return once the bell has been rung more than `since` times."""
        while self.rung == since:
            await self._event.wait()


class _Flights:
    """The groups of one external kind that are under way, and the end of those that came back."""

    def __init__(self, work: External, execution: Execution, bell: Bell, tasks: asyncio.TaskGroup) -> None:
        self.jobs = 0
        self._work = work
        self._execution = execution
        self._bell = bell
        self._tasks = tasks
        self._under_way: set[asyncio.Task[None]] = set()
        self._returned: asyncio.Queue[list[tuple[Job, Outcome]] | None] = asyncio.Queue()
        tasks.create_task(self._end())

    def start(self, group: Sequence[Job]) -> None:
        """Hand a group to the handler, and go on meanwhile."""
        self.jobs += len(group)
        task = self._tasks.create_task(self._fly(group))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def land(self) -> None:
        """Wait until all groups have come back; they are ended before the task group is."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        self._returned.put_nowait(None)

    async def _fly(self, group: Sequence[Job]) -> None:
        self._returned.put_nowait(await self._execution.external(self._work, group))

    async def _end(self) -> None:
        """End whatever has come back while the last commit was under way, in one transaction."""
        while (results := await self._returned.get()) is not None:
            while len(results) < ENDED_AT_ONCE and not self._returned.empty():
                more = self._returned.get_nowait()
                if more is None:
                    self._returned.put_nowait(None)
                    break
                results.extend(more)
            await self._execution.end(self._work, results)
            self.jobs -= len(results)
            self._bell.ring()


class Runner:
    """Works on the jobs of a registry; any number may run, in any number of processes."""

    def __init__(self, database: Database, registry: Registry, *, clock: Clock, pace: Pace | None = None) -> None:
        self.database = database
        self.registry = registry
        self.pace = pace or Pace()
        self.execution = Execution(database, clock)
        self._kinds = [*registry.transactional_work, *registry.external_work]
        self._bells: dict[str, Bell] = {kind: Bell() for kind in self._kinds}
        self._last_lane: dict[str, str] = defaultdict(str)
        self._giving_way: dict[str, tuple[str, ...]] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask `run` to end: claim nothing more, finish what is in hand."""
        self._stopping.set()
        self._ring(self._kinds)

    async def run(self) -> None:
        """Work until `stop` is called; then finish, or after the grace period hand back, what is in hand.

        Raises:
            Exception: a fault of the machinery itself, which a restart by the supervisor may cure.
        """
        services = [asyncio.create_task(work) for work in (self._listen(), self._watch(), self._keep_alive())]
        loops = [asyncio.create_task(loop) for loop in self._loops()]
        stopped = asyncio.create_task(self._stopping.wait())
        everything: list[asyncio.Task[Any]] = [stopped, *services, *loops]
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            if loops:
                await asyncio.wait(loops, timeout=self.pace.grace_seconds)
        finally:
            for task in everything:
                task.cancel()
            results = await asyncio.gather(*everything, return_exceptions=True)
            await self._hand_back_rest()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def drain(self) -> int:
        """Work one batch after the other until nothing is due, and return how many jobs were taken.

        For tests and commands that want everything done before they go on; keeps no lease alive meanwhile.
        """
        taken = 0
        while True:
            before = taken
            for work in self.registry.transactional_work.values():
                while jobs := await self._claim(work, work.batch):
                    taken += len(jobs)
                    await self.execution.transactional(work, jobs)
            for external in self.registry.external_work.values():
                while jobs := await self._claim(external, external.batch):
                    taken += len(jobs)
                    for group in _groups(jobs, external.batch):
                        await self.execution.end(external, await self.execution.external(external, group))
            if taken == before:
                return taken

    def _loops(self) -> list[Coroutine[Any, Any, None]]:
        works = self.registry.transactional_work.values()
        return [
            *(self._work(work) for work in works for _ in range(work.concurrency)),
            *(self._send(work) for work in self.registry.external_work.values()),
        ]

    async def _claim(self, work: Transactional | External, limit: int) -> list[Job]:
        kind, seconds = work.kind.name, self.pace.lease_seconds
        async with self.database.transaction() as session:
            if isinstance(work, Transactional):
                due_for = 0.0
                if work.gives_way_to and await leases.under_way(session, work.gives_way_to):
                    due_for = leases.PATIENCE_SECONDS
                    self._giving_way[kind] = work.gives_way_to
                jobs = await leases.claim(
                    session,
                    kind,
                    limit=limit,
                    lease_seconds=seconds,
                    due_for_seconds=due_for,
                    sharers=work.concurrency,
                )
            elif work.kind.laned:
                # As slots become scarce each lane gets fewer of them, so that slow lanes cannot fill them all.
                jobs = await leases.claim_in_lanes(
                    session,
                    kind,
                    limit=limit,
                    lease_seconds=seconds,
                    per_lane=min(work.per_lane, max(1, limit // 8)) if limit > work.batch else work.per_lane,
                    after_lane=self._last_lane[kind],
                )
            else:
                jobs = await leases.claim(session, kind, limit=limit, lease_seconds=seconds)
        self.execution.take(jobs)
        return jobs

    async def _claim_or_wait(self, work: Transactional | External, limit: int, pause: Pause) -> list[Job] | None:
        try:
            return await self._claim(work, limit)
        except Exception as error:
            if not database_error(error):
                raise
            log.warning("cannot claim", extra={"kind": work.kind.name, "error": describe(error)})
        await pause.wait()
        return None

    async def _work(self, work: Transactional) -> None:
        bell, pause = self._bells[work.kind.name], Pause()
        while not self._stopping.is_set():
            since = bell.rung
            jobs = await self._claim_or_wait(work, work.batch, pause)
            if jobs is None:
                continue
            pause = Pause()
            if jobs:
                await self.execution.transactional(work, jobs)
            elif not self._stopping.is_set():
                self._let_pass(work.kind.name)
                await bell.wait(since)

    async def _send(self, work: External) -> None:
        kind, pause = work.kind.name, Pause()
        bell = self._bells[kind]
        async with asyncio.TaskGroup() as tasks:
            flights = _Flights(work, self.execution, bell, tasks)
            while not self._stopping.is_set():
                since = bell.rung
                free = work.concurrency - flights.jobs
                jobs = await self._claim_or_wait(work, free, pause) if free else []
                if jobs is None:
                    continue
                pause = Pause()
                for group in _groups(jobs, work.batch):
                    self._last_lane[kind] = group[0].lane or ""
                    flights.start(group)
                if not jobs and not self._stopping.is_set():
                    await bell.wait(since)
            await flights.land()

    def _let_pass(self, kind: str) -> None:
        """Wake the loops that gave way to a kind of which nothing is due."""
        for waiting in [waiting for waiting, others in self._giving_way.items() if kind in others]:
            del self._giving_way[waiting]
            self._bells[waiting].ring()

    def _ring(self, kinds: Sequence[str]) -> None:
        for kind in kinds:
            if kind in self._bells:
                self._bells[kind].ring()

    async def _watch(self) -> None:
        pause = Pause()
        while True:
            try:
                async with self.database.transaction() as session:
                    await tick(session, self.registry.schedule)
                    reclaimed = await leases.reclaim(session)
                    due = await leases.due_kinds(session, self._kinds)
            except Exception as error:
                if not database_error(error):
                    raise
                log.warning("cannot look at the queue", extra={"error": describe(error)})
                await pause.wait()
                continue
            pause = Pause()
            if reclaimed:
                log.warning("leases reclaimed", extra={"jobs": len(reclaimed)})
            self._ring(due)
            await asyncio.sleep(self.pace.poll_seconds)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.pace.heartbeat_seconds)
            jobs = list(self.execution.in_hand.values())
            if jobs:
                extend = partial(leases.extend, jobs=jobs, lease_seconds=self.pace.lease_seconds)
                await self.execution.persist(extend)

    async def _listen(self) -> None:
        pause = Pause()
        while True:
            connection: Any = None
            try:
                pooled = await self.database.engine.raw_connection()
                connection = pooled.driver_connection
                pooled.detach()
                closed = asyncio.Event()
                connection.add_termination_listener(lambda _, closed=closed: closed.set())
                await connection.add_listener(CHANNEL, lambda _c, _p, _ch, kind: self._ring([kind]))
                self._ring(self._kinds)
                pause = Pause()
                while not closed.is_set():
                    try:
                        await asyncio.wait_for(closed.wait(), PROBE_SECONDS)
                    except TimeoutError:  # a connection that only looks alive delivers nothing
                        await connection.execute("SELECT 1", timeout=PROBE_SECONDS)
            except Exception as error:
                if not database_error(error):
                    raise
                log.warning("cannot listen", extra={"error": describe(error)})
            finally:
                if connection is not None:
                    connection.terminate()
            await pause.wait()

    async def _hand_back_rest(self) -> None:
        rest = list(self.execution.in_hand.values())
        if not rest:
            return
        try:
            async with asyncio.timeout(5), self.database.transaction() as session:
                await leases.hand_back(session, rest, error=None, counted=False)
        except Exception as error:
            if not database_error(error):
                raise
            log.warning("leases left to run out", extra={"jobs": len(rest), "error": describe(error)})


def _groups(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Return jobs by lane in groups of at most `size`; one that has failed before comes alone, lest it fail others."""
    groups: list[list[Job]] = []
    lanes: dict[str | None, list[Job]] = {}
    for job in jobs:
        group = lanes.get(job.lane)
        if job.attempt > 1:
            groups.append([job])
        elif group is None or len(group) == size:
            lanes[job.lane] = [job]
            groups.append(lanes[job.lane])
        else:
            group.append(job)
    return groups
