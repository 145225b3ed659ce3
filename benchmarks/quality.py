"""How good the matches are: precision and recall of each pass against the labels of the city."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import click

from app.matching.passes import PASSES, Strength
from app.matching.rules import MatchRole
from benchmarks.labelled import Pair

EXACT = (Strength.CERTAIN, Strength.STRONG)
"""What counts at once, and so must never be wrong."""


@dataclass(frozen=True, slots=True)
class Score:
    """How many pairs were found, and how many of these are of one person."""

    found: int
    right: int

    @property
    def precision(self) -> float:
        """The share of what was found that is right; 1 where nothing was found."""
        return self.right / self.found if self.found else 1.0

    def recall(self, truth: int) -> float:
        """The share of all true pairs that was found."""
        return self.right / truth if truth else 1.0


Found = Mapping[str, Collection[Pair]]
"""Pairs by the name of the pass that found them."""


async def found_pairs(url: str, registrations: Sequence[UUID], cases: Sequence[UUID]) -> Found:
    """Return the matches that are stored, in the numbers of the city's records."""
    purchase = {registration_id: number for number, registration_id in enumerate(registrations)}
    case = {case_id: number for number, case_id in enumerate(cases)}
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT registration_id, case_id, role, rule FROM matches WHERE status <> 'withdrawn'"
        )
    finally:
        await connection.close()
    found: defaultdict[str, set[Pair]] = defaultdict(set)
    for row in rows:
        pair = purchase[row["registration_id"]], case[row["case_id"]], MatchRole(row["role"])
        found[row["rule"].partition("/")[0]].add(pair)
    return found


def score(found: Found, truth: Collection[Pair], *strengths: Strength) -> Score:
    """Score all passes of these strengths together; all passes where none is named."""
    wanted = [one.name for one in PASSES if one.strength in strengths or not strengths]
    pairs = {pair for name in wanted for pair in found.get(name, ())}
    return Score(len(pairs), len(pairs & set(truth)))


def tell(found: Found, truth: Collection[Pair]) -> bool:
    """Print the table; return whether nothing that counts at once is wrong."""
    true = set(truth)
    click.echo(f"{'pass':<18}{'strength':<10}{'pairs':>8}{'right':>8}{'precision':>11}{'recall':>9}{'so far':>9}")
    reached = 0
    for one in PASSES:
        pairs = set(found.get(one.name, ()))
        own = Score(len(pairs), len(pairs & true))
        reached += own.right
        click.echo(
            f"{one.name:<18}{one.strength.value:<10}{own.found:>8,}{own.right:>8,}{own.precision:>11.4f}"
            f"{own.recall(len(true)):>9.4f}{reached / max(1, len(true)):>9.4f}"
        )
    exact = score(found, truth, *EXACT)
    click.echo(f"{len(true):,} true pairs; certain and strong: {exact.found - exact.right} wrong (none may be)")
    return exact.found == exact.right
