"""One PostgreSQL cluster on disk: its folder, its record, how it is made.

The record is written last, so a cluster without one was never finished and is made anew. When root starts the service,
the cluster belongs to an account without privileges and lies in the data folder if that account can reach it there,
else in a private folder that the record names.
"""

import json
import os
import secrets
import shutil
import socket
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.core.postgres_programs import (
    SYNC_METHOD,
    Account,
    EmbeddedPostgresError,
    Programs,
    can_enter,
    choose_account,
    private_base,
    programs,
)

ROLE = "sentinel"
HOST = "127.0.0.1"
# Below every system's range for outgoing connections: there, a client that dials while the server is down can be given
# the server's own port and end up connected to itself, which keeps the server from coming back.
PORTS = range(15432, 29999)
# The same order and the same letters on every machine, whatever locales it has.
INITDB_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
INITDB_OPTIONS = ("--username=postgres", "--auth=reject", "--data-checksums", "--no-sync")
SINGLE_USER_OPTIONS = ("--exit_on_error=on", "--log_min_error_statement=panic", "--fsync=off")
LOG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Record:
    """What the data folder remembers of its cluster. Written last, so a cluster without it was never finished."""

    path: str  # relative to the record's folder when it is in it, so that the data folder can be moved
    password: str
    port: int


