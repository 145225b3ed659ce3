r"""Purchases a second: batches and files against `\copy` of the same rows, single ones against the least that a service can do.

    python -m benchmarks ingest [--there 200000] [--rows 40000] [--few 20000] [--stages]

`--there` registrations are there before. `\copy` loads exactly the rows that the API stored – people, registrations, items, receipts,
audit, jobs – into the same tables with the same indexes and foreign keys of a second database in which as many are there before,
one table after the other over one connection, while nothing else runs. The last ratio compares the same batches with `--few` there. No
worker runs. Client, API and PostgreSQL share the machine's cores.
"""

import asyncio
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import click
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.database import async_url
from app.core.embedded import client_program
from benchmarks import stages
from benchmarks.barebones import Base
from benchmarks.filling import fill
from benchmarks.load import Figures, fire, request
from benchmarks.setting import KEYS, City, city, purchases, serving

ROWS_PER_REQUEST = 1_000
WARM_ROWS = 4_000
BATCH_CONNECTIONS = 4
PROCESSES = 2
SINGLE_REQUESTS = 6_000
SINGLE_CONNECTIONS = 32
STAGE_ROWS = 25_000

BATCH_AT_LEAST = 0.5
FILE_AT_LEAST = 0.4
FILE_MOST_MB = 300
SINGLE_AT_LEAST = 3.0
GROWN_AT_LEAST = 0.8

# What `purchases` is asked for, apart from each other: no two requests name the same purchase.
_JSON, _LINES, _FILE, _SINGLES, _STAGES, _WARM = (number * 100_000_000 for number in range(1, 7))

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


@contextmanager
def serving_twice(url: str) -> Iterator[list[int]]:
    """Serve a database by two processes, each with a port of its own: which of them gets a connection is no matter of chance."""
    environment = {"SENTINEL_DATABASE_URL": url}
    with (
        serving("app.serving:create", environment) as first,
        serving("app.serving:create", environment) as second,
    ):
        yield [first, second]


def send_batches(place: City, rows: Sequence[bytes], kinds: Sequence[bool]) -> list[float]:
    """Send rows as JSON (False) or NDJSON (True), an equal share for each kind; return the rows a second of each."""
    share = len(rows) // len(kinds)
    rates = []
    with serving_twice(place.url) as ports:
        warm = batches(purchases(WARM_ROWS, first=_WARM), place.tills, ndjson=False)
        asyncio.run(fire(ports, warm, connections=BATCH_CONNECTIONS, expected=[200]))
        for number, ndjson in enumerate(kinds):
            requests = batches(rows[number * share : (number + 1) * share], place.tills, ndjson=ndjson)
            figures = asyncio.run(fire(ports, requests, connections=BATCH_CONNECTIONS, expected=[200]))
            rates.append(figures.per_second(share))
    return rates


