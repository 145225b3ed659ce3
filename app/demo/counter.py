"""At the counter: what a buyer shows, what is bought, and for whom."""

from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from app.demo.city import City
from app.demo.papers import Paper
from app.demo.shelf import Basket

FEVER_C = 37.3
NO_PAPERS = ("left at home", "lost, replacement applied for", "child without a card")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the counter learns of one person; None or False is what it does not learn."""

    resident: int
    name: bool
    paper: Paper | None
    no_paper_because: str | None
    phone: str | None
    address: bool
    temperature_c: float | None

    def is_complete(self) -> bool:
        """Tell whether name, document (or a reason for none), phone, address and temperature are all there."""
        papers = self.paper is not None or self.no_paper_because is not None
        return self.name and papers and self.phone is not None and self.address and self.temperature_c is not None


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase as it happened; `story` says in a word why it is part of the plan."""

    pharmacy: int
    at: datetime
    buyer: Shown
    patient: Shown | None
    basket: Basket
    exposed: bool = False
    code: str = "green"
    symptoms: tuple[str, ...] = ()
    story: str = "background"

    def is_complete(self) -> bool:
        """Tell whether all that a registration requires is there, for the patient too."""
        return self.buyer.is_complete() and (self.patient is None or self.patient.is_complete())

    def has_fever(self) -> bool:
        """Tell whether the one who will take the drug has a fever."""
        taker = self.patient or self.buyer
        return taker.temperature_c is not None and taker.temperature_c >= FEVER_C


def show_papers(rng: Random, city: City, resident: int, day: int, temperature_c: float | None) -> Shown:
    """Return what somebody shows on an ordinary visit: the usual document, sometimes another one."""
    person = city.residents[resident]
    paper = person.papers[0] if rng.random() < 0.88 else rng.choice(person.papers)
    return Shown(resident, True, paper, None, person.phone_on(day), True, temperature_c)


def without_papers(rng: Random, shown: Shown) -> Shown:
    """Return the same visit with the documents left at home."""
    return replace(shown, paper=None, no_paper_because=rng.choice(NO_PAPERS))


def normal_temperature(rng: Random) -> float:
    """Return a temperature below the fever limit, in °C; 37.2 is the highest."""
    return round(min(37.2, max(35.8, rng.gauss(36.6, 0.25))), 1)


def fever_temperature(rng: Random) -> float:
    """Return a temperature at or above the fever limit, in °C; 37.3 is the lowest, and common enough to be met."""
    return round(min(39.8, FEVER_C + abs(rng.gauss(0, 0.9))), 1)
