"""One till repeats the same thousand rows 800 times in little more than a minute: how long does another till wait meanwhile?

    python -m benchmarks storm

Quiet and storm take turns in one run against one process, so that both meet the same machine. The other till sends purchases one
by one at a steady pace, whatever the answers do (an open loop: waiting answers do not thin out the questions). Each turn has a p99 of
its own, and the medians of the turns are compared: what else the machine did in one of them (a checkpoint, a neighbour) decides nothing.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import asyncpg
import click

from benchmarks.load import request
from benchmarks.setting import City, city, purchases, serving

ROUNDS = 10
SECONDS = 8.0
PACE = 40
"""Purchases a second of the other till: a city's rush hour at one process, not its limit."""
ROWS = 1_000
BATCHES_PER_ROUND = 80
STORM_CONNECTIONS = 4
REPEATED_ROWS = 20_000
P99_AT_MOST = 2.0


async def _ask(port: int, message: bytes, open_for: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> int:
    """Send one request over a kept-alive connection; return the status."""
    pair = open_for.pop() if open_for else await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    reader, writer = pair
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    if b"connection: close" in head.lower():
        writer.close()
    else:
        open_for.append(pair)
    return int(head[9:12])


async def steady(port: int, messages: Sequence[bytes]) -> list[float]:
    """Send purchases at a steady pace; return each answer's seconds, counted from when it should have been sent."""
    open_for: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    begin = time.perf_counter()

    async def one(number: int, message: bytes) -> float:
        due = begin + number / PACE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status = await _ask(port, message, open_for)
        if status != 201:
            raise RuntimeError(f"the other till was answered {status}")
        return time.perf_counter() - due

    times = await asyncio.gather(*(one(number, message) for number, message in enumerate(messages)))
    for _, writer in open_for:
        writer.close()
    return list(times)


async def storm(port: int, message: bytes, statuses: Counter[int]) -> None:
    """Send the same batch again and again over a few connections, whatever is answered."""
    pace = BATCHES_PER_ROUND / STORM_CONNECTIONS / SECONDS
    begin = time.perf_counter()

    async def connection() -> None:
        open_for: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        number = 0
        while time.perf_counter() - begin < SECONDS:
            statuses[await _ask(port, message, open_for)] += 1
            number += 1
            await asyncio.sleep(max(0.0, begin + number / pace - time.perf_counter()))
        for _, writer in open_for:
            writer.close()

    await asyncio.gather(*(connection() for _ in range(STORM_CONNECTIONS)))


def p99(times: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(times, n=100)[98]


async def weather(port: int, place: City) -> tuple[list[list[float]], list[list[float]], Counter[int]]:
    """Return the other till's answers in each quiet and each stormy turn, and what the storm was answered."""
    repeated = purchases(ROWS)
    batch = request("/v1/registrations/batch", b"[" + b",".join(repeated) + b"]", place.tills[0])
    open_for: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    await _ask(port, batch, open_for)
    singles = int(PACE * SECONDS)
    fresh = purchases((2 * ROUNDS + 1) * singles, first=1_000_000)
    shares = [
        [request("/v1/registrations", body, place.tills[1]) for body in fresh[start : start + singles]]
        for start in range(0, len(fresh), singles)
    ]
    await steady(port, shares[0])  # warm
    quiet: list[list[float]] = []
    stormy: list[list[float]] = []
    statuses: Counter[int] = Counter()
    others = ProcessPoolExecutor(1, get_context("spawn"))
    await asyncio.get_running_loop().run_in_executor(others, _ready)
    for number in range(ROUNDS):
        quiet.append(await steady(port, shares[1 + 2 * number]))
        # In a process of its own: the one that measures must not wait for half a megabyte to be written.
        raging = asyncio.get_running_loop().run_in_executor(others, _rage, port, batch)
        stormy.append(await steady(port, shares[2 + 2 * number]))
        statuses += await raging
    others.shutdown()
    return quiet, stormy, statuses


def _ready() -> None:
    """Start the process, so that its start is no part of a storm."""


def _rage(port: int, message: bytes) -> Counter[int]:
    """Be the storm's process for one round."""
    statuses: Counter[int] = Counter()
    asyncio.run(storm(port, message, statuses))
    return statuses


async def cost(port: int, place: City, url: str) -> tuple[float, float]:
    """Return the milliseconds for a thousand new rows, and for the same again in another order (so that all are read)."""
    rows = purchases(REPEATED_ROWS, first=5_000_000)
    open_for: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    took = []
    for turned in (False, True):
        begin = time.perf_counter()
        for number, start in enumerate(range(0, len(rows), ROWS)):
            chunk = rows[start : start + ROWS]
            body = b"[" + b",".join(reversed(chunk) if turned else chunk) + b"]"
            status = await _ask(port, request("/v1/registrations/batch", body, place.tills[2 + number % 10]), open_for)
            assert status == 200
        took.append((time.perf_counter() - begin) * 1000 / (REPEATED_ROWS / ROWS))
    connection = await asyncpg.connect(url)
    try:
        kept = await connection.fetchval("SELECT count(*) FROM registrations WHERE client_reference >= 'SYN-005'")
    finally:
        await connection.close()
    assert kept == REPEATED_ROWS, kept
    return took[0], took[1]


def main() -> int:
    """Print the ratios; return 1 if one falls short."""
    with city() as place:
        url = asyncio.run(place.copy("storm"))
        with serving("app.serving:create", {"SENTINEL_DATABASE_URL": url}) as port:
            quiet, stormy, statuses = asyncio.run(weather(port, place))
            new, again = asyncio.run(cost(port, place, url))
        stored = asyncio.run(_count(url))
    calm, wild = ([p99(turn) * 1000 for turn in turns] for turns in (quiet, stormy))
    ratio = statistics.median(wild) / statistics.median(calm)
    sent = sum(statuses.values())
    click.echo(f"storm: {sent * ROWS:,} rows repeated; answered {dict(sorted(statuses.items()))}; created {stored}")
    for name, turns, worst in (("quiet", quiet, calm), ("storm", stormy, wild)):
        times = [one * 1000 for turn in turns for one in turn]
        told = " ".join(f"{value:.0f}" for value in sorted(worst))
        click.echo(
            f"other till, {name}: median {statistics.median(times):.1f} ms, p99 {p99(times):.1f} ms; of each turn {told}"
        )
    click.echo(f"1,000 new rows {new:.0f} ms, the same in another order {again:.0f} ms: {again / new:.2f} of it")
    verdict = "ok" if ratio <= P99_AT_MOST else "TOO MUCH"
    click.echo(f"p99 in the storm / quiet: {ratio:.2f} (at most {P99_AT_MOST}) {verdict}")
    return int(ratio > P99_AT_MOST)


async def _count(url: str) -> int:
    """Return how many registrations the storm's till has."""
    connection = await asyncpg.connect(url)
    try:
        query = "SELECT count(*) FROM registrations WHERE client_reference < 'SYN-000001000'"
        return int(await connection.fetchval(query)) - ROWS
    finally:
        await connection.close()
