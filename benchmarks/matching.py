"""Matching a city: a whole case list at once, against the bare join; all passes, against Splink; one registration, in a city ten times
(or a hundred times) as large. And how good the matches are, pass by pass.

    python -m benchmarks matching [--rows N --cases N --large N --splink PYTHON --seed N]

What each row means, and how to run the large sizes: docs/benchmarks.md.
"""

import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

import click

from app.core.clock import SystemClock
from app.core.database import Database
from app.core.sealing import Keyring
from app.matching.alikeness import sounds
from app.matching.service import rematch
from benchmarks import peer, populating, quality, scaling
from benchmarks.labelled import Labelled, LabelledCity
from benchmarks.setting import KEYS, City, city
from benchmarks.spent import Meter, Spent
from benchmarks.tail import bare_join, follow, stages_of

PHARMACIES = 100
SMALL = 100_000, 1_000
ARRIVALS = 200

TAIL_AT_MOST = 3.0
PEER_AT_MOST = 1.0
GROWTH_AT_MOST = 1.5


@dataclass(slots=True)
class Filled:
    """A city in a database, and the labels of what is in it."""

    url: str
    people: LabelledCity
    registrations: list[UUID]
    cases: list[Labelled] = field(default_factory=list)
    case_ids: list[UUID] = field(default_factory=list)


def _as_a_worker() -> None:
    """Be as a worker is that has run for a while: it spares the collector, and has read how characters sound."""
    sounds("王")
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def _verdict(ratio: float, at_most: float) -> bool:
    click.echo(f"   ratio {ratio:.2f} (at most {at_most}) {'ok' if ratio <= at_most else 'TOO MUCH'}")
    return ratio <= at_most


async def _fill(place: City, name: str, rows: int, cases: int, seed: int, now: datetime, folder: Path) -> Filled:
    begin = time.perf_counter()
    url = await place.copy(name)
    people = LabelledCity(rows, cases, seed, now)
    _as_a_worker()
    database = Database(url)
    with peer.writing(folder, now) as noted:
        registrations = await populating.add_purchases(
            database, Keyring.parse(KEYS), map(noted, people.purchases()), now
        )
    await database.dispose()
    await populating.settle(url)
    click.echo(
        f"{rows:,} registrations of {len(people.city.residents):,} residents ({time.perf_counter() - begin:.0f} s)"
    )
    return Filled(url, people, registrations, people.cases())


async def whole_list(filled: Filled, now: datetime) -> bool:
    """Upload all cases and let the tail follow; compare with the bare join, and judge the matches."""
    keyring = Keyring.parse(KEYS)
    database = Database(filled.url)
    meter = await Meter.of(filled.url)
    with meter.measure() as upload:
        filled.case_ids = await populating.add_cases(database, keyring, filled.cases, now)
    await populating.settle(filled.url)
    before = await bare_join(filled.url, meter)
    _as_a_worker()
    await database.dispose()  # a database that is copied has no connection
    copied = Database(await City(filled.url, []).copy("stages"))
    told, everything = await follow(database, keyring, meter)
    after = await bare_join(filled.url, meter)
    stages = await stages_of(copied, keyring, meter)
    for one in (database, copied):
        await one.dispose()
    join = min(before, after, key=lambda one: one.wall)

    found = await quality.found_pairs(filled.url, filled.registrations, filled.case_ids)
    truth = filled.people.truth(filled.cases)
    matches = sum(map(len, found.values()))
    matched = len({case for pairs in found.values() for _, case, _ in pairs})
    click.echo(f"1. {len(filled.cases):,} cases in one upload against {len(filled.registrations):,} registrations")
    click.echo(
        f"   {matched / len(filled.cases):.1%} of the cases have matches: {matches:,}, all stored, their events written"
    )
    click.echo(f"   upload (not counted)   {upload}")
    click.echo(f"   bare join              {join}")
    click.echo(f"   until all is told      {told}")
    click.echo(f"   and rewards worked out {everything} ({everything.wall / join.wall:.2f} of the join)")
    for name, one in stages.items():
        click.echo(f"     {name:<20} {one}")
    per_match = (stages["one after the other"].cpu - stages["rematch"].cpu) / max(1, matches) * 1000
    click.echo(
        f"   CPU: {told.cpu / join.cpu if join.cpu else 0:.2f} of the join; after matching {per_match:.2f} ms for each match"
    )
    fast = _verdict(told.wall / join.wall, TAIL_AT_MOST)
    click.echo("Quality, by the labels")
    return quality.tell(found, truth) and fast


