"""Sends what waits, a batch at a time, and writes down the answers.

Nothing that goes wrong on the way loses or doubles a row: without an answer it stays, and what is sent again the service knows by
its reference. What one row does to the service (it cannot be handled, it breaks the batch) is narrowed down to that row.
"""

import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from enum import Enum

from app.client.answers import Problem, RowResult, Unavailable, UnexpectedAnswer
from app.client.client import Client
from app.till.spool import Pending, Refused, Spool

MOST_ROWS = 1_000
MOST_BYTES = 8 * 1024 * 1024
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 300.0
_LONGEST_ASKED_SECONDS = 3600.0
_PATIENCE = 3
"""Attempts that may fail before a row that is alone in its batch is held to be the cause."""
CHINA = timezone(timedelta(hours=8))

_ABOUT_THE_ROWS = {"malformed_body", "body_too_large", "invalid_request"}
"""Codes with which a whole batch is refused because of something in it; any other says that no batch would be taken."""
_PASSING = {"internal_error", "database_unavailable", "try_again"}
"""Codes of a row that could not be handled at that moment."""

log = logging.getLogger("sentinel.till")


class TokenUnreadable(Exception):
    """There is no token, or what is there is none."""


class Went(Enum):
    """How a look at the spool went."""

    SENT = "sent"
    """A batch was answered; there may be more."""
    IDLE = "idle"
    """Nothing is due."""
    HELD = "held"
    """The service cannot be reached, or would not have it; `wait_seconds` says when to try again."""


class Sender:
    """Sends the rows of one spool with one client."""

    def __init__(
        self, client: Client, spool: Spool, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        """`client` should try once: the waiting is done here, where it can be interrupted and is shown."""
        self._client = client
        self._spool = spool
        self._now = now
        self._monotonic = monotonic
        self._chance = random.SystemRandom().random
        self._size = MOST_ROWS
        self._not_before = 0.0
        self.failures = 0
        """Attempts in a row without an answer that counts."""

    def wait_seconds(self) -> float:
        """Return how long not to send."""
        return max(0.0, self._not_before - self._monotonic())

    def send(self) -> Went:
        """Send one batch, if any row is due and it is time."""
        if self.wait_seconds() > 0:
            return Went.HELD
        batch = self._spool.next_batch(self._size, MOST_BYTES, self._now())
        if not batch:
            return Went.IDLE
        try:
            results = self._client.register_batch(row.body for row in batch)
        except Problem as problem:
            return self._refused_whole(batch, problem)
        except Unavailable as error:
            return self._unanswered(batch, error)
        except UnexpectedAnswer:
            return self._hold("unexpected_answer", None)
        except TokenUnreadable:
            return self._hold("token_unreadable", None)
        self._settle(batch, results)
        self.failures = 0
        self._size = min(MOST_ROWS, self._size * 2)
        return Went.SENT

    def _settle(self, batch: Sequence[Pending], results: Sequence[RowResult]) -> None:
        done: dict[str, list[int]] = {}
        refused: list[Refused] = []
        put_off: list[int] = []
        for row, result in zip(batch, results, strict=True):
            if result.id is not None or result.status == "not_required":
                # What need not be registered may not be kept either, here no more than there.
                done.setdefault(result.status, []).append(row.seq)
            elif any(error.code in _PASSING for error in result.errors):
                put_off.append(row.seq)
            else:
                errors = [asdict(error) for error in result.errors]
                refused.append(Refused(row.seq, result.status, _as_text(errors)))
        now = self._now()
        self._spool.settle(done, refused, put_off, now, now.astimezone(CHINA).date())
        counts = {status: len(rows) for status, rows in done.items()}
        log.info(
            "batch answered: %s",
            ", ".join(f"{what} {count}" for what, count in (counts | {"refused": len(refused)}).items() if count)
            + (f", put off {len(put_off)}" if put_off else ""),
        )

    def _refused_whole(self, batch: Sequence[Pending], problem: Problem) -> Went:
        if problem.code not in _ABOUT_THE_ROWS:
            return self._hold(problem.code, None)
        if len(batch) > 1:
            self._size = len(batch) // 2
            return Went.SENT
        errors = [asdict(error) for error in problem.errors] or [
            {"pointer": "", "code": problem.code, "detail": problem.detail or problem.title}
        ]
        now = self._now()
        refused = [Refused(batch[0].seq, "invalid", _as_text(errors))]
        self._spool.settle({}, refused, (), now, now.astimezone(CHINA).date())
        return Went.SENT

    def _unanswered(self, batch: Sequence[Pending], error: Unavailable) -> Went:
        if error.code in ("internal_error", "ReadTimeout"):  # perhaps one row's fault, or too many for a slow line
            self._size = max(1, len(batch) // 2)
            if len(batch) == 1 and self.failures >= _PATIENCE:
                self._spool.put_off(batch[0].seq, self._now())
        return self._hold(error.code, error.retry_after)

    def _hold(self, code: str, asked: float | None) -> Went:
        if not (code.isascii() and code.isidentifier() and len(code) <= 64):
            code = "unexpected_answer"  # whoever sits between us and the service writes nothing into the log
        self.failures += 1
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(self.failures - 1, 10))
        wait = longest * (0.5 + self._chance() / 2)
        if asked is not None:
            wait = max(wait, min(asked, _LONGEST_ASKED_SECONDS) * (1 + self._chance() / 10))
        self._not_before = self._monotonic() + wait
        self._spool.note_trouble(code, self._now())
        log.warning("not sent: %s; again in %.0f s", code, wait)
        return Went.HELD


def _as_text(errors: Sequence[dict[str, str]]) -> str:
    return json.dumps({"errors": list(errors)}, ensure_ascii=False)
