"""What goes out in one piece."""

import asyncio
import socket
import threading

import uvicorn
from starlette.types import Receive, Scope, Send

from app.core.wire import Gathering, OneWrite


class Noted(asyncio.Transport):
    """A transport that only notes what it is told."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.told: list[bytes | str] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told.append(bytes(data))

    def close(self) -> None:
        self.told.append("closed")
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class TestGathering:
    async def test_sends_head_and_body_together_and_at_once(self) -> None:
        noted = Noted()
        gathering = Gathering(noted)
        gathering.write(b"head ")
        assert noted.told == []
        gathering.write(b"body")
        assert noted.told == [b"head body"]
        await asyncio.sleep(0)
        assert noted.told == [b"head body"]

    async def test_holds_nothing_back_when_no_more_comes(self) -> None:
        noted = Noted()
        Gathering(noted).write(b"100 Continue")
        await asyncio.sleep(0)
        assert noted.told == [b"100 Continue"]

    async def test_sends_what_it_holds_before_it_closes_and_nothing_after(self) -> None:
        noted = Noted()
        gathering = Gathering(noted)
        gathering.write(b"last")
        gathering.close()
        assert noted.told == [b"last", "closed"]
        gathering.write(b"late")
        await asyncio.sleep(0)
        assert noted.told == [b"last", "closed"]

    async def test_is_in_all_else_the_transport_that_it_stands_for(self) -> None:
        assert Gathering(Noted()).get_extra_info("peername") == ("127.0.0.1", 1)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers in three pieces."""
    assert scope["type"] == "http"
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    for part in (b"one", b"two", b"six"):
        await send({"type": "http.response.body", "body": part, "more_body": part != b"six"})


def test_a_server_answers_requests_that_follow_each_other_and_those_that_come_at_once() -> None:
    server = uvicorn.Server(uvicorn.Config(answer, http=OneWrite, lifespan="off", log_config=None))
    listening = socket.create_server(("127.0.0.1", 0))  # who connects before it serves waits
    port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            for count in (1, 3):
                connection.sendall(ask * count)
                got = b""
                while got.count(b"onetwosix") < count:
                    got += connection.recv(65536)
                assert got.count(b"HTTP/1.1 200") == count
            connection.sendall(ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            got = b""
            while piece := connection.recv(65536):
                got += piece
            assert got.endswith(b"onetwosix")
    finally:
        server.should_exit = True
        thread.join(20)
