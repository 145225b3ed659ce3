"""What a piece of work costs: seconds on the clock, and seconds of processor in this process and in the database server."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg


@dataclass(slots=True)
class Spent:
    """Seconds. `server` is 0 where the system does not tell what other processes use."""

    wall: float = 0.0
    here: float = 0.0
    server: float = 0.0

    @property
    def cpu(self) -> float:
        """Seconds of processor on both sides."""
        return self.here + self.server

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall + other.wall, self.here + other.here, self.server + other.server)

    def __str__(self) -> str:
        return f"{self.wall:8.2f} s   CPU {self.cpu:8.2f} s (client {self.here:.2f}, server {self.server:.2f})"


class Meter:
    """Measures work against one database server."""

    def __init__(self, postmaster: int | None) -> None:
        """Take the server's first process, None where it is not on this machine or the system has no /proc."""
        self._postmaster = postmaster

    @classmethod
    async def of(cls, url: str) -> "Meter":
        """Return the meter of the server that a URL names."""
        connection = await asyncpg.connect(url)
        try:
            backend = await connection.fetchval("SELECT pg_backend_pid()")
        finally:
            stat = _stat(backend)
            await connection.close()
        return cls(None if stat is None else stat[0])

    @contextmanager
    def measure(self) -> Iterator[Spent]:
        """Measure a block; the figures are there when it has ended."""
        spent = Spent()
        server, here, wall = self._server(), time.process_time(), time.perf_counter()
        yield spent
        spent.wall = time.perf_counter() - wall
        spent.here = time.process_time() - here
        spent.server = self._server() - server

    def _server(self) -> float:
        if self._postmaster is None:
            return 0.0
        own = _stat(self._postmaster)
        try:
            children = Path(f"/proc/{self._postmaster}/task/{self._postmaster}/children").read_text().split()
        except OSError:
            return 0.0
        living = [stat for child in children if (stat := _stat(int(child)))]
        return (sum(stat[1] for stat in living) + (own[1] + own[2] if own else 0)) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> tuple[int, int, int] | None:
    """Return a process's parent, its ticks of processor, and those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def note_memory(pid: int, most: dict[int, float]) -> None:
    """Note the most memory, in MB, that a living process and those that it has started ever held at once, each by itself."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    held = status.partition("VmHWM:")[2].split()
    if held:
        most[pid] = int(held[0]) / 1024
    for child in children:
        note_memory(int(child), most)
