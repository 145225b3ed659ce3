r"""Purchases a second: batches and files against `\copy` of the same rows, single ones against the least that a service can do.

    python -m benchmarks ingest [--quick] [--there 1000000] [--rows 120000] [--file-rows 1000000] [--grown 10000000] [--few 100000] [--stages]

`--there` registrations are there before; these sizes are tenths with `--quick`. `\copy` loads exactly the rows that the API stored – people, registrations, items, receipts,
audit, jobs – into the same tables with the same indexes and foreign keys of a second database in which as many are there before,
one table after the other over one connection, while nothing else runs. The last ratio compares the import of the same purchases by
file where `--grown` are there before with the one where `--few` are. No worker runs. Client, API and PostgreSQL share the machine's cores.
"""

import asyncio
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import click

from app.core.embedded import client_program
from benchmarks import singles, stages
from benchmarks.filling import fill
from benchmarks.load import fire, request
from benchmarks.setting import KEYS, City, city, purchases, serving
from benchmarks.spent import note_memory

ROWS_PER_REQUEST = 1_000
WARM_ROWS = 4_000
BATCH_CONNECTIONS = 4
PROCESSES = 2
TURNS = (False, True, True, False) * 2 + (False, True)
"""Which batches are NDJSON: in this order neither gains from what has been read before."""
SINGLE_REQUESTS = 12_000
FILE_TURNS = (False, True, True, False)
"""Which of two cities imports a file: the one in which many are there before, or the other."""
STAGE_ROWS = 25_000

BATCH_AT_LEAST = 0.5
FILE_AT_LEAST = 0.4
FILE_MOST_MB = 300
SINGLE_AT_LEAST = 3.0
GROWN_AT_LEAST = 0.8

# What `purchases` is asked for, apart from each other: no two requests name the same purchase.
_JSON, _FILE, _SINGLES, _STAGES, _WARM, _GROWN = (number * 100_000_000 for number in range(1, 7))

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


def warm_up(place: City, ports: Sequence[int]) -> None:
    """Send the first batches, which are not counted."""
    warm = batches(purchases(WARM_ROWS, first=_WARM), place.tills, ndjson=False)
    asyncio.run(fire(ports, warm, connections=BATCH_CONNECTIONS, expected=[200]))


def send_batches(place: City, ports: Sequence[int], rows: Sequence[bytes], *, ndjson: bool) -> float:
    """Send rows in batches; return the seconds that it took."""
    requests = batches(rows, place.tills, ndjson=ndjson)
    return asyncio.run(fire(ports, requests, connections=BATCH_CONNECTIONS, expected=[200])).seconds


def write_csv(rows: Iterable[bytes], file: Path) -> None:
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


def many_purchases(count: int, first: int) -> Iterator[bytes]:
    """Yield purchases, a few at a time."""
    for start in range(0, count, ROWS_PER_REQUEST):
        yield from purchases(min(ROWS_PER_REQUEST, count - start), first=first + start)


