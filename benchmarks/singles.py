"""Single purchases against the bare-bones service, in turns: both are up, and each answers while the other has nothing to do."""

import asyncio
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import create_async_engine

from app.core.database import async_url
from benchmarks.barebones import Base
from benchmarks.load import Figures, fire, request
from benchmarks.setting import City, serving

CONNECTIONS = 32
WARM_REQUESTS = 1_000
TURNS = 8


def measure(place: City, rows: Sequence[bytes]) -> tuple[Figures, Figures]:
    """Return how fast single purchases are, and those of the bare-bones service; the first rows warm both up.

    A machine that others use as well is not as fast in one minute as in the next: so the two take turns.
    """
    bare, ours = (asyncio.run(place.copy(name)) for name in ("bare", "ours_single"))
    asyncio.run(_make_bare_table(bare))
    with (
        serving("benchmarks.barebones:create", {"BENCHMARK_DATABASE_URL": bare}) as bare_port,
        serving("app.serving:create", {"SENTINEL_DATABASE_URL": ours}) as port,
    ):
        tills = place.tills
        theirs = [request("/purchases", row) for row in rows]
        mine = [request("/v1/registrations", row, tills[n % len(tills)]) for n, row in enumerate(rows)]
        took: tuple[list[Figures], list[Figures]] = ([], [])
        for at, requests in ((port, mine), (bare_port, theirs)):
            _send(at, requests[:WARM_REQUESTS])
        share = (len(rows) - WARM_REQUESTS) // TURNS
        for turn in range(TURNS):
            part = slice(WARM_REQUESTS + turn * share, WARM_REQUESTS + (turn + 1) * share)
            pair = [(port, took[0], mine), (bare_port, took[1], theirs)]
            for at, one, requests in pair if turn % 2 else reversed(pair):
                one.append(_send(at, requests[part]))
    return _together(took[0]), _together(took[1])


def _send(port: int, requests: Sequence[bytes]) -> Figures:
    return asyncio.run(fire([port], requests, connections=CONNECTIONS, expected=[201]))


def _together(turns: Sequence[Figures]) -> Figures:
    return Figures(sum(one.seconds for one in turns), [answer for one in turns for answer in one.answers])


async def _make_bare_table(url: str) -> None:
    engine = create_async_engine(async_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
