"""The spool: what was taken in and is not yet answered, in SQLite, on the disk before anything else happens.

Write-ahead log with `synchronous=FULL`: a commit that returned survives a power cut. Identities lie in it until the service has
answered, so the file is readable by its user alone, what is deleted is overwritten (`secure_delete`), and the log is cut
whenever nothing is left to send.
"""

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from app.till.folder import Mark
from app.till.reading import Numbering, Row, Unread, encoded

VERSION = 1
_CHUNK = 500
_CLOCK_SLACK_SECONDS = 2 * 3600.0
"""A row set aside for longer than this was set aside by a clock that has been put right since."""

_TABLES = """
CREATE TABLE notes (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kept TEXT NOT NULL UNIQUE, name TEXT NOT NULL, size INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL, readable INTEGER NOT NULL
);
CREATE TABLE rows (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, line INTEGER NOT NULL, reference TEXT NOT NULL,
    digest BLOB NOT NULL, body BLOB NOT NULL, tries INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0,
    UNIQUE (reference, digest)
);
CREATE INDEX rows_by_file ON rows (file);
CREATE TABLE refusals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, day TEXT NOT NULL, at TEXT NOT NULL, name TEXT NOT NULL, line INTEGER NOT NULL,
    reference TEXT, status TEXT NOT NULL, reasons TEXT NOT NULL, body BLOB, listed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX refusals_unlisted ON refusals (seq) WHERE NOT listed;
CREATE TABLE counts (day TEXT, what TEXT, number INTEGER NOT NULL, PRIMARY KEY (day, what)) WITHOUT ROWID;
"""


class SpoolInUse(Exception):
    """Another till works in this folder."""


@dataclass(frozen=True, slots=True, repr=False)
class Pending:
    """A row that waits to be sent."""

    seq: int
    body: bytes
    tries: int


@dataclass(frozen=True, slots=True)
class Refused:
    """What the service has against a row: its status and its findings, as JSON."""

    seq: int
    status: str
    reasons: str


@dataclass(frozen=True, slots=True, repr=False)
class Refusal:
    """A refused row, to be listed."""

    seq: int
    day: date
    at: str
    name: str
    line: int
    status: str
    reasons: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class File:
    """A file that was taken in: under which name it is kept, and which it had."""

    id: int
    kept: str
    name: str
    mark: Mark
    readable: bool


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the folder for this process; the hold ends with the process, however it ends.

    Raises:
        SpoolInUse: another process holds it.
    """
    # SQLite's own lock, because it is one on every system.
    connection = sqlite3.connect(path, timeout=1, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise SpoolInUse from None
        yield
    finally:
        connection.close()


def is_held(path: Path) -> bool:
    """Say whether a process holds the folder; does not disturb it."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            return True
    return False


