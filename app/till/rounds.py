"""The round of a till: look what was dropped, take it in, send, list what was refused, put away what is done."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from app.till.folder import UNFINISHED_FACTOR, Claimed, Folder, Mark, Watch
from app.till.reading import read
from app.till.sender import CHINA, Sender, Went
from app.till.spool import Refusal, Spool

CLEAR_SECONDS = 3600.0
PATIENCE = 5
"""How many attempts in a row `until_done` lets fail."""

log = logging.getLogger("sentinel.till")


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how many days files are kept that were sent, and rows and files that were refused."""

    sent_days: int = 7
    refused_days: int = 35


class Till:
    """One till at work in one folder, which it holds alone."""

    def __init__(
        self,
        folder: Folder,
        spool: Spool,
        sender: Sender,
        watch: Watch,
        keeping: Keeping,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._spool = spool
        self._sender = sender
        self._watch = watch
        self._keeping = keeping
        self._now = now
        self._monotonic = monotonic
        self._clear_at = monotonic()
        self._unsure = True  # whether refused rows were listed before this run, or its last attempt, was cut off
        self._behind = False

    def recover(self) -> None:
        """Finish what an earlier run was cut off in: files that were claimed and perhaps not read, rows perhaps not listed."""
        self._take_in(self._folder.claimed())
        self._list_refused()
        self._put_away()

    def look(self) -> None:
        """Take in every file that is complete."""
        if self._behind:
            self._behind = False
            self._take_in(self._folder.claimed())
        for path in self._watch.complete(self._folder.dropped(), self._monotonic()):
            with suppress(OSError):  # held open, or taken away again: the next round sees
                claimed = self._folder.claim(path)
                self._take_in([claimed])

    def go(self) -> float:
        """Make one round; return after how many seconds sending may be worth another (the folder is for the caller to judge)."""
        self.look()
        went = Went.IDLE
        while (went := self._sender.send()) is Went.SENT:
            self._list_refused()
            self._put_away()
            self.look()
        self._list_refused()
        self._put_away()
        if self._monotonic() >= self._clear_at:
            self._clear()
        return self._sender.wait_seconds() if went is Went.HELD else 0.0

    def until_done(self, pause: Callable[[float], None]) -> bool:
        """Make rounds until nothing waits any more; return False if something does, and cannot be sent or read now."""
        for settle in (self._watch.settle_seconds, UNFINISHED_FACTOR * self._watch.settle_seconds):
            self.look()
            if any(self._folder.dropped()):
                pause(settle)
        while True:
            wait = self.go()
            if not self._spool.next_batch(1, 1, self._now()):
                return not (self._spool.pending() or self._behind or any(self._folder.dropped()))
            if self._sender.failures >= PATIENCE:
                return False
            pause(wait)

    def _take_in(self, files: Iterable[Claimed]) -> None:
        for claimed in files:
            if self._spool.knows(claimed.path.name) is None:
                self._read(claimed)

    def _read(self, claimed: Claimed) -> None:
        now = self._now()
        try:
            mark = Mark.of(claimed.path)
            found = read(claimed.path, claimed.name)
            rows = self._spool.take_in(claimed.path.name, claimed.name, mark, found, now, _day(now))
        except (OSError, UnicodeDecodeError, sqlite3.OperationalError) as error:
            # The disk is full, or somebody is still writing. The file stays claimed; the next round reads it.
            self._behind = True
            log.error("a file could not be taken in: %s", type(error).__name__)
        else:
            log.info("file taken in, rows %d", rows)

    def _list_refused(self) -> None:
        while refusals := self._spool.unlisted():
            again, self._unsure = self._unsure, True
            for day, those in groupby(refusals, lambda refusal: refusal.day):
                self._folder.list_refused(day, [self._told(refusal) for refusal in those], again=again)
            self._spool.note_listed(refusals)
            self._unsure = False

    def _told(self, refusal: Refusal) -> dict[str, Any]:
        why = {
            "id": f"{self._spool.mark}-{refusal.seq}",
            "at": refusal.at,
            "file": refusal.name,
            "line": refusal.line,
            "status": refusal.status,
            **json.loads(refusal.reasons),
        }
        return {"_refused": why} | (json.loads(refusal.body) if refusal.body else {})

    def _put_away(self) -> None:
        files = self._spool.finished()
        for file in files:
            claimed = Claimed(self._folder.taken / file.kept, file.name)
            try:
                if Mark.of(claimed.path) != file.mark:
                    # Somebody went on writing to it. Read again: the rows that were there keep their references.
                    self._read(claimed)
                    continue
                self._folder.put_away(claimed, _day(self._now()), readable=file.readable)
            except FileNotFoundError:  # put away before the last run was cut off
                pass
            self._spool.forget_file(file)
        if files:
            self._spool.tidy()

    def _clear(self) -> None:
        today = _day(self._now())
        keep = self._keeping
        self._folder.clear(today, sent_days=keep.sent_days, refused_days=keep.refused_days)
        self._spool.clear(today - timedelta(days=keep.refused_days))
        self._clear_at = self._monotonic() + CLEAR_SECONDS


def _day(now: datetime) -> date:
    return now.astimezone(CHINA).date()
