"""How answers go out on the wire: one write for each, where the server would make two."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Gathering:
    """A transport that sends two writes as one, if they come in one turn of the loop; in all else the one that it stands for."""

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send these bytes together with the next ones, or by themselves if none come in this turn of the loop."""
        self._parts.append(data)
        if len(self._parts) == 1:
            self._loop.call_soon(self._send)
        else:
            self._send()

    def close(self) -> None:
        """Send what was written, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            if not self._transport.is_closing():
                self._transport.write(b"".join(parts))


class OneWrite(HttpToolsProtocol):
    """uvicorn's protocol, which writes the head of an answer and its body one after the other, each by a call to the kernel that wakes the caller."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(Gathering(transport))  # type: ignore[arg-type]
