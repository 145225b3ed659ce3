"""The folder in which a POS and the till meet.

FOLDER/*.jsonl *.ndjson *.json *.csv    dropped by the POS, best under another name first and then renamed
FOLDER/sent/2026-02-15/                 files of which every row was answered, by the day on which the last one was
FOLDER/refused/2026-02-15.jsonl         rows that the service refused that day, with the reasons
FOLDER/refused/2026-02-15/              files of which something could not be read at all
FOLDER/.till/                           the spool, and files that are being worked off
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

LINES = (".jsonl", ".ndjson")
SUFFIXES = (*LINES, ".json", ".csv")
UNFINISHED_FACTOR = 5
"""A file that does not look finished has to be still for so many times longer."""
_LONGEST_NAME = 50  # characters: up to 200 bytes of 255, and the claim's mark comes before it
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(\.jsonl)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mark:
    """By what a change of a file is seen."""

    size: int
    changed_ns: int

    @staticmethod
    def of(path: Path) -> "Mark":
        """Return the mark of a file as it is now."""
        found = path.stat()
        return Mark(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A file that was taken out of the POS's reach: under which name it is kept, and which it had."""

    path: Path
    name: str


class Folder:
    """The folder's places; makes those that are missing, readable by this user alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / ".till"
        self.taken = self.state / "taken"
        self.sent = root / "sent"
        self.refused = root / "refused"
        self.spool = self.state / "spool.sqlite3"
        self.lock = self.state / "lock.sqlite3"

    def prepare(self) -> None:
        """Make the places.

        Raises:
            OSError: the folder is not there or may not be written to.
        """
        for place in (self.state, self.taken, self.sent, self.refused):
            place.mkdir(mode=0o700, exist_ok=True)

    def dropped(self) -> Iterator[Path]:
        """Yield the files that are offered, by name. Hidden ones, links and other endings are left alone."""
        with os.scandir(self.root) as entries:
            found = [
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith((".", "~"))
                and entry.name.lower().endswith(SUFFIXES)
                and entry.is_file(follow_symlinks=False)
            ]
        yield from sorted(found)

    def claim(self, path: Path) -> Claimed:
        """Take a file out of the POS's reach by renaming it. What the POS writes under the old name is another file.

        Raises:
            OSError: somebody holds it open (Windows), or took it away.
        """
        place = self.taken / f"{secrets.token_hex(8)}-{path.name[-_LONGEST_NAME:]}"
        path.rename(place)
        with suppress(OSError):  # a POS of another user may keep its file readable
            place.chmod(0o600)
        _sync(self.taken)
        return Claimed(place, path.name)

    def claimed(self) -> Iterator[Claimed]:
        """Yield the files that are being worked off, the oldest first."""
        found = [(path.stat().st_mtime_ns, path) for path in self.taken.iterdir() if path.is_file()]
        for _, path in sorted(found):
            yield Claimed(path, path.name.partition("-")[2])

    def put_away(self, claimed: Claimed, day: date, *, readable: bool) -> None:
        """Move a file of which every row was answered to `sent`, or to `refused` if something in it could not be read."""
        place = (self.sent if readable else self.refused) / day.isoformat()
        place.mkdir(mode=0o700, exist_ok=True)
        target = place / claimed.name[-_LONGEST_NAME:]
        if target.exists():
            target = place / claimed.path.name
        claimed.path.rename(target)
        _sync(place)

    def refused_file(self, day: date) -> Path:
        """Return where the rows refused on a day are listed."""
        return self.refused / f"{day.isoformat()}.jsonl"

    def list_refused(self, day: date, rows: Sequence[Mapping[str, Any]], *, again: bool) -> None:
        """Append rows to a day's list and make sure that they are on the disk.

        Args:
            rows: each with its `_refused`, which holds an `id`.
            again: a run before this one may have written them already; those that are there are not written twice.
        """
        path = self.refused_file(day)
        known = _ids_in(path) if again else set()
        lines = [
            json.dumps(row, ensure_ascii=False, separators=(",", ":"))
            for row in rows
            if row["_refused"]["id"] not in known
        ]
        if not lines:
            return
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with open(handle, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            broken = b"" if file.read(1) in (b"", b"\n") else b"\n"  # a power cut may have left half a line
            file.write(broken + "\n".join(lines).encode("utf-8", "backslashreplace") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync(self.refused)

    def clear(self, today: date, *, sent_days: int, refused_days: int) -> int:
        """Delete what has been kept for longer than so many days; return how many days' worth went."""
        gone = 0
        for place, days in ((self.sent, sent_days), (self.refused, refused_days)):
            for path in sorted(place.iterdir()):
                written = _DAY.fullmatch(path.name)
                if written is None or not _is_before(written[1], today - timedelta(days=days)):
                    continue
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                gone += 1
        return gone


class Watch:
    """Tells which files are complete: those that have not changed for a while under our eyes, whatever any clock says."""

    def __init__(self, settle_seconds: float) -> None:
        self.settle_seconds = settle_seconds
        self._seen: dict[Path, tuple[Mark, float]] = {}

    def complete(self, paths: Iterable[Path], monotonic: float) -> list[Path]:
        """Return the files that may be taken; remember the others for the next look."""
        seen: dict[Path, tuple[Mark, float]] = {}
        ready = []
        for path in paths:
            with suppress(OSError):  # taken away again, or not ours to read
                mark = Mark.of(path)
                known = self._seen.get(path)
                since = known[1] if known is not None and known[0] == mark else monotonic
                seen[path] = (mark, since)
                quiet = monotonic - since
                if quiet >= self.settle_seconds and (
                    looks_finished(path) or quiet >= UNFINISHED_FACTOR * self.settle_seconds
                ):
                    ready.append(path)
        self._seen = seen
        return ready


def looks_finished(path: Path) -> bool:
    """Say whether a file ends as one of its kind does: a line with a line's end, JSON with a closing bracket.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 64, 0))
        tail = file.read(64)
    if path.suffix.lower() == ".json":
        return tail.rstrip().endswith((b"]", b"}"))
    return tail.endswith((b"\n", b"\r"))


def _ids_in(path: Path) -> set[str]:
    found = set()
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                found.add(json.loads(line)["_refused"]["id"])
    return found


def _is_before(day: str, limit: date) -> bool:
    with suppress(ValueError):
        return date.fromisoformat(day) < limit
    return False


def _sync(folder: Path) -> None:
    # Names reach the disk with their folder. Windows opens no folders; there a rename is the file system's own business.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
