"""The demo's own subscriber: an endpoint on the loopback that checks every signature and notes what arrives when."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from app.webhooks.signing import SignatureRefused, VerifyingKey, parse_verifying_key, verify

HOST = "127.0.0.1"
MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event at its first arrival; `at` is this process's monotonic time in seconds."""

    id: str
    kind: str
    data: dict[str, Any]
    at: float


class Subscriber:
    """Believes what is signed with its secret, and counts an id once however often it comes."""

    def __init__(self) -> None:
        """Nothing has arrived; `secret` is set once the subscription is made."""
        self.arrivals: dict[str, Arrival] = {}
        self.kinds: Counter[str] = Counter()
        self.verified = 0
        self.repeated = 0
        self.refused: Counter[str] = Counter()
        self.port = 0
        self._keys: list[VerifyingKey] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}/events"

    def trust(self, secret: str) -> None:
        """Believe what is signed with this secret."""
        self._keys = [parse_verifying_key(secret)]

    def receive(self, headers: dict[str, str], body: bytes) -> int:
        """Take one message; return the status to answer with."""
        at = time.monotonic()
        try:
            event_id = verify(self._keys, headers, body, now=time.time())
        except SignatureRefused as refusal:
            self.refused[refusal.code] += 1
            return 400
        self.verified += 1
        if event_id in self.arrivals:
            self.repeated += 1
            return 204
        event = json.loads(body)
        self.arrivals[event_id] = Arrival(event_id, event["type"], event["data"], at)
        self.kinds[event["type"]] += 1
        return 204

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Subscriber"]:
        """Listen for the length of the block."""
        open_connections: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            open_connections.add(task)
            # Whoever breaks off in the middle of a message was killed; the message comes again.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._converse(reader, writer)
            writer.close()
            open_connections.discard(task)

        server = await asyncio.start_server(serve, HOST, 0, limit=MOST_BYTES)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(open_connections):
                task.cancel()
            await asyncio.gather(*open_connections, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            status = self.receive(headers, body)
            reason = "No Content" if status == 204 else "Bad Request"
            length = "" if status == 204 else "Content-Length: 0\r\n"
            writer.write(f"HTTP/1.1 {status} {reason}\r\n{length}\r\n".encode())
            await writer.drain()
