"""The server process of a cluster: launch it, see whether it lives, end it.

Whether a server lives is told by a lock, not by a process number: `server.lock` is locked by whoever launches
`postgres`, and the locked descriptor is inherited by the server and all its backends. The kernel frees it when the last
of them is gone. So a number that was given to somebody else, a zombie that nobody reaps and a backend that outlives its
server are never taken for a server that lives.

Nothing here is safe against another starter; `core.embedded` lets one in at a time.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.cluster import HOST, ROLE, Cluster
from app.core.postgres_programs import SYNC_METHOD, EmbeddedPostgresError

if sys.platform != "win32":
    import fcntl

PATIENCE_SECONDS = 60.0
POLITE_SECONDS = 300.0
LEFTOVER_SECONDS = 0.3
FAILED_LAUNCHES = 3


SERVER_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "recovery_init_sync_method": SYNC_METHOD,
    "max_connections": "100",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    # The log is for the operator. Statements and the details of errors can hold what a person said at a counter.
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}

_LIMITS_OF_GROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def sizes(memory: int, free_disk: int) -> dict[str, str]:
    """Return the options that follow from the memory that may be used and the disk that is free, both in bytes.

    Indexes of hashes are touched at random. What does not stay in memory is read and written out again for each row: so the buffers are
    a quarter of the memory, as PostgreSQL's manual advises, 128 MB at least and 4 GB at most, for others live here too; they are
    taken as the database grows. And each page goes into the log as a whole once after each checkpoint, 24 KB a row with ten million
    rows there if the log may not grow: so it may, to a tenth of what is free, 1 GB at least and 8 GB at most.
    """
    megabytes, disk = memory // 2**20, free_disk // 2**20
    return {
        "shared_buffers": f"{max(128, min(4096, megabytes // 4))}MB",
        "max_wal_size": f"{max(1024, min(8192, disk // 10))}MB",
    }


def _memory() -> int:
    """Return the bytes of memory of the machine, or of the container if that may use less; 0 where it is not told."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):  # not told on every system
        return 0
    for path in _LIMITS_OF_GROUP:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # no such group, or `max`
            continue
    return min(found)


