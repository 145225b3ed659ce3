"""Receivers on the loopback that behave as subscribers do, and as they should not."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from app.auth.rules import Actor
from app.core.database import Database
from app.webhooks import kinds
from tests.factories.divisions import FUTIAN, load_divisions
from tests.factories.keys import actor
from tests.factories.webhooks import OTHER, SAMPLE

Behaviour = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Received:
    """One request as it came over the wire."""

    request_line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A listening socket and what arrived at it."""

    port: int = 0
    connections: int = 0
    received: list[Received] = field(default_factory=list)

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Its address as a subscriber would state it."""
        return f"{scheme}://{host}:{self.port}/hook?a=%2Fb"


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return Received(head[0], headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def receiving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Listen on the loopback and treat every request as `behaviour` does."""
    receiver = Receiver()
    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        receiver.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                request = await _read_request(reader)
                receiver.received.append(request)
                await behaviour(request, writer)
                await writer.drain()
        writer.close()
        handlers.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def answering_with(status: str, body: bytes = b"", headers: str = "") -> Behaviour:
    """The behaviour of a subscriber that answers at once."""

    async def answer(_request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    return answer


@pytest.fixture
def listening() -> Callable[..., AbstractAsyncContextManager[Receiver]]:
    """Open a receiver: `async with listening(behaviour) as receiver`."""
    return receiving


@pytest.fixture
def answering() -> Callable[..., Behaviour]:
    """The behaviour of a subscriber that answers at once: `answering("200 OK", b"body", "Name: value\\r\\n")`."""
    return answering_with


@pytest.fixture
def sample_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds of the tests, declared for one test."""
    for kind in (SAMPLE, OTHER):
        monkeypatch.setitem(kinds._declared, kind.name, kind)


@pytest.fixture
async def epidemiologist(database: Database, sample_kinds: None) -> Actor:
    """Somebody of Futian who may subscribe to everything; the divisions are there."""
    await load_divisions(database)
    return await actor(database, "epidemiologist", FUTIAN)
