"""Child processes that are started again when they die."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

STOP_SECONDS = 15.0
RESTART_SECONDS = 0.1
BORN_DEAD_SECONDS = 3.0
BORN_DEAD = 5


class DoesNotStart(Exception):
    """A child process ends again and again right after its start; the message ends with the last lines of its log."""


class Child:
    """One child process, kept alive.

    Its standard input is a pipe from here: when this process is killed the pipe closes, and the child ends by itself
    (`core.processes.follow_parent`). It has a session of its own, so that Ctrl-C reaches this process alone, which then stops
    its children in order.
    """

    def __init__(self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
        """Nothing is started yet; its output is appended to `log`."""
        self.name = name
        self.starts = 0
        self._command = command
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Keep it running until cancelled.

        Raises:
            DoesNotStart: it ends within seconds, several times in a row.
        """
        loop = asyncio.get_running_loop()
        born_dead = 0
        while born_dead < BORN_DEAD:
            since = loop.time()
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,
                )
            self.starts += 1
            await self._process.wait()
            born_dead = born_dead + 1 if loop.time() - since < BORN_DEAD_SECONDS else 0
            await asyncio.sleep(RESTART_SECONDS)
        last_words = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
        raise DoesNotStart(f"The {self.name} process does not start; {self._log} ends with:\n{last_words}")

    @property
    def is_running(self) -> bool:
        """Whether it runs at the moment."""
        return self._process is not None and self._process.returncode is None

    async def stop(self) -> None:
        """End it politely, after a while by force."""
        process = self._process
        if process is None or not self.is_running:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def keeping(children: Sequence[Child]) -> AsyncIterator[asyncio.Task[None]]:
    """Keep children for the length of the block.

    Gives a task that ends, with an error, only if one of them cannot be kept.
    """

    async def keep_all() -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for child in children:
                    tasks.create_task(child.keep())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    keeper = asyncio.create_task(keep_all())
    try:
        yield keeper
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await asyncio.gather(*(child.stop() for child in children))
