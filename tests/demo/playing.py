"""`sentinel demo` as a process of its own, and the processes that it has started."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from app.core.cluster import Cluster
from app.core.embedded import EmbeddedPostgres
from app.demo.play.command import FOLDER

ROOT = Path(__file__).resolve().parents[2]


class Demo:
    """A demo that is being played; its report is read from stdout, its progress from stderr."""

    def __init__(self, data_dir: Path, *words: str) -> None:
        """Begin it with an empty data folder."""
        self.folder = data_dir / FOLDER
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SENTINEL_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "demo", "--json", *words],
            cwd=ROOT,
            env={**environment, "SENTINEL_DATA_DIR": str(data_dir)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def progress(self) -> Iterator[str]:
        """Give the lines that tell of the play, until it ends or `report` comes next."""
        for line in _given(self.process.stderr):
            yield line
            if "reading everything back" in line:
                return

    def report(self) -> dict[str, Any]:
        """Wait for the report and return it; whoever calls this has read all progress."""
        lines = []
        for line in _given(self.process.stdout):
            lines.append(line)
            if line == "}\n":
                break
        figures: dict[str, Any] = json.loads("".join(lines))
        return figures

    def children(self, what: str) -> list[int]:
        """Return the process ids of the demo's `api` or `worker`."""
        return [pid for pid in children_of(self.process.pid) if f"app.demo.play.processes\0{what}" in _command(pid)]

    def postgres(self) -> list[int]:
        """Return the process ids of the database server: the postmaster, then its backends."""
        try:
            words = (Cluster(self.folder / "postgres").data / "postmaster.pid").read_text().split()
        except OSError:
            return []
        return [int(words[0]), *children_of(int(words[0]))]

    def end(self) -> None:
        """Remove whatever is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        with contextlib.suppress(Exception):
            EmbeddedPostgres(self.folder).erase()


def kill(pids: list[int]) -> None:
    """Kill processes, some of which may be gone by now."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children_of(parent: int) -> list[int]:
    """Return the ids of a process's children."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _given(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
