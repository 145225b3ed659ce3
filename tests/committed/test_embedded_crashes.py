"""The embedded PostgreSQL when something is killed: a command, all of them, the server, a whole process group.

The commands are real processes; each holds the server of one data folder until its standard input ends.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from app.core.embedded import EmbeddedPostgres, running
from app.core.postmaster import PATIENCE_SECONDS
from tests.core.test_embedded import ask, data_of

COMMAND = """
import sys
from pathlib import Path
from app.core.embedded import running
with running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).resolve().parents[2]


class Command:
    """A process that uses the data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(data_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def url(self) -> str:
        """Wait until it has the server and return the URL it was given."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it and everything in its process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def leave(self) -> None:
        """Let it come to its end."""
        self.process.communicate(timeout=60)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    EmbeddedPostgres(folder).erase()


@pytest.fixture
def command(data_dir: Path) -> Iterator[Callable[[], Command]]:
    begun: list[Command] = []

    def begin() -> Command:
        begun.append(Command(data_dir))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.kill()


def postmaster(data_dir: Path) -> int:
    return int((data_of(data_dir) / "postmaster.pid").read_text().split()[0])


async def answers_again(url: str) -> None:
    """Ask until there is an answer; fail when there is none for so long that nobody is bringing the server back."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            await ask(url, "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        else:
            return


class TestAKilledServer:
    async def test_is_back_on_its_port_with_all_that_was_committed(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
            for _ in range(3):
                os.kill(postmaster(data_dir), signal.SIGKILL)
                await answers_again(url)
                assert await ask(url, "SELECT answer FROM kept") == 42

    async def test_is_brought_back_when_the_command_that_launched_it_was_killed_before(
        self, data_dir: Path, command: Callable[[], Command]
    ) -> None:
        launcher = command()
        url = launcher.url()
        others = [command(), command()]
        assert {other.url() for other in others} == {url}
        launcher.kill()
        os.kill(postmaster(data_dir), signal.SIGKILL)
        await answers_again(url)
        for other in others:
            other.leave()
        with pytest.raises(OSError, match="Connect call failed"):
            await ask(url, "SELECT 1")

    async def test_is_not_kept_down_by_a_backend_in_a_long_statement(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            busy = await asyncpg.connect(url)
            counting = asyncio.ensure_future(busy.fetchval("SELECT count(*) FROM generate_series(1, 10000000000)"))
            await asyncio.sleep(0.2)
            os.kill(postmaster(data_dir), signal.SIGKILL)
            await answers_again(url)
            with pytest.raises((OSError, asyncpg.PostgresError)):
                await counting
            busy.terminate()

    async def test_survives_the_death_of_a_backend(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            connection = await asyncpg.connect(url)
            os.kill(connection.get_server_pid(), signal.SIGKILL)
            await answers_again(url)
            connection.terminate()


class TestKilledCommands:
    async def test_leave_the_server_to_those_who_stay(self, data_dir: Path, command: Callable[[], Command]) -> None:
        first, second = command(), command()
        url = first.url()
        assert second.url() == url
        first.kill()
        assert await ask(url, "SELECT 1") == 1
        second.leave()
        with pytest.raises(OSError, match="Connect call failed"):
            await ask(url, "SELECT 1")

    async def test_leave_a_server_that_the_next_one_adopts_and_stops(
        self, data_dir: Path, command: Callable[[], Command]
    ) -> None:
        first, second = command(), command()
        url = first.url()
        assert second.url() == url
        first.kill()
        second.kill()
        orphan = postmaster(data_dir)
        with running(data_dir) as again:
            assert again == url
            assert postmaster(data_dir) == orphan
            assert await ask(again, "SELECT 1") == 1
        with pytest.raises(OSError, match="Connect call failed"):
            await ask(url, "SELECT 1")

    async def test_are_recovered_from_when_the_server_was_killed_with_them(
        self, data_dir: Path, command: Callable[[], Command]
    ) -> None:
        one = command()
        url = one.url()
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        server = postmaster(data_dir)
        one.kill()
        os.kill(server, signal.SIGKILL)
        with running(data_dir) as again:
            assert again == url
            assert await ask(again, "SELECT answer FROM kept") == 42

    @pytest.mark.parametrize("after_seconds", [0.2, 0.4, 0.7])
    async def test_while_they_make_the_database_spoil_nothing(
        self, data_dir: Path, command: Callable[[], Command], after_seconds: float
    ) -> None:
        one = command()
        await asyncio.sleep(after_seconds)
        one.kill()
        with running(data_dir) as url:
            assert await ask(url, "SELECT 1") == 1