class Postmaster:
    """The server of one cluster, whoever launched it."""

    def __init__(self, cluster: Cluster, on_exit: Callable[[], None]) -> None:
        """Nothing is started yet.

        Args:
            cluster: the cluster it serves.
            on_exit: called from another thread when a server that was launched here has ended.
        """
        self.cluster = cluster
        self._on_exit = on_exit
        self._probe = cluster.open_lock("server.lock")

    def close(self) -> None:
        """Give back the descriptor; the server is not touched."""
        os.close(self._probe)

    def alive(self) -> bool:
        """Return whether the server is up, or on its way up; cheap enough to ask four times a second."""
        pid = self._postmaster()
        return pid is not None and self._held() and self._is_ours(pid)

    def is_on_its_way(self) -> bool:
        """Return whether the server is on its way up or down: it repairs itself, or writes out what it has in memory."""
        return self.alive() and self._status() in ("starting", "stopping")

    def ensure_running(self, *, may_move: bool, leaving: threading.Event) -> None:
        """Return when the server answers; adopt one that runs, launch one otherwise.

        Args:
            may_move: another port may be taken if a stranger sits on the recorded one (nobody else knows it yet).
            leaving: when set, give up.

        Raises:
            EmbeddedPostgresError: it does not start; the message ends with the last lines of its log.
        """
        launches = 0
        silent_since = time.monotonic()
        deadline = silent_since + PATIENCE_SECONDS
        while not leaving.is_set():
            with self._launching() as descriptor:
                if descriptor is not None and self.cluster.settle_port(may_move=may_move):
                    if launches == FAILED_LAUNCHES:
                        raise EmbeddedPostgresError(f"PostgreSQL does not start:\n{self._last_words()}")
                    self._launch(descriptor)
                    launches += 1
                    silent_since = time.monotonic()
            if self.alive():
                status = self._status()
                if status == "ready" and _answers(self.cluster.port):
                    return
                if status == "starting":  # after a crash it replays its log first, which takes what it takes
                    deadline = time.monotonic() + PATIENCE_SECONDS
            elif self._postmaster() is not None and time.monotonic() - silent_since > LEFTOVER_SECONDS:
                self._kill_leftovers()  # a server on its way up has no file yet, or is alive: this one is dead
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL does not answer on {HOST}:{self.cluster.port} after {PATIENCE_SECONDS:.0f} s. "
                    f"Does another program use that port?\n{self._last_words()}"
                )
            leaving.wait(0.02)

    def stop(self) -> None:
        """Stop the server: politely, then at once, then by force. Does nothing when it is down."""
        # Politely means that it writes out what it has in memory, which may be gigabytes.
        for sign, seconds in ((signal.SIGINT, POLITE_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            if not self._held():
                return
            pid = self._postmaster()
            if pid is not None and self._is_ours(pid):
                _send(pid, sign)
            if sign == signal.SIGKILL:
                self._kill_leftovers()
            until = time.monotonic() + seconds
            while self._held() and time.monotonic() < until:
                time.sleep(0.01)

    def _held(self) -> bool:
        if not try_lock(self._probe, fcntl.LOCK_SH):
            return True
        fcntl.flock(self._probe, fcntl.LOCK_UN)
        return False

    @contextmanager
    def _launching(self) -> Iterator[int | None]:
        """Hold the server's lock while launching it; None when some process of this cluster holds it already."""
        descriptor = self.cluster.open_lock("server.lock")
        try:
            yield descriptor if try_lock(descriptor, fcntl.LOCK_EX) else None
        finally:
            os.close(descriptor)  # the server, if launched, has its own copy and keeps the lock

    def _launch(self, descriptor: int) -> None:
        cluster = self.cluster
        # Nobody holds the server's lock, so whatever process this file names, it is not our server.
        (cluster.data / "postmaster.pid").unlink(missing_ok=True)
        chosen = sizes(_memory(), shutil.disk_usage(cluster.data).free) | SERVER_OPTIONS
        options = [f"--{name}={value}" for name, value in chosen.items()]
        log = cluster.open_log()
        try:
            process = cluster.programs.launch(
                "postgres", ["-D", str(cluster.data), f"--port={cluster.port}", *options], log, keep=(descriptor,)
            )
        finally:
            os.close(log)
        threading.Thread(target=self._reap, args=(process,), name="postgres-reaper", daemon=True).start()

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._on_exit()

    def _postmaster(self) -> int | None:
        try:
            return int(self._pid_file()[0])
        except (IndexError, ValueError):  # not there, or being written this moment
            return None

    def _status(self) -> str:
        """Return what the server says of itself: `starting`, `ready`, `stopping`, or nothing yet."""
        return "".join(self._pid_file()[7:8]).strip()

    def _pid_file(self) -> list[str]:
        if not self.cluster.exists:
            return []
        try:
            return (self.cluster.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _is_ours(self, pid: int) -> bool:
        """Return whether a process works in the cluster's folder; taken on trust where the system cannot tell."""
        if not Path("/proc/self/cwd").exists():
            return _exists(pid)
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.cluster.data
        except OSError:
            return False

    def _kill_leftovers(self) -> None:
        """End backends that outlived their postmaster: one in a long statement notices only at its end."""
        for entry in Path("/proc").glob("[0-9]*"):
            if self._is_ours(int(entry.name)):
                _send(int(entry.name), signal.SIGKILL)

    def _last_words(self) -> str:
        try:
            return "\n".join(self.cluster.log.read_text(errors="replace").splitlines()[-5:])
        except OSError:
            return ""


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a lock (`fcntl.LOCK_SH` or `LOCK_EX`) on an open file, or change the one held; return whether it was free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _send(pid: int, sign: signal.Signals) -> None:
    try:
        os.kill(pid, sign)
    except (ProcessLookupError, PermissionError):
        return


def _answers(port: int) -> bool:
    """Ask to log in, and return whether the server would go on with that."""
    words = f"user\0{ROLE}\0database\0{ROLE}\0\0".encode()
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack("!II", len(words) + 8, 3 << 16) + words)
            answer = connection.recv(512)
    except OSError:
        return False
    return answer != b"" and b"C57P03\0" not in answer  # cannot_connect_now: it repairs itself after a crash
