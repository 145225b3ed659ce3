"""The outbreak: who falls ill on which day, and from whom.

It begins with one resident of Shatou and goes from household to household, street to street. How many fall ill on each day is
given, so that every seed tells a story of the same size; whom it reaches is left to chance and to who lives beside whom.
"""

from dataclasses import dataclass
from random import Random

from app.demo.city import SHATOU, STREETS, City

ONSETS = (1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 12, 11, 9, 8, 6, 5, 4, 3)
"""Residents who fall ill on each day of the story: the growth of three weeks and the turn that measures bring."""

SERIAL_INTERVAL_DAYS = range(1, 7)
"""Days from one onset to the onset of those infected by it."""

AT_HOME = 0.35
IN_THE_STREET = 0.65


@dataclass(frozen=True, slots=True)
class Infection:
    """One resident's infection; days count from the start of the story."""

    resident: int
    onset_day: int
    infected_by: int | None


def spread(rng: Random, city: City, scale: float) -> list[Infection]:
    """Return the infections in order of onset, `scale` times 130 of them but at least one a day."""
    neighbours: list[list[int]] = [[] for _ in STREETS]
    for inhabitant in city.residents:
        neighbours[city.street_of(inhabitant.index)].append(inhabitant.index)
    infected: dict[int, Infection] = {}
    for day, onsets in enumerate(ONSETS):
        for _ in range(max(1, round(onsets * scale))):
            source = _source(rng, infected, day)
            resident = _contact(rng, city, neighbours, infected, source)
            infected[resident] = Infection(resident, day, source)
    return list(infected.values())


def _source(rng: Random, infected: dict[int, Infection], day: int) -> int | None:
    able = [infection.resident for infection in infected.values() if day - infection.onset_day in SERIAL_INTERVAL_DAYS]
    return rng.choice(able) if able else None


def _contact(
    rng: Random, city: City, neighbours: list[list[int]], infected: dict[int, Infection], source: int | None
) -> int:
    if source is not None and rng.random() < AT_HOME:
        home = [member for member in city.household_of(source).members if member not in infected]
        if home:
            return rng.choice(home)
    street = SHATOU if source is None else city.street_of(source)
    if source is not None and rng.random() >= IN_THE_STREET:
        street = rng.choice(STREETS[street].beside)
    well = [resident for resident in neighbours[street] if resident not in infected]
    return rng.choice(well or [resident.index for resident in city.residents if resident.index not in infected])