class Spool:
    """The spool of one folder."""

    def __init__(self, path: Path) -> None:
        """Open it; make it if it is not there."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its other files the same mode
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        for pragma in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}").close()
        with self._transaction():
            if self._one("PRAGMA user_version") == 0:
                for statement in _TABLES.split(";"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO notes VALUES ('secret', ?)", (secrets.token_bytes(32),))
                self._db.execute(f"PRAGMA user_version={VERSION}")
        self.secret = bytes(self._one("SELECT value FROM notes WHERE name = 'secret'"))
        self.mark = hashlib.sha256(b"till/" + self.secret).hexdigest()[:6]

    def close(self) -> None:
        """Close it."""
        self._db.close()

    def take_in(self, kept: str, name: str, mark: Mark, found: Iterable[Row | Unread], now: datetime, day: date) -> int:
        """Keep all that stands in a file, or nothing of it; return how many rows are new. What waits already is not kept twice."""
        numbering = Numbering(self.secret)
        before = self.pending()
        with self._transaction():
            self._db.execute(  # known already if it has grown since; its rows keep their file
                "INSERT INTO files (kept, name, size, changed_ns, readable) VALUES (?, ?, ?, ?, 1)"
                " ON CONFLICT (kept) DO UPDATE SET size = excluded.size, changed_ns = excluded.changed_ns",
                (kept, name, mark.size, mark.changed_ns),
            )
            [file] = self._db.execute("SELECT id FROM files WHERE kept = ?", (kept,)).fetchone()
            rows: list[tuple[int, int, str, bytes, bytes]] = []
            for entry in found:
                if isinstance(entry, Unread):
                    self._note_unread(file, name, entry, now, day)
                    continue
                reference = numbering.reference(entry.body)
                if entry.body.get("client_reference") in (None, ""):
                    entry.body["client_reference"] = reference
                body = encoded(entry.body)
                rows.append((file, entry.line, reference, hashlib.sha256(body).digest()[:16], body))
                if len(rows) == _CHUNK:
                    self._insert(rows)
            self._insert(rows)
            self._count(day, "files", 1)
        return self.pending() - before

    def knows(self, kept: str) -> Mark | None:
        """Return the mark that a file had when it was taken in; None if it was not."""
        row = self._db.execute("SELECT size, changed_ns FROM files WHERE kept = ?", (kept,)).fetchone()
        return None if row is None else Mark(*row)

    def next_batch(self, most_rows: int, most_bytes: int, now: datetime) -> list[Pending]:
        """Return the rows that are due, in the order in which they came; at least one if any is."""
        moment = now.timestamp()
        batch: list[Pending] = []
        size = 0
        for row in self._db.execute(
            "SELECT seq, body, tries FROM rows WHERE due <= ? OR due > ? ORDER BY seq LIMIT ?",
            (moment, moment + _CLOCK_SLACK_SECONDS, most_rows),
        ):
            size += len(row[1])
            if batch and size > most_bytes:
                break
            batch.append(Pending(*row))
        return batch

    def settle(
        self,
        done: Mapping[str, Sequence[int]],
        refused: Sequence[Refused],
        put_off: Sequence[int],
        now: datetime,
        day: date,
    ) -> None:
        """Write down what became of rows that were sent.

        Args:
            done: rows that the service keeps, or must not keep, by its word for it; nothing of them is kept here.
            refused: rows that wait to be listed, with the reasons.
            put_off: rows that could not be handled now.
        """
        with self._transaction():
            for what, rows in done.items():
                self._db.executemany("DELETE FROM rows WHERE seq = ?", [(seq,) for seq in rows])
                self._count(day, what, len(rows))
            for one in refused:
                self._db.execute(
                    "INSERT INTO refusals (day, at, name, line, reference, status, reasons, body)"
                    " SELECT ?, ?, coalesce((SELECT name FROM files WHERE id = file), ''), line, reference, ?, ?, body"
                    " FROM rows WHERE seq = ?",
                    (day.isoformat(), now.isoformat(), one.status, one.reasons, one.seq),
                )
                self._db.execute("DELETE FROM rows WHERE seq = ?", (one.seq,))
            self._count(day, "refused", len(refused))
            for seq in put_off:
                self._put_off(seq, now)
            self._db.execute("DELETE FROM notes WHERE name IN ('trouble', 'trouble_at')")
            self._db.execute("INSERT OR REPLACE INTO notes VALUES ('contact_at', ?)", (now.isoformat(),))

    def put_off(self, seq: int, now: datetime) -> None:
        """Set a row aside for a while (30 s, doubling up to an hour), so that it does not hold up the others."""
        with self._transaction():
            self._put_off(seq, now)

    def note_trouble(self, code: str, now: datetime) -> None:
        """Remember what stands between this till and the service, for `status`."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO notes VALUES (?, ?)", [("trouble", code), ("trouble_at", now.isoformat())]
            )

    def unlisted(self) -> list[Refusal]:
        """Return refused rows that are not yet in a day's list, at most a thousand."""
        found = self._db.execute(
            "SELECT seq, day, at, name, line, status, reasons, body FROM refusals WHERE NOT listed ORDER BY seq LIMIT 1000"
        )
        return [Refusal(seq, date.fromisoformat(day), *rest) for seq, day, *rest in found]

    def note_listed(self, refusals: Sequence[Refusal]) -> None:
        """Forget the content of refused rows that are on the disk in a day's list."""
        with self._transaction():
            self._db.executemany(
                "UPDATE refusals SET listed = 1, body = NULL WHERE seq = ?", [(refusal.seq,) for refusal in refusals]
            )

    def finished(self) -> list[File]:
        """Return files of which no row waits any more."""
        found = self._db.execute(
            "SELECT id, kept, name, size, changed_ns, readable FROM files"
            " WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.file = files.id) ORDER BY id"
        )
        return [File(row[0], row[1], row[2], Mark(row[3], row[4]), bool(row[5])) for row in found]

    def forget_file(self, file: File) -> None:
        """Forget a file that was put away."""
        with self._transaction():
            self._db.execute("DELETE FROM files WHERE id = ?", (file.id,))

    def pending(self) -> int:
        """Return how many rows wait."""
        return int(self._one("SELECT count(*) FROM rows"))

    def refused_rows(self) -> int:
        """Return how many rows, and places of files, were refused ever since the till began here."""
        return int(self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'refusals'"))

    def clear(self, before: date) -> None:
        """Forget counts and refusals (which hold no identity any more) of days gone by; give space back when nothing waits."""
        with self._transaction():
            self._db.execute("DELETE FROM refusals WHERE listed AND day < ?", (before.isoformat(),))
            self._db.execute("DELETE FROM counts WHERE day < ?", (before.isoformat(),))
        self.tidy()

    def tidy(self) -> None:
        """If nothing waits, empty the log and give space back, so that nothing of what was deleted is left on the disk."""
        if self._one("SELECT NOT EXISTS (SELECT 1 FROM rows)"):
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _note_unread(self, file: int, name: str, entry: Unread, now: datetime, day: date) -> None:
        self._db.execute("UPDATE files SET readable = 0 WHERE id = ?", (file,))
        body = None if entry.text is None else encoded({"_line": entry.text})
        reasons = encoded({"errors": [{"pointer": "", "code": entry.code, "detail": entry.detail}]}).decode()
        self._db.execute(
            "INSERT INTO refusals (day, at, name, line, status, reasons, body) VALUES (?, ?, ?, ?, 'unreadable', ?, ?)",
            (day.isoformat(), now.isoformat(), name, entry.line, reasons, body),
        )
        self._count(day, "unreadable", 1)

    def _insert(self, rows: list[tuple[int, int, str, bytes, bytes]]) -> None:
        self._db.executemany(
            "INSERT INTO rows (file, line, reference, digest, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows
        )
        rows.clear()

    def _put_off(self, seq: int, now: datetime) -> None:
        self._db.execute(
            "UPDATE rows SET tries = tries + 1, due = ? + min(30 * (1 << min(tries, 7)), 3600) WHERE seq = ?",
            (now.timestamp(), seq),
        )

    def _count(self, day: date, what: str, number: int) -> None:
        if number:
            self._db.execute(
                "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
                (day.isoformat(), what, number),
            )

    def _one(self, query: str) -> Any:
        return self._db.execute(query).fetchone()[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
