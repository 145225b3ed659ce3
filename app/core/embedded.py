"""The embedded PostgreSQL: one cluster for each data folder, shared by all the commands that name it.

Every user of a data folder holds a shared lock on `users.lock` for as long as it lives; the kernel takes it back from a
user that is killed. Starting and stopping happen under an exclusive lock on `control.lock`, so any number may come and
go at once. The last to leave stops the server. While somebody is there, a server that dies is started again on the
same port, and the pools of its clients reconnect by themselves.
"""

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from app.core.cluster import ROLE, Cluster
from app.core.postgres_programs import EmbeddedPostgresError, programs
from app.core.postmaster import PATIENCE_SECONDS, Postmaster, try_lock

if sys.platform != "win32":
    import fcntl

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "client_program", "running"]

WATCH_SECONDS = 0.25

log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """One user's hold on the embedded PostgreSQL of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        """Name the data folder; it is made at `start`."""
        self._folder = data_dir.absolute() / "postgres"
        self._postmaster: Postmaster | None = None
        self._users = -1
        self._leaving = threading.Event()
        self._wake = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start or join the server and return the URL of the service's database.

        Blocks until the server answers: about a second the first time, a third of one later, at once if it runs.

        Raises:
            EmbeddedPostgresError: it cannot be started; the message says what to do.
        """
        if self._postmaster is not None:
            return self.url()
        if sys.platform == "win32":
            raise EmbeddedPostgresError(
                "The embedded PostgreSQL needs a POSIX system. Name a PostgreSQL server with SENTINEL_DATABASE_URL."
            )
        self._leaving.clear()
        cluster = Cluster(self._folder)
        postmaster = Postmaster(cluster, on_exit=self._wake.set)
        try:
            with self._control(postmaster):
                self._users = cluster.open_lock("users.lock")
                alone = try_lock(self._users, fcntl.LOCK_EX)
                if not try_lock(self._users, fcntl.LOCK_SH):
                    raise EmbeddedPostgresError(f"{self._folder}/users.lock is held by another program.")
                cluster.ensure_created()
                postmaster.ensure_running(may_move=alone, leaving=self._leaving)
        except BaseException:
            self._let_go(postmaster)
            raise
        self._postmaster = postmaster
        self._watcher = threading.Thread(target=self._watch, args=(postmaster,), name="postgres-watcher", daemon=True)
        self._watcher.start()
        atexit.register(self.stop)
        return self.url()

    def stop(self) -> None:
        """Leave; the last user stops the server. Safe to call again."""
        postmaster, self._postmaster = self._postmaster, None
        if postmaster is None:
            return
        atexit.unregister(self.stop)
        self._leaving.set()
        self._wake.set()
        if self._watcher is not None:
            self._watcher.join()
        try:
            with self._control(postmaster):
                if try_lock(self._users, fcntl.LOCK_EX):
                    postmaster.stop()
        finally:
            self._let_go(postmaster)

    def erase(self) -> None:
        """Remove the cluster with all its data, wherever it lies. For databases made for one test or one trial.

        Raises:
            EmbeddedPostgresError: somebody uses it, this object included.
        """
        cluster = Cluster(self._folder)
        postmaster = Postmaster(cluster, on_exit=self._wake.set)
        try:
            with self._control(postmaster):
                self._users = cluster.open_lock("users.lock")
                if not try_lock(self._users, fcntl.LOCK_EX):
                    raise EmbeddedPostgresError(f"The database of {self._folder.parent} is in use.")
                postmaster.stop()
                cluster.erase()
        finally:
            self._let_go(postmaster)

    def url(self, database: str = ROLE) -> str:
        """Return `postgresql://sentinel:…@127.0.0.1:port/database`; the role may create databases.

        The database `postgres` is there to connect to while creating others.
        """
        if self._postmaster is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL is not started.")
        return self._postmaster.cluster.url(database)

    @contextmanager
    def _control(self, postmaster: Postmaster) -> Iterator[None]:
        """Hold the right to start and stop the server of this folder."""
        descriptor = postmaster.cluster.open_lock("control.lock")
        try:
            until = time.monotonic() + 2 * PATIENCE_SECONDS
            while not try_lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > until and not postmaster.is_on_its_way():
                    raise EmbeddedPostgresError(
                        f"Another command has been starting or stopping the database in {self._folder} for "
                        f"{2 * PATIENCE_SECONDS:.0f} s. End it and try again."
                    )
                time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)

    def _let_go(self, postmaster: Postmaster) -> None:
        if self._users >= 0:
            os.close(self._users)
            self._users = -1
        postmaster.close()

    def _watch(self, postmaster: Postmaster) -> None:
        """Start the server again when it has died; several users may notice, one of them acts."""
        while True:
            self._wake.wait(WATCH_SECONDS)  # the one who launched the server is woken by its end
            self._wake.clear()
            if self._leaving.is_set():
                return
            try:
                if not postmaster.alive():
                    self._revive(postmaster)
            except (EmbeddedPostgresError, OSError):
                log.exception("The embedded PostgreSQL has ended and does not start again; trying on")
                self._leaving.wait(1.0)

    def _revive(self, postmaster: Postmaster) -> None:
        began = time.monotonic()
        with self._control(postmaster):
            if postmaster.alive():  # somebody else was quicker
                return
            postmaster.ensure_running(may_move=False, leaving=self._leaving)
        log.warning("The embedded PostgreSQL had ended; it answers again after %.2f s", time.monotonic() - began)


@contextmanager
def running(data_dir: Path, *, erase: bool = False) -> Iterator[str]:
    """Run the embedded PostgreSQL of a data folder for the length of the block; gives the database's URL.

    Args:
        data_dir: the data folder; all that name the same one share one server.
        erase: remove the cluster at the end; for databases made for one test or one trial.

    Raises:
        EmbeddedPostgresError: it cannot be started; the message says what to do.
    """
    server = EmbeddedPostgres(data_dir)
    try:
        yield server.start()
    finally:
        server.stop()
        if erase:
            server.erase()


def client_program(name: str) -> Path:
    """Return one of PostgreSQL's client programs that come with the embedded server, such as `pg_dump` or `psql`."""
    return programs().folder / name