def write_csv(rows: Sequence[bytes], file: Path) -> None:
    """Write purchases as a table."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(
            [
                "client_reference",
                "purchased_at",
                "name",
                "document_type",
                "document_number",
                "phone",
                "address_division",
                "address",
                "temperature_c",
                "item_name",
                "item_quantity",
            ]
        )
        for row in map(json.loads, rows):
            buyer, [item] = row["buyer"], row["items"]
            document, address = buyer["document"], buyer["address"]
            writer.writerow(
                [
                    *(
                        row["client_reference"],
                        row["purchased_at"],
                        buyer["name"],
                        document["type"],
                        document["number"],
                    ),
                    *(buyer["phone"], address["division"], address["line"], row["temperature_c"]),
                    *(item["name"], item["quantity"]),
                ]
            )


def import_file(place: City, rows: Sequence[bytes]) -> tuple[float, float]:
    """Import the rows as a CSV file by the command; return rows a second and the process's most memory in MB.

    From the first byte that it reads to the last commit; the start of the command is left out, as psql's is.
    """
    pharmacy = asyncio.run(_one(place.url, "SELECT id::text FROM pharmacies ORDER BY id LIMIT 1"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "purchases.csv"
        write_csv(rows, file)
        child = subprocess.Popen(
            [sys.executable, "-m", "app", "import", "registrations", str(file), "--pharmacy", str(pharmacy)],
            env={**os.environ, "SENTINEL_SEALING_KEYS": KEYS, "SENTINEL_DATABASE_URL": place.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"the import ended with {child.returncode}")
    took = "SELECT extract(epoch FROM finished_at - received_at)::float8 FROM imports ORDER BY received_at DESC LIMIT 1"
    return len(rows) / float(str(asyncio.run(_one(place.url, took)))), usage.ru_maxrss / 1024


async def _one(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def unload(url: str, baseline: str, folder: Path) -> int:
    """Write to files what the database has more than the baseline; return how many registrations that are."""
    connection = await asyncpg.connect(url)
    try:
        for table in TABLES:
            key = "registration_id" if table in ("registration_items", "receipt_links") else "id"
            last = await _one(baseline, f"SELECT {key} FROM {table} ORDER BY {key} DESC LIMIT 1")
            query = f"SELECT * FROM {table}" + (f" WHERE {key} > '{last}'" if last is not None else "")
            await connection.copy_from_query(query, output=folder / table)
        last = await _one(baseline, "SELECT id FROM registrations ORDER BY id DESC LIMIT 1")
        return int(await connection.fetchval("SELECT count(*) FROM registrations WHERE id > $1", last))
    finally:
        await connection.close()


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


def copied(ours: City, theirs: City, expected: int) -> float:
    r"""Load what `ours` has more than `theirs` with \copy; return rows a second."""
    with tempfile.TemporaryDirectory() as folder:
        stored = asyncio.run(unload(ours.url, theirs.url, Path(folder)))
        if stored != expected:
            raise RuntimeError(f"{stored} rows were stored, not {expected}")
        return stored / reload(theirs.url, Path(folder))


def measure_singles(place: City, rows: Sequence[bytes]) -> tuple[Figures, Figures]:
    """Return how fast single purchases are, and those of the bare-bones service."""
    bare = asyncio.run(place.copy("bare"))
    asyncio.run(_make_bare_table(bare))
    with serving("benchmarks.barebones:create", {"BENCHMARK_DATABASE_URL": bare}) as port:
        theirs = asyncio.run(_singles(port, [request("/purchases", row) for row in rows]))
    ours = asyncio.run(place.copy("ours_single"))
    with serving("app.serving:create", {"SENTINEL_DATABASE_URL": ours}) as port:
        tills = place.tills
        requests = [request("/v1/registrations", row, tills[n % len(tills)]) for n, row in enumerate(rows)]
        return asyncio.run(_singles(port, requests)), theirs


async def _singles(port: int, requests: Sequence[bytes]) -> Figures:
    warm, counted = requests[:1_000], requests[1_000:]
    await fire([port], warm, connections=SINGLE_CONNECTIONS, expected=[201])
    return await fire([port], counted, connections=SINGLE_CONNECTIONS, expected=[201])


async def _make_bare_table(url: str) -> None:
    engine = create_async_engine(async_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


class Verdict:
    """The table as it grows, and whether everything was reached."""

    def __init__(self) -> None:
        self.reached = True

    def tell(self, what: str, figures: str, ratio: float, least: float, *, also: bool = True) -> None:
        """Print a line."""
        good = ratio >= least and also
        self.reached &= good
        click.echo(f"{what:<22}{figures:<66}ratio {ratio:5.2f} (at least {least})  {'ok' if good else 'FALLS SHORT'}")


def measure_bulk(place: City, verdict: Verdict, *, there: int, rows: int, few: int) -> None:
    """Print the ratios of batches and of a file."""
    ours, theirs = (asyncio.run(fill(place, name, there)) for name in ("ours", "theirs"))
    small = asyncio.run(fill(place, "small", few))
    sent = purchases(2 * rows, first=_JSON)
    json_rate, lines_rate = send_batches(ours, sent, [False, True])
    file_rate, megabytes = import_file(ours, purchases(rows, first=_FILE))
    copy_rate = copied(ours, theirs, WARM_ROWS + 3 * rows)
    against = f"\\copy {copy_rate:>8,.0f} rows/s, {there:,} there"
    verdict.tell("batch JSON", f"{json_rate:>8,.0f} rows/s   {against}", json_rate / copy_rate, BATCH_AT_LEAST)
    verdict.tell("batch NDJSON", f"{lines_rate:>8,.0f} rows/s   {against}", lines_rate / copy_rate, BATCH_AT_LEAST)
    verdict.tell(
        "CSV import",
        f"{file_rate:>8,.0f} rows/s   {against}, {megabytes:.0f} MB",
        file_rate / copy_rate,
        FILE_AT_LEAST,
        also=megabytes < FILE_MOST_MB,
    )
    [small_rate] = send_batches(small, sent[:rows], [False])
    verdict.tell(
        "batch JSON, grown",
        f"{json_rate:>8,.0f} rows/s   {small_rate:>8,.0f} rows/s with {few:,} there",
        json_rate / small_rate,
        GROWN_AT_LEAST,
    )


def main(arguments: Sequence[str] = ()) -> int:
    """Measure everything; return 1 if a ratio is not reached."""
    status: int = command.main(list(arguments), prog_name="ingest", standalone_mode=False)
    return status


@click.command()
@click.option("--there", default=200_000, show_default=True, help="Registrations that are there before.")
@click.option(
    "--few", default=20_000, show_default=True, help="As many as that for the comparison with a small database."
)
@click.option("--rows", default=30_000, show_default=True, help="Purchases sent in each way.")
@click.option("--stages", "only_stages", is_flag=True, help="Print only where the time goes.")
def command(there: int, few: int, rows: int, only_stages: bool) -> int:
    """Purchases a second, as ratios."""
    begin = time.perf_counter()
    verdict = Verdict()
    with city() as place:
        if not only_stages:
            measure_bulk(place, verdict, there=there, rows=rows, few=few)
            mine, bare = measure_singles(place, purchases(SINGLE_REQUESTS + 1_000, first=_SINGLES))
            count = SINGLE_REQUESTS
            p99, bare_p99 = (figures.quantile(0.99) * 1000 for figures in (mine, bare))
            verdict.tell(
                "single",
                f"{mine.per_second(count):>8,.0f} rows/s   bare  {bare.per_second(count):>8,.0f} rows/s, "
                f"p99 {p99:.1f} ms, bare {bare_p99:.1f}   ",
                mine.per_second(count) / bare.per_second(count),
                SINGLE_AT_LEAST,
                also=p99 <= bare_p99,
            )
        stages.main(place, "stages", purchases(STAGE_ROWS, first=_STAGES), ROWS_PER_REQUEST)
    click.echo(f"({time.perf_counter() - begin:.0f} s in all)")
    return int(not verdict.reached)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
