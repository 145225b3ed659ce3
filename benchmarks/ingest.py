"""Purchases a second: batches against `\\copy` of the same rows, single ones against the least that a service can do.

    python -m benchmarks.ingest [rows]

`\\copy` loads exactly the rows that the API stored – people, registrations, items, receipts, audit, jobs – into the same tables
with the same indexes and foreign keys of a second database, one table after the other over one connection. No worker runs.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import click
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.database import async_url
from app.core.embedded import client_program
from benchmarks.barebones import Base
from benchmarks.load import Figures, fire, request
from benchmarks.setting import City, city, purchases, serving

ROWS = 40_000
ROWS_PER_REQUEST = 1_000
WARM_ROWS = 4_000
BATCH_CONNECTIONS = 4
SINGLE_REQUESTS = 6_000
SINGLE_CONNECTIONS = 32
BATCH_AT_LEAST = 0.25
SINGLE_AT_LEAST = 2.0

TABLES = ("people", "registrations", "registration_items", "receipt_links", "audit_entries", "jobs")


def batches(rows: Sequence[bytes], tills: Sequence[str], *, ndjson: bool) -> list[bytes]:
    """Return the requests that send the rows, a thousand in each."""
    requests = []
    for number, start in enumerate(range(0, len(rows), ROWS_PER_REQUEST)):
        chunk = rows[start : start + ROWS_PER_REQUEST]
        body = b"\n".join(chunk) if ndjson else b"[" + b",".join(chunk) + b"]"
        kind = "application/x-ndjson" if ndjson else "application/json"
        requests.append(request("/v1/registrations/batch", body, tills[number % len(tills)], kind))
    return requests


async def unload(url: str, baseline: str, folder: Path) -> int:
    """Write to files what the database has more than the baseline; return how many registrations there are."""
    before = await asyncpg.connect(baseline)
    connection = await asyncpg.connect(url)
    try:
        for table in TABLES:
            # The rows of the city itself are there before: only audit entries, whose ids count up.
            last = await before.fetchval("SELECT max(id) FROM audit_entries") if table == "audit_entries" else None
            query = f"SELECT * FROM {table}" + (f" WHERE id > {last}" if last is not None else "")
            await connection.copy_from_query(query, output=folder / table)
        return int(await connection.fetchval("SELECT count(*) FROM registrations"))
    finally:
        await connection.close()
        await before.close()


def reload(url: str, folder: Path) -> float:
    r"""Load the files with psql's \copy; return the seconds that it took, psql's own start left out."""
    script = "\\timing on\n" + "".join(f"\\copy {table} from '{folder / table}'\n" for table in TABLES)
    done = subprocess.run(
        [str(client_program("psql")), "-X", "-v", "ON_ERROR_STOP=1", "-d", url],
        input=script,
        capture_output=True,
        text=True,
        check=True,
    )
    times = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Time:")]
    assert len(times) == len(TABLES)
    return sum(map(float, times)) / 1000


def measure_batches(place: City, rows: Sequence[bytes], name: str, *, ndjson: bool, processes: int) -> float:
    """Print and return how fast batches are, as a share of the speed of `\\copy`."""
    ours = asyncio.run(place.copy(f"ours_{name}"))
    theirs = asyncio.run(place.copy(f"theirs_{name}"))
    warm = purchases(WARM_ROWS, first=900_000_000)
    with serving("app.serving:create", {"SENTINEL_DATABASE_URL": ours}, processes=processes) as port:
        asyncio.run(fire(port, batches(warm, place.tills, ndjson=ndjson), connections=4, expected=[200]))
        figures = asyncio.run(
            fire(port, batches(rows, place.tills, ndjson=ndjson), connections=BATCH_CONNECTIONS, expected=[200])
        )
    with tempfile.TemporaryDirectory() as folder:
        stored = asyncio.run(unload(ours, theirs, Path(folder)))
        if stored != WARM_ROWS + len(rows):
            raise RuntimeError(f"{stored} rows were stored")
        copied = stored / reload(theirs, Path(folder))
    rate = figures.per_second(len(rows))
    click.echo(
        f"batch {name:<6} {rate:>9,.0f} rows/s   \\copy {copied:>9,.0f} rows/s   ratio {rate / copied:5.2f}"
        f"   (at least {BATCH_AT_LEAST})"
    )
    return rate / copied


def measure_singles(place: City, rows: Sequence[bytes]) -> float:
    """Print and return how fast single purchases are, as a multiple of the bare-bones service."""
    bare = asyncio.run(place.copy("bare"))
    asyncio.run(_make_bare_table(bare))
    with serving("benchmarks.barebones:create", {"BENCHMARK_DATABASE_URL": bare}) as port:
        theirs = asyncio.run(_singles(port, [request("/purchases", row) for row in rows]))
    ours = asyncio.run(place.copy("ours_single"))
    with serving("app.serving:create", {"SENTINEL_DATABASE_URL": ours}) as port:
        tills = place.tills
        requests = [request("/v1/registrations", row, tills[n % len(tills)]) for n, row in enumerate(rows)]
        mine = asyncio.run(_singles(port, requests))
    count = SINGLE_REQUESTS
    ratio = mine.per_second(count) / theirs.per_second(count)
    click.echo(
        f"single       {mine.per_second(count):>9,.0f} rows/s   bare  {theirs.per_second(count):>9,.0f} rows/s   "
        f"ratio {ratio:5.2f}   (at least {SINGLE_AT_LEAST})"
    )
    click.echo(
        f"single, ms   p50 {mine.quantile(0.5) * 1000:.1f}, p99 {mine.quantile(0.99) * 1000:.1f}"
        f"   bare p50 {theirs.quantile(0.5) * 1000:.1f}, p99 {theirs.quantile(0.99) * 1000:.1f}"
    )
    return ratio


async def _singles(port: int, requests: Sequence[bytes]) -> Figures:
    warm, counted = requests[:1_000], requests[1_000:]
    await fire(port, warm, connections=SINGLE_CONNECTIONS, expected=[201])
    return await fire(port, counted, connections=SINGLE_CONNECTIONS, expected=[201])


async def _make_bare_table(url: str) -> None:
    engine = create_async_engine(async_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


def main(count: int = ROWS) -> int:
    """Measure everything; return 1 if a ratio is not reached."""
    begin = time.perf_counter()
    with city() as place:
        rows = purchases(count)
        json_ratio = measure_batches(place, rows, "json", ndjson=False, processes=2)
        lines_ratio = measure_batches(place, rows, "ndjson", ndjson=True, processes=2)
        single_ratio = measure_singles(place, purchases(SINGLE_REQUESTS + 1_000, first=count))
    click.echo(f"({time.perf_counter() - begin:.0f} s in all)")
    return int(min(json_ratio, lines_ratio) < BATCH_AT_LEAST or single_ratio < SINGLE_AT_LEAST)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