async def against_peer(filled: Filled, url: str, python: str, folder: Path, now: datetime) -> bool:
    """Match a tenth of the cases by all passes, and let Splink predict the same."""
    keyring = Keyring.parse(KEYS)
    cases = filled.cases[: max(1, len(filled.cases) // 10)]
    database = Database(url)
    ids = await populating.add_cases(database, keyring, cases, now)
    await populating.settle(url)
    meter = await Meter.of(url)
    _as_a_worker()
    middle = len(ids) // 2
    with meter.measure() as ours:
        # As a worker shares a list of this length.
        await asyncio.gather(*(_match(database, part, now, keyring) for part in (ids[:middle], ids[middle:])))
    await database.dispose()
    found = await quality.found_pairs(url, filled.registrations, ids)
    truth = filled.people.truth(cases)
    at_once, all_passes = quality.score(found, truth, *quality.EXACT), quality.score(found, truth)
    click.echo(f"2. All passes, {len(cases):,} cases x {len(filled.registrations):,} registrations, matches stored")
    click.echo(f"   sealed, stored         {ours}")
    for name, one in (("counts at once", at_once), ("with possible", all_passes)):
        click.echo(f"     {name:<20} precision {one.precision:.4f}, recall {one.recall(len(truth)):.4f}")
    if not python:
        click.echo("   Splink: left out; --splink PYTHON names a Python in which Splink 5 is installed")
        return True
    peer.write_cases(folder, cases, now)
    theirs = peer.run(python, folder, cases, [made[2] for made in filled.people.made])
    told = peer.at_thresholds(theirs, truth)
    best = max(told, key=lambda one: one.f1)
    as_precise = max((one for one in told if one.precision >= all_passes.precision), key=lambda one: one.recall)
    click.echo(f"   Splink, predict step   {Spent(theirs.wall, theirs.cpu)} (training before: {theirs.training:.1f} s)")
    for name, at in (("at its best", best), ("as precise as we", as_precise)):
        click.echo(
            f"     {name:<20} precision {at.precision:.4f}, recall {at.recall:.4f} (threshold {at.threshold:.4f})"
        )
    good = all_passes.recall(len(truth)) >= as_precise.recall
    click.echo(f"   no threshold of Splink's is as precise and recalls more: {'ok' if good else 'NOT SO'}")
    return _verdict(ours.wall / theirs.wall, PEER_AT_MOST) and good


async def _match(database: Database, ids: Sequence[UUID], now: datetime, keyring: Keyring) -> None:
    async with database.transaction() as session:
        await rematch(session, case_ids=ids, now=now, keyring=keyring)


async def growth(place: City, large: int, seed: int, now: datetime, folder: Path) -> bool:
    """Match single registrations in a small city and in one many times as large."""
    keyring = Keyring.parse(KEYS)
    rows, cases = SMALL
    times = max(2, large // rows)
    small = await _fill(place, "small", rows, cases, seed + 1, now, folder)
    database = Database(small.url)
    small.case_ids = await populating.add_cases(database, keyring, small.cases, now)
    await database.dispose()
    large_url = await City(small.url, []).copy("large")
    begin = time.perf_counter()
    await scaling.multiply(large_url, times, keyring)
    click.echo(f"made {times} times as large ({time.perf_counter() - begin:.0f} s)")
    newcomers = LabelledCity(ARRIVALS, 1, seed + 2, now)
    arrivals = [*newcomers.purchases()]
    databases = Database(small.url), Database(large_url)
    arrived = []
    for one in databases:
        # One in five is somebody on the case list, shown as the list has it.
        shown = [
            arrival if number % 5 else populating.as_listed(arrival, small.cases[number])
            for number, arrival in enumerate(arrivals)
        ]
        arrived.append(await populating.add_purchases(one, keyring, shown, now, first=900_000_000))
        await populating.settle(one.url)
    _as_a_worker()
    mine, theirs = await scaling.compare(*databases, (arrived[0], arrived[1]), keyring)
    for one in databases:
        await one.dispose()
    click.echo(f"3. One registration, {rows:,} registrations and {cases:,} cases present: {mine:.2f} ms")
    click.echo(f"   {rows * times:,} registrations and {cases * times:,} cases present: {theirs:.2f} ms")
    return _verdict(theirs / mine, GROWTH_AT_MOST)


async def _run(place: City, rows: int, cases: int, large: int, python: str, seed: int) -> bool:
    now = SystemClock().now()
    with tempfile.TemporaryDirectory(prefix="sentinel-benchmark-") as folder:
        filled = await _fill(place, "city", rows, cases, seed, now, Path(folder))
        copied = await City(filled.url, []).copy("peer")
        verdicts = [
            await whole_list(filled, now),
            await against_peer(filled, copied, python, Path(folder), now),
            await growth(place, large, seed, now, Path(folder)) if large else True,
        ]
    return all(verdicts)


@click.command()
@click.option("--rows", default=200_000, show_default=True, help="Registrations of rows 1 and 2.")
@click.option("--cases", default=0, help="Cases of row 1; row 2 takes a tenth of them.  [default: a tenth of the rows]")
@click.option(
    "--large", default=1_000_000, show_default=True, help="Registrations of the large city of row 3; 0: leave it out."
)
@click.option("--splink", default="", help="A Python in which Splink 5 is installed, else $BENCHMARK_SPLINK_PYTHON.")
@click.option("--seed", default=2026, show_default=True)
def command(rows: int, cases: int, large: int, splink: str, seed: int) -> int:
    """Measure matching, and judge it by labels."""
    python = splink or os.environ.get("BENCHMARK_SPLINK_PYTHON", "")
    with city(PHARMACIES) as place:
        return int(not asyncio.run(_run(place, rows, cases or rows // 10, large, python, seed)))


def main(options: Sequence[str] = ()) -> int:
    """Measure everything; return 1 if a ratio is not reached, or a match that counts is wrong."""
    begin = time.perf_counter()
    status = command.main(list(options), prog_name="matching", standalone_mode=False)
    click.echo(f"({time.perf_counter() - begin:.0f} s in all)")
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