def import_file(place: City, count: int, first: int = _FILE) -> tuple[float, list[float]]:
    """Import so many rows as a CSV file by the command; return the seconds and the most memory of each of its processes in MB.

    From the first byte that it reads to the last commit; the start of the command is left out, as psql's is.
    """
    pharmacy = asyncio.run(_one(place.url, "SELECT id::text FROM pharmacies ORDER BY id LIMIT 1"))
    most: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "purchases.csv"
        write_csv(many_purchases(count, first), file)
        child = subprocess.Popen(
            [sys.executable, "-m", "app", "import", "registrations", str(file), "--pharmacy", str(pharmacy)],
            env={**os.environ, "SENTINEL_SEALING_KEYS": KEYS, "SENTINEL_DATABASE_URL": place.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while child.poll() is None:
            note_memory(child.pid, most)
            time.sleep(0.05)
        if child.returncode:
            raise RuntimeError(f"the import ended with {child.returncode}")
    took = "SELECT extract(epoch FROM finished_at - received_at)::float8 FROM imports ORDER BY received_at DESC LIMIT 1"
    return float(str(asyncio.run(_one(place.url, took)))), list(most.values())


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
    r"""Load what `ours` has more than `theirs` with \copy; return the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        stored = asyncio.run(unload(ours.url, theirs.url, Path(folder)))
        if stored != expected:
            raise RuntimeError(f"{stored} rows were stored, not {expected}")
        return reload(theirs.url, Path(folder))


class Verdict:
    """The table as it grows, and whether everything was reached."""

    def __init__(self) -> None:
        self.reached = True

    def tell(self, what: str, figures: str, ratio: float, least: float, *, also: bool = True) -> None:
        """Print a line."""
        good = ratio >= least and also
        self.reached &= good
        click.echo(f"{what:<22}{figures:<82}ratio {ratio:5.2f} (at least {least})  {'ok' if good else 'FALLS SHORT'}")

    def against_copy(
        self,
        what: str,
        rows: int,
        took: float,
        copy_took: float,
        there: int,
        least: float,
        more: str = "",
        also: bool = True,
    ) -> None:
        r"""Print the line of something that is compared with \copy of the same rows."""
        figures = f"{rows / took:>8,.0f} rows/s   \\copy {rows / copy_took:>8,.0f} rows/s, {there:,} there{more}"
        self.tell(what, figures, copy_took / took, least, also=also)


def measure_bulk(place: City, verdict: Verdict, *, there: int, rows: int, file_rows: int) -> None:
    r"""Print the ratios of batches and of a file.

    JSON and NDJSON come in turns, and \copy loads the rows of each turn right after it: the machine is not as fast in one minute as in
    the next, and so both have seen as much. Of each kind the turn in the middle counts. A turn is long enough that its last requests, after
    which connections have nothing left to send, do not weigh much.
    """
    ours, theirs = (asyncio.run(fill(place, name, there)) for name in ("ours", "theirs"))
    turns: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    share = rows // TURNS.count(True)
    with serving_twice(ours.url) as ports:
        warm_up(ours, ports)
        copied(ours, theirs, WARM_ROWS)
        for turn, ndjson in enumerate(TURNS):
            took = send_batches(ours, ports, purchases(share, first=_JSON + turn * share), ndjson=ndjson)
            turns[ndjson].append((took, copied(ours, theirs, share)))
    for ndjson, name in ((False, "batch JSON"), (True, "batch NDJSON")):
        ordered = sorted(turns[ndjson], key=lambda turn: turn[1] / turn[0])
        least, most = (copy_took / took for took, copy_took in (ordered[0], ordered[-1]))
        spread = f", turns {least:.2f} to {most:.2f}"
        verdict.against_copy(name, share, *ordered[len(ordered) // 2], there, BATCH_AT_LEAST, spread)
    file_took, memory = import_file(ours, file_rows)
    verdict.against_copy(
        *("CSV import", file_rows, file_took, copied(ours, theirs, file_rows), there, FILE_AT_LEAST),
        more=f", {sum(memory):.0f} MB in {len(memory)} processes",
        also=sum(memory) < FILE_MOST_MB,
    )


def measure_grown(place: City, verdict: Verdict, *, grown: int, few: int, file_rows: int) -> None:
    """Print how much slower a file is imported where many registrations are there before than where few are.

    Each city imports the purchases in two files, in turns, so that what else the machine does meets both alike.
    """
    share = file_rows // FILE_TURNS.count(True)
    cities = {
        many: asyncio.run(fill(place, name, count))
        for many, name, count in ((False, "small", few), (True, "grown", grown))
    }
    took = {False: 0.0, True: 0.0}
    for turn, many in enumerate(FILE_TURNS):
        took[many] += import_file(cities[many], share, _GROWN + turn * share)[0]
    speed, small_speed = (len(FILE_TURNS) // 2 * share / took[many] for many in (True, False))
    verdict.tell(
        "CSV import, grown",
        f"{speed:>8,.0f} rows/s, {grown:,} there   {small_speed:>8,.0f} rows/s, {few:,} there",
        speed / small_speed,
        GROWN_AT_LEAST,
    )


def main(arguments: Sequence[str] = ()) -> int:
    """Measure everything; return 1 if a ratio is not reached."""
    status: int = command.main(list(arguments), prog_name="ingest", standalone_mode=False)
    return status


@click.command()
@click.option("--there", type=int, help="Registrations that are there before.  [default: 1000000]")
@click.option("--rows", type=int, help="Purchases sent as JSON, and as many as NDJSON.  [default: 120000]")
@click.option("--file-rows", type=int, help="Purchases sent as CSV.  [default: 1000000]")
@click.option(
    "--grown",
    type=int,
    help="Registrations that are there before in a large city; 0 leaves it out.  [default: 10000000]",
)
@click.option("--few", type=int, help="As many in the small city that it is compared with.  [default: 100000]")
@click.option("--quick", is_flag=True, help="Tenths of these sizes.")
@click.option("--stages", "only_stages", is_flag=True, help="Print only where the time goes.")
def command(
    there: int | None,
    rows: int | None,
    file_rows: int | None,
    grown: int | None,
    few: int | None,
    quick: bool,
    only_stages: bool,
) -> int:
    """Purchases a second, as ratios."""
    begin = time.perf_counter()
    verdict = Verdict()
    whole = 1 if not quick else 10

    def size(given: int | None, otherwise: int) -> int:
        return otherwise // whole if given is None else given

    with city() as place:
        if not only_stages:
            measure_singles(place, verdict)
            file_size = size(file_rows, 1_000_000)
            measure_bulk(place, verdict, there=size(there, 1_000_000), rows=size(rows, 120_000), file_rows=file_size)
            many = size(grown, 10_000_000)
            if many:
                measure_grown(place, verdict, grown=many, few=size(few, 100_000), file_rows=file_size)
        stages.main(place, "stages", purchases(STAGE_ROWS, first=_STAGES), ROWS_PER_REQUEST)
    click.echo(f"({time.perf_counter() - begin:.0f} s in all)")
    return int(not verdict.reached)


def measure_singles(place: City, verdict: Verdict) -> None:
    """Print how fast single purchases are."""
    mine, bare = singles.measure(place, purchases(SINGLE_REQUESTS + singles.WARM_REQUESTS, first=_SINGLES))
    p99, bare_p99 = (figures.quantile(0.99) * 1000 for figures in (mine, bare))
    speed, bare_speed = (figures.per_second(SINGLE_REQUESTS) for figures in (mine, bare))
    verdict.tell(
        "single",
        f"{speed:>8,.0f} rows/s   bare  {bare_speed:>8,.0f} rows/s, p99 {p99:.1f} ms, bare {bare_p99:.1f}   ",
        speed / bare_speed,
        SINGLE_AT_LEAST,
        also=p99 <= bare_p99,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
