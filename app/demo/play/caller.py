"""How the demo speaks to the service: HTTP with a token, and again until there is an answer."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

CONNECTIONS = 12
TIMEOUT_SECONDS = 20.0
PATIENCE_SECONDS = 90.0
UNANSWERED_SECONDS = 0.2
"""The wait before a request is sent again that nobody answered."""

_BUSY = (429, 503)


class ServiceSilent(Exception):
    """The service has not answered for too long."""


class Unexpected(Exception):
    """The service answered what cannot be: the message has method, path, status and code, never a body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `resent` says that an earlier one may have been lost on the way, `sent_at` when the first attempt left
    (monotonic time in seconds)."""

    status: int
    body: Any
    text: str
    resent: bool
    sent_at: float

    @property
    def code(self) -> str:
        """The stable code of a problem, or nothing."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class Caller:
    """Sends requests over few connections that are kept open."""

    def __init__(self, base_url: str) -> None:
        """Speak to the service at `base_url`."""
        self.url = base_url
        self.requests = 0
        self.resent = 0
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._client = httpx.AsyncClient(
            base_url=base_url, limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Caller"]:
        """Keep the connections for the length of the block."""
        async with self._client:
            yield self

    async def send(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        json: Any = None,
        lines: bytes | None = None,
        params: dict[str, Any] | None = None,
        accept: str = "application/json",
    ) -> Answer:
        """Send a request until it is answered with anything but 429 and 503.

        Args:
            json: a body in JSON.
            lines: a body in NDJSON, instead.

        Raises:
            ServiceSilent: no answer came for a long time.
        """
        headers = {"Accept": accept, "Accept-Language": "en"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if lines is not None:
            headers["Content-Type"] = "application/x-ndjson"
        sent_at = time.monotonic()
        resent = False
        while True:
            try:
                response = await self._client.request(
                    method, path, headers=headers, json=json, content=lines, params=params
                )
            except httpx.TransportError:
                wait = UNANSWERED_SECONDS
            else:
                if response.status_code not in _BUSY:
                    self.requests += 1
                    kind = response.headers.get("content-type", "")
                    body = response.json() if "json" in kind else None
                    return Answer(response.status_code, body, response.text, resent, sent_at)
                wait = float(response.headers.get("retry-after", "1"))
            if time.monotonic() - sent_at > PATIENCE_SECONDS:
                raise ServiceSilent(f"{method} {path} has had no answer for {PATIENCE_SECONDS:.0f} s")
            resent = True
            self.resent += 1
            await asyncio.sleep(wait)

    async def must(self, *statuses: int, method: str, path: str, token: str | None = None, **rest: Any) -> Answer:
        """Send a request that can only be answered with one of these.

        Raises:
            Unexpected: it was answered otherwise.
        """
        answer = await self.send(method, path, token, **rest)
        if answer.status not in statuses:
            raise Unexpected(f"{method} {path} was answered {answer.status} {answer.code}".rstrip())
        return answer

    async def pages(self, path: str, token: str, **params: Any) -> list[dict[str, Any]]:
        """Read a whole list, page by page."""
        items: list[dict[str, Any]] = []
        params = {"limit": 500, **params}
        while True:
            page = (await self.must(200, method="GET", path=path, token=token, params=params)).body
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            params["cursor"] = page["next_cursor"]
