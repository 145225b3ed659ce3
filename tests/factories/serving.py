"""The real service on a real port, in a thread of its own, and a bad line to it."""

import asyncio
import queue
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import uvicorn

from app.core.clock import Clock
from app.core.database import Database
from app.core.http import Services
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.main import create_app

Trouble = Callable[["_Handler", str], None]


@contextmanager
def serving(database_url: str, clock: Clock, keyring: Keyring) -> Iterator[str]:
    """Serve the application, with real commits, until the end of the block; give its URL."""
    ready: queue.Queue[tuple[uvicorn.Server, str]] = queue.Queue()

    async def serve() -> None:
        database = Database(database_url)
        app = create_app(Services(Settings(database_url=database_url), database, clock, keyring))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
            ready.put((server, f"http://127.0.0.1:{listening.getsockname()[1]}"))
            await server.serve(sockets=[listening])
        await database.dispose()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    server, url = ready.get(timeout=60)
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


class BadLine:
    """What comes between a till and the service: each request meets with the next trouble, or else gets through."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.troubles: list[Trouble] = []
        self.often: Sequence[Trouble] = ()
        """Troubles of which every third request meets with one, at random."""
        self.url = ""
        self.requests = 0

    def next_trouble(self) -> Trouble | None:
        """Return what the next request meets with."""
        self.requests += 1
        if self.troubles:
            return self.troubles.pop(0)
        return random.choice(self.often) if self.often and random.random() < 1 / 3 else None


@contextmanager
def bad_line(service: str) -> Iterator[BadLine]:
    """Pass requests on to a service, as far as the troubles let them."""
    line = BadLine(service)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"line": line}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever hung up is no error
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    line.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield line
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(status: int, **headers: str) -> Trouble:
    """An answer without the service's part in it."""

    def trouble(handler: "_Handler", service: str) -> None:
        handler.answer(status, b"<html>Synthetic trouble</html>", {"Content-Type": "text/html", **headers})

    return trouble


def hangs(seconds: float) -> Trouble:
    """No answer for so long, and then none."""

    def trouble(handler: "_Handler", service: str) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return trouble


def resets(handler: "_Handler", service: str) -> None:
    """The connection is torn down."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def loses_the_answer(handler: "_Handler", service: str) -> None:
    """The service does its work, and nobody hears of it."""
    handler.forward(service)
    handler.close_connection = True


def breaks_off_the_answer(handler: "_Handler", service: str) -> None:
    """The service does its work, and half of what it says arrives."""
    answer = handler.forward(service)
    handler.send_response(answer.status_code)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(answer.content)))
    handler.end_headers()
    handler.wfile.write(answer.content[: len(answer.content) // 2])
    handler.close_connection = True


class _Handler(BaseHTTPRequestHandler):
    line: BadLine
    protocol_version = "HTTP/1.1"
    body = b""

    def do_POST(self) -> None:
        """Take a request whole, then see what becomes of it."""
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        trouble = self.line.next_trouble()
        if trouble is not None:
            trouble(self, self.line.service)
            return
        answer = self.forward(self.line.service)
        self.answer(answer.status_code, answer.content, {"Content-Type": answer.headers["content-type"]})

    def forward(self, service: str) -> httpx.Response:
        """Pass the request on."""
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
        return httpx.post(service + self.path, content=self.body, headers=headers, timeout=30, trust_env=False)

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        """Answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