class Cluster:
    """The cluster that belongs to one folder."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be and read its record; no cluster is made.

        Args:
            folder: the folder of the cluster's record, locks and log.

        Raises:
            EmbeddedPostgresError: the folder cannot be used.
        """
        self.folder = folder
        self.log = folder / "server.log"
        self._record_path = folder / "cluster.json"
        self._make_folder()
        self._record = self._read_record()

    def open_lock(self, name: str) -> int:
        """Return a descriptor of a lock file in the folder, not inherited by other programs."""
        return self._open(self.folder / name, os.O_RDWR | os.O_CREAT)

    def open_log(self) -> int:
        """Return a descriptor that appends to the server's log; a log that has grown large is set aside first."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self._old_log)
        return self._open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def ensure_created(self) -> None:
        """Create the cluster unless the folder has one.

        Raises:
            EmbeddedPostgresError: the recorded cluster is gone or of another version, or it cannot be made.
        """
        self._record = self._read_record()
        if self._record is None:
            self._create()
            return
        self._remove_unfinished(self.data.parent, self.data.name.partition("-")[0])
        try:
            theirs = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError as error:
            raise EmbeddedPostgresError(
                f"The database that {self._record_path} names is gone: {self.data}. Put it back, or remove "
                f"{self.folder} to begin with an empty one."
            ) from error
        except OSError as error:
            raise _not_ours(self.data, error) from error
        ours = self.programs.version.partition(".")[0]
        if theirs != ours:
            raise EmbeddedPostgresError(
                f"The database in {self.data} was written by PostgreSQL {theirs}, this is PostgreSQL {ours}. Dump "
                "it with the old one, or name another folder with SENTINEL_DATA_DIR."
            )

    def url(self, database: str) -> str:
        """Return the URL of a database of this cluster, password included."""
        record = self._recorded()
        return f"postgresql://{ROLE}:{record.password}@{HOST}:{record.port}/{database}"

    @property
    def exists(self) -> bool:
        """Whether a cluster has been made here."""
        return self._record is not None

    @property
    def data(self) -> Path:
        """The folder of the cluster itself, which belongs to the account that the server runs as."""
        return (self.folder / self._recorded().path).resolve()

    @property
    def port(self) -> int:
        """The port that the server of this cluster listens on."""
        return self._recorded().port

    @property
    def programs(self) -> Programs:
        """PostgreSQL's programs, run as the account that the cluster belongs to."""
        owner = self.data.stat()
        return programs(Account(owner.st_uid, owner.st_gid) if _is_root() else None)

    def settle_port(self, *, may_move: bool) -> bool:
        """Return whether the recorded port can be used, after moving to a free one if that is allowed."""
        record = self._recorded()
        if _is_free(record.port):
            return True
        if may_move:
            self._write_record(replace(record, port=free_port()))
        return may_move

    def erase(self) -> None:
        """Remove the cluster, its record and its log; the server must be down."""
        if self._record is not None:
            self._remove_unfinished(self.data.parent, self.data.name.partition("-")[0])
            shutil.rmtree(self.data, ignore_errors=True)
        for path in (self._record_path, self.log, self._old_log):
            path.unlink(missing_ok=True)
        self._record = None

    @property
    def _old_log(self) -> Path:
        return self.log.with_suffix(".log.1")

    def _make_folder(self) -> None:
        """Make the data folder and ours in it, as the user of the data folder if we are root."""
        try:
            # Searchable, so that an unprivileged server can reach its cluster in it; not listable.
            self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
            try:
                self.folder.mkdir(mode=0o711)
            except FileExistsError:
                return
            self._give(self.folder)
        except OSError as error:
            raise _not_ours(self.folder, error) from error

    def _give(self, path: int | Path) -> None:
        """Let the owner of the data folder own what root makes in it, so that both can use it."""
        if _is_root():
            owner = self.folder.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)

    def _open(self, path: Path, flags: int) -> int:
        try:
            descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._give(descriptor)
        except OSError as error:
            raise _not_ours(path, error) from error
        return descriptor

    def _read_record(self) -> Record | None:
        try:
            return Record(**json.loads(self._record_path.read_text()))
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise EmbeddedPostgresError(f"{self._record_path} is damaged. Restore it from a backup.") from error
        except OSError as error:
            raise _not_ours(self._record_path, error) from error

    def _write_record(self, record: Record) -> None:
        fresh = self._record_path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with open(self._open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._record_path)
        self._record = record

    def _recorded(self) -> Record:
        if self._record is None:
            raise EmbeddedPostgresError(f"There is no database in {self.folder} yet; start it first.")
        return self._record

    def _remove_unfinished(self, base: Path, name: str) -> None:
        """Remove what attempts that were killed left; a program of theirs may write for a moment more."""
        for left in base.glob(f"{name}.building-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _create(self) -> None:
        """Make the cluster beside its final name."""
        account = choose_account(self.folder.parent) if _is_root() else None
        if account is None or can_enter(self.folder, account):
            base, name = self.folder, "database"
        else:
            base, name = private_base(self.folder.resolve())
        self._remove_unfinished(base, name)
        building = base / f"{name}.building-{secrets.token_hex(4)}"
        building.mkdir(mode=0o700)
        if account is not None:
            os.chown(building, account.uid, account.gid)
        password = secrets.token_urlsafe(24)
        program = programs(account)
        program.run("initdb", [f"--pgdata={building}", *INITDB_OPTIONS, *INITDB_LOCALE])
        # The superuser has no password and no line here: nobody can log in as it. The role of this service can, from
        # this machine alone.
        (building / "pg_hba.conf").write_text(f"host all {ROLE} {HOST}/32 scram-sha-256\n")
        # The single-user server takes its statements from standard input: the password is in no argument list.
        program.run(
            "postgres",
            ["--single", "-D", str(building), *SINGLE_USER_OPTIONS, "postgres"],
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}';\nCREATE DATABASE {ROLE} OWNER {ROLE};\n",
        )
        # Nothing was waited for until here; now all of it is brought to disk, and only then recorded.
        program.run("initdb", [f"--pgdata={building}", "--sync-only", f"--sync-method={SYNC_METHOD}"])
        final = base / (name if base == self.folder else f"{name}-{secrets.token_hex(4)}")
        if final.exists():  # made by an attempt that was killed before it could record it
            shutil.rmtree(final)
        building.rename(final)
        path = name if base == self.folder else str(final)
        self._write_record(Record(path=path, password=password, port=free_port()))


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _not_ours(path: Path, error: OSError) -> EmbeddedPostgresError:
    return EmbeddedPostgresError(
        f"The data folder cannot be used: {error.strerror}: {path}. Name one that this user can write with "
        "SENTINEL_DATA_DIR, or a PostgreSQL server with SENTINEL_DATABASE_URL."
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of `PORTS` on which nobody listens."""
    for _ in range(200):
        port = secrets.choice(PORTS)
        if _is_free(port):
            return port
    raise EmbeddedPostgresError(f"No free port found between {PORTS.start} and {PORTS.stop} on {HOST}.")
