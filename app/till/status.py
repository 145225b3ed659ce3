"""How a till stands, read from its spool while it works: what waits, what was refused and why, when the service last answered.

Holds no identity: references, files, lines, codes. The rows themselves are in the day's list of refused rows.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from app.till.folder import Folder

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused row: where it came from and what the service has against it."""

    day: str
    file: str
    line: int
    reference: str | None
    status: str
    errors: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Status:
    """How a till stands. Days and counts cover what the till still remembers (as long as refused rows are kept)."""

    is_running: bool
    waiting_files: int
    """Dropped, and not yet taken in."""
    pending_rows: int
    put_off_rows: int
    """Among them those that the service could not handle at the first attempt."""
    last_contact_at: str | None
    trouble: str | None
    """What stands between the till and the service, if the last attempt failed."""
    trouble_at: str | None
    days: dict[str, dict[str, int]]
    refused_rows: int
    refusals: list[Refusal]
    """The latest of them."""

    def as_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    def lines(self) -> Iterator[str]:
        """Yield it as lines for people."""
        yield f"running        {'yes' if self.is_running else 'no'}"
        yield f"to be taken in {self.waiting_files} files"
        yield f"pending        {self.pending_rows} rows" + (
            f", {self.put_off_rows} of them put off" if self.put_off_rows else ""
        )
        yield f"last contact   {self.last_contact_at or 'never'}"
        if self.trouble:
            yield f"not sent       {self.trouble} ({_ADVICE.get(self.trouble, 'it is tried again')}), since {self.trouble_at}"
        for day, counts in sorted(self.days.items(), reverse=True)[:7]:
            yield f"{day}     " + ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))
        if self.refused_rows:
            yield f"refused        {self.refused_rows} rows, in refused/; correct them and drop them again"
        for one in self.refusals:
            reasons = "; ".join(f"{error['pointer'] or '/'} {error['code']}" for error in one.errors)
            yield f"  {one.day} {one.file}:{one.line} {one.reference or '-'} {one.status}: {reasons}"
        if self.refused_rows > len(self.refusals):
            yield f"  … and {self.refused_rows - len(self.refusals)} more"


_ADVICE: Mapping[str, str] = {
    "unauthenticated": "the token is unknown, expired or revoked; ask the official for another",
    "forbidden": "this token is not a pharmacy's",
    "token_unreadable": "the token file is missing or holds no token",
    "unexpected_answer": "somebody else answers at this address: look at the URL and the network's login page",
    "ConnectError": "no connection; it is tried again",
    "ConnectTimeout": "no connection; it is tried again",
}


def read_status(folder: Folder, *, is_running: bool) -> Status:
    """Read how a till stands.

    Raises:
        sqlite3.OperationalError: no till has worked here.
    """
    with closing(sqlite3.connect(f"{folder.spool.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        notes = dict(db.execute("SELECT name, value FROM notes WHERE name <> 'secret'").fetchall())
        days: dict[str, dict[str, int]] = {}
        for day, what, number in db.execute("SELECT day, what, number FROM counts"):
            days.setdefault(day, {})[what] = number
        latest = db.execute(
            "SELECT day, name, line, reference, status, reasons FROM refusals ORDER BY seq DESC LIMIT ?", (MOST_SHOWN,)
        )
        return Status(
            is_running=is_running,
            waiting_files=sum(1 for _ in folder.dropped()),
            pending_rows=_number(db, "SELECT count(*) FROM rows"),
            put_off_rows=_number(db, "SELECT count(*) FROM rows WHERE tries > 0"),
            last_contact_at=notes.get("contact_at"),
            trouble=notes.get("trouble"),
            trouble_at=notes.get("trouble_at"),
            days=days,
            refused_rows=_number(db, "SELECT count(*) FROM refusals"),
            refusals=[
                Refusal(day, name, line, reference, outcome, json.loads(reasons)["errors"])
                for day, name, line, reference, outcome, reasons in latest
            ],
        )


def _number(db: sqlite3.Connection, query: str) -> int:
    row: tuple[Any, ...] = db.execute(query).fetchone()
    return int(row[0])
