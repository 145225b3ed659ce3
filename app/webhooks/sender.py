"""One POST to a subscriber, guarded where the socket is made.

The address that is checked is the very one that is connected to: the connector asks `AddressPolicy` for every socket it
opens, whether the URL held a name or an address. A name that resolves to something else a moment later (DNS rebinding)
therefore gains nothing, and there is no proxy, no redirect and no cookie that could lead anywhere else.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from app.core.clock import Clock, SystemClock
from app.webhooks.addresses import AddressPolicy
from app.webhooks.rules import Failure, Outcome, excerpt, failure_of_status, parse_retry_after

_HEADERS: Final = {
    "Content-Type": "application/json",
    "User-Agent": "pharmacy-sentinel",
    "Accept": "*/*",
    # The answer is never unpacked, so nobody needs to send a compressed one.
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """A limit on everything that a subscriber could make large or slow."""

    total_seconds: float = 15.0
    """From the first look-up of the name to the status line."""
    connect_seconds: float = 5.0
    """For the connection and the TLS handshake."""
    answer_seconds: float = 2.0
    """For the body of an answer whose status is already known."""
    answer_bytes: int = 16 * 1024
    """Read of an answer's body; what follows is cut off with the connection."""
    connections: int = 100
    connections_per_host: int = 16
    busy_seconds: float = 30.0
    """How long an event waits for one of a host's connections before it is put off."""
    idle_seconds: float = 4.0
    """How long a connection is kept for the next event: shorter than the 5 s after which common servers close theirs, so that
    no event is written into a connection that is being closed."""


class AddressForbidden(OSError):
    """The address lies in a network to which nothing is sent."""


class HostBusy(Exception):
    """All connections to this host are taken by slow answers; nothing was sent, and it was nobody's attempt."""


class Sender:
    """Sends signed events; one per process, used as an async context manager.

    `resolver` and `tls` are for tests (another name server, another certificate authority).
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        limits: SenderLimits | None = None,
        clock: Clock | None = None,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._limits = limits or SenderLimits()
        self._clock = clock or SystemClock()
        self._resolver = resolver
        self._tls = tls or ssl.create_default_context()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        self._sessions = {"http": self._session(encrypted=False), "https": self._session(encrypted=True)}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send one event and say what came of it; a subscriber's behaviour never raises.

        Waiting for one of the few connections to a host does not count as the subscriber's time.

        Raises:
            HostBusy: none became free in time.
        """
        target = URL(url, encoded=True)
        session = self._sessions.get(target.scheme)
        if session is None or not target.host:
            return Outcome(None, Failure.URL_REFUSED, 0)
        slot = self._slots.setdefault(target.host, asyncio.Semaphore(self._limits.connections_per_host))
        try:
            async with asyncio.timeout(self._limits.busy_seconds):
                await slot.acquire()
        except TimeoutError:
            raise HostBusy from None
        try:
            started = time.monotonic()
            try:
                status, answer, wish = await self._exchange(session, target, {**_HEADERS, **headers}, body)
            except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
                return Outcome(None, _failure_of(error), _milliseconds_since(started))
            return Outcome(
                status,
                failure_of_status(status),
                _milliseconds_since(started),
                excerpt(answer),
                parse_retry_after(wish, now=self._clock.now()) if wish else None,
            )
        finally:
            slot.release()

    async def _exchange(
        self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes, str | None]:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            answer = b""
            # The status is the answer. A body that drips, breaks off or never ends changes nothing about it.
            with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):
                async with asyncio.timeout(self._limits.answer_seconds):
                    while len(answer) < self._limits.answer_bytes:
                        chunk = await response.content.read(self._limits.answer_bytes - len(answer))
                        if not chunk:
                            break
                        answer += chunk
            if not response.content.at_eof():
                response.close()
            return response.status, answer, response.headers.get("Retry-After")

    def _session(self, *, encrypted: bool) -> aiohttp.ClientSession:
        def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
            family, kind, protocol, _, peer = info
            if not self._policy.permits(ipaddress.ip_address(peer[0]), encrypted=encrypted):
                # One text for all addresses: aiohttp keeps the exception's type only if several refusals read the same.
                raise AddressForbidden("address forbidden")
            return socket.socket(family, kind, protocol)

        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            resolver=self._resolver or aiohttp.ThreadedResolver(),
            use_dns_cache=False,
            limit=self._limits.connections,
            keepalive_timeout=self._limits.idle_seconds,
            socket_factory=guarded_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=self._limits.total_seconds,
                sock_connect=self._limits.connect_seconds,
                sock_read=self._limits.total_seconds,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )


def _milliseconds_since(started: float) -> int:
    return round(timedelta(seconds=time.monotonic() - started) / timedelta(milliseconds=1))


def _failure_of(error: Exception) -> Failure:
    match error:
        case TimeoutError():
            return Failure.TIMEOUT
        case aiohttp.ClientConnectorDNSError():
            return Failure.NAME_NOT_RESOLVED
        case aiohttp.ClientSSLError():
            return Failure.TLS
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, AddressForbidden):
            return Failure.ADDRESS_FORBIDDEN
        case aiohttp.InvalidURL():
            return Failure.URL_REFUSED
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError() | ValueError():
            return Failure.ANSWER_MALFORMED
        case _:
            return Failure.CONNECTION
