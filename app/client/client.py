"""The client: a method for each thing that a till asks for, sent again while that may help."""

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from .answers import (
    Catalogue,
    Json,
    Problem,
    Questionnaires,
    Registered,
    Resolved,
    RowResult,
    Unavailable,
    UnexpectedAnswer,
    registered,
    resolved,
    row_results,
)
from .answers import catalogue as listed
from .answers import questionnaires as asked
from .purchases import Purchase

MAX_BATCH_ROWS = 10_000
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PASSING = {408, 425, 429}
"""Statuses below 500 that say: later."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is sent again, and how long is waited between; `longest_wait_seconds` bounds Retry-After too."""

    attempts: int = 5
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def wait(self, attempt: int, asked: float | None, chance: float) -> float | None:
        """Return the seconds to wait after an attempt (the first is 1), or None to give up.

        Between half and the whole of a time that doubles, so that tills which failed together come back apart; never
        less than the service asked for.
        """
        if attempt >= self.attempts or (asked or 0.0) > self.longest_wait_seconds:
            return None
        own = min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** (attempt - 1)) * (0.5 + chance / 2)
        return own if asked is None else max(own, asked * (1 + chance / 10))


class Client:
    """Speaks to the service over few connections that are kept open. One for a process; not for several threads at once."""

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        *,
        language: str = "zh",
        patience: Patience | None = None,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: where the service is; https, but for this machine itself.
            token: the till's key, or what gives it at each request (for one that is rotated).
            language: of the advice and of what is refused, `zh` or `en`.
            timeout_seconds: for connecting and for each wait on the network; a whole answer may take four times as long.

        Raises:
            ValueError: identities would travel in plain, or the URL is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("The URL must be like https://sentinel.example")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("Identities travel over https only (http is for this machine itself)")
        self._token = token if callable(token) else lambda: token
        self._language = language
        self._patience = patience or Patience()
        self._answer_seconds = 4 * timeout_seconds
        self._sleep = sleep
        self._chance = random.SystemRandom().random
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=4, keepalive_expiry=20.0),
            transport=transport,
            follow_redirects=False,
            trust_env=parts.hostname not in _LOOPBACK,  # a proxy for the way out is none to this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def register(self, purchase: Purchase | Json) -> Registered:
        """Register one purchase and learn what the clerk must do.

        Raises:
            Problem: it is not kept: `registration_not_required`, `client_reference_conflict`, `invalid_request` …
            Unavailable, UnexpectedAnswer: nobody knows; keep it and send it again.
        """
        answer = self._call("POST", "/v1/registrations", "application/json", _encoded(purchase))
        return answer.read(lambda body: registered(body, is_new=answer.status == 201), 200, 201)

    def register_batch(self, rows: Iterable[Purchase | Json | bytes]) -> Sequence[RowResult]:
        """Register up to 10,000 purchases at once; return one result per row, in order.

        Args:
            rows: purchases, or their JSON in one line of UTF-8 each.

        Raises:
            ValueError: there are none or too many, or a line is two.
            Problem: all of them were refused, such as for an unknown key.
            Unavailable, UnexpectedAnswer: nobody knows; send the whole again.
        """
        lines = [row if isinstance(row, bytes) else _encoded(row) for row in rows]
        if not 1 <= len(lines) <= MAX_BATCH_ROWS or not all(line.strip() and b"\n" not in line for line in lines):
            raise ValueError(f"A batch has 1 to {MAX_BATCH_ROWS} rows of one line each")
        answer = self._call("POST", "/v1/registrations/batch", "application/x-ndjson", b"\n".join(lines))
        return answer.read(lambda body: row_results(body, len(lines)), 200)

    def resolve(self, division: str, items: Sequence[Json], on: date | None = None) -> Sequence[Resolved]:
        """Say of up to 1,000 products (any of `gtin`, `approval_number`, `trace_codes`, `name`) which listed drug each is.

        Raises:
            Problem, Unavailable, UnexpectedAnswer
        """
        body = {"division": division, "on": on.isoformat() if on else None, "items": list(items)}
        answer = self._call("POST", "/v1/catalogue/resolve", "application/json", _encoded(body))
        return answer.read(lambda found: tuple(resolved(item) for item in found["items"]), 200)

    def catalogue(self, division: str, on: date | None = None, etag: str | None = None) -> Catalogue | None:
        """Return the listed drugs at a place on a day (today), or None if those that came with `etag` still hold.

        Raises:
            Problem, Unavailable, UnexpectedAnswer
        """
        return self._unless_held("/v1/catalogue", division, on, etag, listed)

    def questionnaires(self, division: str, on: date | None = None, etag: str | None = None) -> Questionnaires | None:
        """Return what to ask at a place on a day (today), or None if what came with `etag` still holds.

        Raises:
            Problem, Unavailable, UnexpectedAnswer
        """
        return self._unless_held("/v1/questionnaires", division, on, etag, asked)

    def _unless_held(
        self, path: str, division: str, on: date | None, etag: str | None, reader: Callable[[Any, str], T]
    ) -> T | None:
        params = {"division": division} | ({"on": on.isoformat()} if on else {})
        answer = self._call("GET", path, params=params, headers={"If-None-Match": etag} if etag else {})
        if answer.status == 304 and etag:
            return None
        return answer.read(lambda body: reader(body, answer.headers.get("etag", "")), 200)

    def _call(
        self,
        method: str,
        path: str,
        media_type: str | None = None,
        content: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "_Answer":
        sent = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json", **(headers or {})}
        sent["Accept-Language"] = self._language
        if media_type is not None:
            sent["Content-Type"] = media_type
        attempt = 1
        while True:
            try:
                request = self._http.build_request(method, path, content=content, params=params, headers=sent)
                answer = self._send(request)
                trouble = answer.trouble()
                if trouble is None:
                    return answer
            except httpx.RequestError as error:
                # Not chained: its request holds the token and the purchases.
                trouble = Unavailable(type(error).__name__)
            wait = self._patience.wait(attempt, trouble.retry_after, self._chance())
            if wait is None:
                raise trouble
            attempt += 1
            self._sleep(wait)

    def _send(self, request: httpx.Request) -> "_Answer":
        # Read in pieces: a timeout bounds each wait only, and somebody may send a byte a second for ever.
        until = time.monotonic() + self._answer_seconds
        body = bytearray()
        response = self._http.send(request, stream=True)
        try:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > MAX_ANSWER_BYTES or time.monotonic() > until:
                    raise httpx.ReadTimeout("too long", request=request)
        finally:
            response.close()
        return _Answer(response.status_code, response.headers, bytes(body))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes

    def trouble(self) -> Unavailable | None:
        """Return what makes this an answer to try again after."""
        if self.status < 500 and self.status not in _PASSING:
            return None
        problem = self._problem()
        return Unavailable(
            problem.code if problem else "no_answer", status=self.status, retry_after=_retry_after(self.headers)
        )

    def read(self, reader: Callable[[Any], T], *statuses: int) -> T:
        """Return what the body says, if it has the promised status and form."""
        if self.status not in statuses:
            raise self._problem() or UnexpectedAnswer(self.status)
        try:
            return reader(json.loads(self.body))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UnexpectedAnswer(self.status) from None

    def _problem(self) -> Problem | None:
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return None
        try:
            return Problem(self.status, json.loads(self.body))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def _encoded(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(
        "utf-8", "backslashreplace"
    )  # a lone surrogate becomes its JSON escape, which the service refuses


def _retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds of Retry-After. A date is compared with the answer's own: a till's clock may be wrong."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), 86_400.0)
    try:
        later = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(later.total_seconds(), 0.0), 86_400.0)
