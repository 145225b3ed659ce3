"""A load generator that costs little: prepared requests over kept-alive connections, one answer awaited at a time on each."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run took: seconds from the first request to the last answer, and each answer's time."""

    seconds: float
    answers: Sequence[float]

    def per_second(self, units: int) -> float:
        """Return how many units of work a second that is."""
        return units / self.seconds

    def quantile(self, share: float) -> float:
        """Return the time within which a share of the answers came."""
        ordered = sorted(self.answers)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request(path: str, body: bytes, token: str = "", kind: str = "application/json") -> bytes:
    """Return the bytes of a POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: benchmark\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    return head.encode() + b"\r\n" + body


async def _converse(port: int, requests: Iterator[bytes], expected: frozenset[int], times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    try:
        for message in requests:
            begin = time.perf_counter()
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if status not in expected:
                raise RuntimeError(f"status {status}: {body[:500]!r}")
            times.append(time.perf_counter() - begin)
    finally:
        writer.close()


async def fire(
    ports: Sequence[int], requests: Sequence[bytes], *, connections: int, expected: Sequence[int]
) -> Figures:
    """Send every request once, over so many connections at a time, dealt out evenly among the ports."""
    shared = iter(requests)
    times: list[float] = []
    begin = time.perf_counter()
    await asyncio.gather(
        *(
            _converse(ports[number % len(ports)], shared, frozenset(expected), times)
            for number in range(min(connections, len(requests)))
        )
    )
    return Figures(time.perf_counter() - begin, times)
