"""Giving the labelled city to the peer, and reading what it found."""

import csv
import json
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from app.core.clock import china_day
from app.matching.rules import MatchRole, in_window
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from benchmarks.labelled import Labelled, Pair, Purchase

_COLUMNS = ("unique_id", "name", "document", "born", "phone", "division")


@dataclass(frozen=True, slots=True)
class Found:
    """What the peer found: each pair with its probability, and the seconds that its predict step took."""

    pairs: Sequence[tuple[Pair, float]]
    training: float
    wall: float
    cpu: float


def _cells(key: str, person: PersonIn, now: datetime) -> tuple[str, ...]:
    presented = prepare(person, china_day(now))
    if not isinstance(presented, Presentation):
        raise TypeError("a synthetic person was refused")
    document = presented.document
    born = None if document is None else document.born
    return (
        key,
        presented.name.comparable if presented.name else "",
        document.comparable.rpartition(":")[2] if document else "",
        str(born or ""),
        presented.phone.comparable if presented.phone else "",
        presented.identity.address_division or "",
    )


@contextmanager
def writing(folder: Path, now: datetime) -> Iterator[Callable[[Purchase], Purchase]]:
    """Give a function that notes a purchase for the peer, a line for each buyer and each patient, and hands it on."""
    with (folder / "purchases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        numbers = count()

        def note(purchase: Purchase) -> Purchase:
            number = next(numbers)
            writer.writerow(_cells(f"{number}/buyer", purchase.buyer, now))
            if purchase.patient is not None:
                writer.writerow(_cells(f"{number}/patient", purchase.patient, now))
            return purchase

        yield note


def write_cases(folder: Path, cases: Sequence[Labelled], now: datetime) -> None:
    """Write a line for each case."""
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(_cells(f"case/{number}", case.row.person, now) for number, case in enumerate(cases))


def run(python: str, folder: Path, cases: Sequence[Labelled], times: Sequence[datetime]) -> Found:
    """Let the peer work in its own Python; keep the pairs whose purchase lies in the window, as for this service's own."""
    program = Path(__file__).with_name("splink_peer.py")
    done = subprocess.run([python, str(program), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the peer failed: {done.stderr.strip()[-2000:]}")
    pairs: list[tuple[Pair, float]] = []
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            one, other = line["unique_id_l"], line["unique_id_r"]
            purchase, case = (other, one) if one.startswith("case/") else (one, other)
            number, role = purchase.split("/")
            row = cases[int(case.removeprefix("case/"))].row
            if in_window(times[int(number)], row.onset_on, row.confirmed_at):
                pair = int(number), int(case.removeprefix("case/")), MatchRole(role)
                pairs.append((pair, float(line["match_probability"])))
    figures = json.loads((folder / "figures.json").read_text())
    return Found(pairs, figures["training"], figures["wall"], figures["cpu"])


@dataclass(frozen=True, slots=True)
class At:
    """How good the peer is at one threshold."""

    threshold: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Precision and recall together."""
        return 2 * self.precision * self.recall / (self.precision + self.recall) if self.recall else 0.0


def at_thresholds(found: Found, truth: Collection[Pair]) -> list[At]:
    """Return how good the peer is at each threshold that makes a difference."""
    told, right = [At(1.0, 1.0, 0.0)], 0
    ordered = sorted(found.pairs, key=lambda pair: -pair[1])
    for taken, (pair, probability) in enumerate(ordered, start=1):
        right += pair in truth
        if taken == len(ordered) or ordered[taken][1] != probability:
            told.append(At(probability, right / taken, right / max(1, len(truth))))
    return told
