"""The circumstances of the weeks told: what the streets require, who is suspended, whose till is cut off, who plays a part."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from app.demo.city import DISTRICT, FUBAO, HUAQIANGBEI, SHATOU, STREETS, City, Till
from app.demo.script import OFFICE_HOUR, Calendar, Hour, Json, SetRegime, SetStanding

DISEASE = "covid-19"
BACK_ONLINE_HOUR = 7
"""A till that was cut off delivers before the shop opens, an hour away from any threshold of whole days."""


@dataclass(frozen=True, slots=True)
class Regime:
    """What a street (or, with `street` None, the district) requires from one day until before another."""

    street: int | None
    state: str
    from_day: int
    until_day: int | None

    def holds_on(self, day: int) -> bool:
        """Tell whether it is in force on a day."""
        return self.from_day <= day and (self.until_day is None or day < self.until_day)


REGIMES = (
    Regime(None, "register", 0, None),
    Regime(FUBAO, "counts", 2, 7),
    Regime(HUAQIANGBEI, "register_all", 10, 16),
    Regime(SHATOU, "suspended", 12, 16),
)


@dataclass(frozen=True, slots=True)
class Outage:
    """A till without a line: from the opening of one day until the early morning of another."""

    pharmacy: int
    from_day: int
    back_day: int


@dataclass(frozen=True, slots=True)
class Suspension:
    """A pharmacy under a sanction, from one day until before another."""

    pharmacy: int
    from_day: int
    until_day: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Who plays which part.

    `hub` is the pharmacy at which so many cases turn up that the reward's cap is reached, `remote` one that no other case goes
    to while ill; `clumsy` tills send malformed rows.
    """

    hub: int
    remote: int
    suspension: Suspension
    long_outage: Outage
    short_outage: Outage
    outages: tuple[Outage, ...]
    clumsy: tuple[int, ...]

    def regime_on(self, street: int, day: int) -> str:
        """Return the state of a street on a day: its own, else the district's."""
        own = [regime.state for regime in REGIMES if regime.street == street and regime.holds_on(day)]
        return own[0] if own else next(r.state for r in REGIMES if r.street is None and r.holds_on(day))

    def is_suspended(self, pharmacy: int, day: int) -> bool:
        """Tell whether a pharmacy is under a sanction on a day."""
        spell = self.suspension
        return pharmacy == spell.pharmacy and spell.from_day <= day < spell.until_day

    def outage_on(self, pharmacy: int, day: int) -> Outage | None:
        """Return the outage in which a pharmacy's till is on a day."""
        spells = (
            spell for spell in self.outages if spell.pharmacy == pharmacy and spell.from_day <= day < spell.back_day
        )
        return next(spells, None)

    def is_plain(self, city: City, pharmacy: int, day: int) -> bool:
        """Tell whether nothing out of the ordinary goes on at a pharmacy on a day."""
        return (
            self.regime_on(city.pharmacies[pharmacy].street, day) == "register"
            and not self.is_suspended(pharmacy, day)
            and self.outage_on(pharmacy, day) is None
            and pharmacy not in (self.hub, self.remote)
        )


def set_stage(rng: Random, city: City) -> Stage:
    """Give out the parts among the pharmacies of streets whose regime never changes."""
    special = {regime.street for regime in REGIMES}
    quiet = [pharmacy.index for pharmacy in city.pharmacies if pharmacy.street not in special]
    rng.shuffle(quiet)
    hub = _take(quiet, lambda pharmacy: city.pharmacies[pharmacy].till is Till.COUNTER)
    remote, suspended, long, short = (_take(quiet, lambda _: True) for _ in range(4))
    long_outage, short_outage = Outage(long, 5, 10), Outage(short, 8, 10)
    # A small city keeps its few ordinary pharmacies; a large one has more tills with bad lines and bad manners.
    spare = len(quiet) // 5
    others = [(4, 5), (12, 13), (16, 17), (14, 16), (10, 15)][:spare]
    further = [Outage(quiet.pop(), from_day, back_day) for from_day, back_day in others]
    return Stage(
        hub,
        remote,
        Suspension(suspended, 9, 13),
        long_outage,
        short_outage,
        (long_outage, short_outage, *further),
        tuple(quiet[: max(1, len(quiet) // 12)]),
    )


def _take(pharmacies: list[int], wanted: Callable[[int], bool]) -> int:
    found = next((pharmacy for pharmacy in pharmacies if wanted(pharmacy)), pharmacies[0])
    pharmacies.remove(found)
    return found


def official_acts(stage: Stage, calendar: Calendar) -> list[Hour]:
    """Return the regimes and standings, each stated early on the day from which it holds."""
    hours = []
    for regime in REGIMES:
        body: Json = {
            "division": DISTRICT if regime.street is None else STREETS[regime.street].code,
            "disease": DISEASE,
            "state": regime.state,
            "valid_from": calendar.on(regime.from_day).isoformat(),
            "valid_to": None if regime.until_day is None else calendar.on(regime.until_day).isoformat(),
        }
        hours.append(Hour(calendar.at(regime.from_day, OFFICE_HOUR), False, (SetRegime(body),)))
    spell = stage.suspension
    for day, standing, reason in (
        (spell.from_day, "suspended", "Sold listed drugs without registration (synthetic)"),
        (spell.until_day, "active", "Corrected and inspected (synthetic)"),
    ):
        body = {"standing": standing, "standing_from": calendar.on(day).isoformat(), "reason": reason}
        hours.append(Hour(calendar.at(day, OFFICE_HOUR), False, (SetStanding(spell.pharmacy, body),)))
    return hours
