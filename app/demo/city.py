"""Futian as far as the story needs it: ten streets, pharmacies and their tills, households and who lives in them.

Street names and codes are the real ones (statistics codes of 2024); everybody and everything in them is synthetic.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from random import Random

from app.demo.papers import HONG_KONG_AREA, Paper, Registry
from app.demo.script import Json

DISTRICT = "440304"
RESIDENTS = 3500
PHARMACIES = 60
GROWN_UP = 15
"""The age from which somebody is sent to the pharmacy alone."""

ELDERLY = 70


@dataclass(frozen=True, slots=True)
class Street:
    """A street office; `weight` is its share of residents (rough), `beside` the streets that people walk over to."""

    code: str
    name: str
    weight: int
    beside: tuple[int, ...]


STREETS = (
    Street("440304001", "南园街道", 9, (2, 9)),
    Street("440304002", "园岭街道", 9, (7, 9)),
    Street("440304004", "福田街道", 17, (0, 3, 6, 8)),
    Street("440304005", "沙头街道", 18, (2, 4, 8)),
    Street("440304006", "香蜜湖街道", 10, (3, 5, 6)),
    Street("440304007", "梅林街道", 14, (4, 6, 7)),
    Street("440304008", "莲花街道", 11, (2, 4, 5, 7)),
    Street("440304009", "华富街道", 7, (1, 5, 6, 9)),
    Street("440304010", "福保街道", 6, (2, 3)),
    Street("440304011", "华强北街道", 6, (0, 1, 7)),
)
SHATOU, FUBAO, HUAQIANGBEI = 3, 8, 9


class Till(StrEnum):
    """How a pharmacy's till sends."""

    COUNTER = "counter"
    """each purchase by itself, in the hour after it"""
    HOURLY = "hourly"
    """what the last hour brought, as one JSON array"""
    NIGHTLY = "nightly"
    """the day's purchases after closing, as NDJSON"""


@dataclass(frozen=True, slots=True)
class Pharmacy:
    """A reporting site; `body` is its enrolment."""

    index: int
    street: int
    till: Till
    body: Json


@dataclass(frozen=True, slots=True)
class Resident:
    """Somebody with a name, papers and a phone, which may be the household's.

    From `changes_on` (a day of the story) the phone is `next_phone`.
    """

    index: int
    household: int
    name: str
    born: date
    papers: tuple[Paper, ...]
    phone: str
    next_phone: str | None = None
    changes_on: int | None = None

    def phone_on(self, day: int) -> str:
        """Return the phone that the resident gives on a day of the story."""
        if self.next_phone is not None and self.changes_on is not None and day >= self.changes_on:
            return self.next_phone
        return self.phone

    def age_on(self, day: date) -> int:
        """Return the age in completed years."""
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))


@dataclass(frozen=True, slots=True)
class Household:
    """People who live together, share a door and often a phone."""

    street: int
    line: str
    members: tuple[int, ...]


@dataclass(slots=True)
class City:
    """Everybody and every pharmacy, by index."""

    opening: date
    pharmacies: list[Pharmacy] = field(default_factory=list)
    households: list[Household] = field(default_factory=list)
    residents: list[Resident] = field(default_factory=list)

    def household_of(self, resident: int) -> Household:
        """Return the household somebody lives in."""
        return self.households[self.residents[resident].household]

    def street_of(self, resident: int) -> int:
        """Return the street somebody lives in."""
        return self.household_of(resident).street

    def is_grown_up(self, resident: int) -> bool:
        """Tell whether somebody goes to the pharmacy alone."""
        return self.residents[resident].age_on(self.opening) >= GROWN_UP

    def grown_ups_beside(self, resident: int) -> list[int]:
        """Return the others of a household who could go to the pharmacy in somebody's place."""
        members = self.household_of(resident).members
        return [member for member in members if member != resident and self.is_grown_up(member)]


def build_city(rng: Random, scale: float, opening: date) -> City:
    """Return a city of `scale` times 60 pharmacies (at least one a street) and 3,500 residents, as on the day `opening`."""
    city = City(opening)
    _enrol_pharmacies(city, rng, max(len(STREETS), round(PHARMACIES * scale)))
    builder = _Builder(city, rng)
    while len(city.residents) < max(300, RESIDENTS * scale):
        builder.add_household()
    return city


def _enrol_pharmacies(city: City, rng: Random, total: int) -> None:
    streets = list(range(len(STREETS)))
    streets += rng.choices(streets, [street.weight for street in STREETS], k=total - len(streets))
    for index, street in enumerate(streets):
        till = rng.choices(tuple(Till), (60, 25, 15))[0]
        body = {
            "name": f"{STREETS[street].name[:-2]}演示药房 {index + 1:02d} 号店",
            "uscc": _credit_code(index),
            "licence_number": f"粤DA755{index + 1:04d}",
            "division": STREETS[street].code,
            "address": f"{STREETS[street].name}演示路 {index + 1} 号",
            "location": {"lat": round(22.52 + rng.random() * 0.06, 5), "lon": round(114.0 + rng.random() * 0.1, 5)},
            "chain": None,
            "enrolled_on": (city.opening - timedelta(days=90)).isoformat(),
        }
        city.pharmacies.append(Pharmacy(index, street, till, body))


class _Builder:
    """Fills the city household by household."""

    def __init__(self, city: City, rng: Random) -> None:
        self._city = city
        self._rng = rng
        self._registry = Registry(rng)

    def add_household(self) -> None:
        """Move in: mostly a family, sometimes people from Hong Kong, Taiwan or abroad."""
        city, rng = self._city, self._rng
        street = rng.choices(range(len(STREETS)), [street.weight for street in STREETS])[0]
        origin = rng.choices(("mainland", "hong_kong", "taiwan", "abroad"), (945, 25, 12, 18))[0]
        first = len(city.residents)
        ages = self._ages()
        shared = (
            self._registry.hong_kong_mobile()
            if origin == "hong_kong" and rng.random() < 0.5
            else self._registry.mobile()
        )
        surnames = [self._registry.surname(), self._registry.surname()]
        names: set[str] = set()
        for place, age in enumerate(ages):
            name = self._name(origin, surnames[place % 2 if age >= GROWN_UP else 0], names)
            names.add(name)
            self._add_resident(origin, name, age, shared)
        line = f"演示花园 {rng.randrange(1, 40)} 栋 {rng.randrange(2, 33)}{rng.randrange(1, 9):02d} 室 {len(city.households)}"
        city.households.append(Household(street, line, tuple(range(first, len(city.residents)))))

    def _ages(self) -> list[int]:
        rng = self._rng
        shape = rng.choices(("one", "two", "child", "children", "three generations"), (24, 26, 26, 10, 14))[0]
        adult = rng.randrange(22, 60)
        if shape == "one":
            return [rng.choice((adult, rng.randrange(ELDERLY, 88)))]
        ages = [adult, min(64, max(20, adult + rng.randrange(-4, 5)))]
        if shape in ("child", "children", "three generations"):
            ages.append(rng.randrange(1, GROWN_UP - 1))
        if shape == "children":
            ages.append(rng.randrange(1, GROWN_UP - 1))
        if shape == "three generations":
            ages.append(rng.randrange(ELDERLY, 90))
        return ages

    def _name(self, origin: str, surname: str, taken: set[str]) -> str:
        # Two of one name behind one phone would be one person to anybody who sees but the name and the phone.
        while True:
            name = self._registry.foreign_name() if origin == "abroad" else self._registry.name(surname)
            if name not in taken:
                return name

    def _add_resident(self, origin: str, name: str, age: int, shared: str) -> None:
        city, rng, registry = self._city, self._rng, self._registry
        index = len(city.residents)
        born = city.opening - timedelta(days=age * 365 + age // 4 + rng.randrange(20, 340))
        dependent = age < GROWN_UP or age >= ELDERLY
        phone = shared if dependent or rng.random() < 0.35 else registry.mobile()
        changes = not dependent and rng.random() < 0.03
        city.residents.append(
            Resident(
                index,
                len(city.households),
                name,
                born,
                self._papers(origin, index, age, born),
                phone,
                registry.mobile() if changes else None,
                rng.randrange(3, 18) if changes else None,
            )
        )

    def _papers(self, origin: str, owner: int, age: int, born: date) -> tuple[Paper, ...]:
        rng, registry = self._rng, self._registry
        if origin == "hong_kong":
            papers = [registry.hk_macau_permit(owner)]
            if rng.random() < 0.4:
                papers.append(registry.resident_id(owner, born, HONG_KONG_AREA))
        elif origin == "taiwan":
            papers = [registry.taiwan_permit(owner)]
        elif origin == "abroad":
            papers = [registry.passport(owner, "P")]
            if rng.random() < 0.5:
                papers.insert(0, registry.foreigner_card(owner, born))
        else:
            papers = [registry.resident_id(owner, born)]
            if rng.random() < (0.3 if age >= GROWN_UP else 0.6):
                papers.append(registry.insurance_card(owner))
            if age >= GROWN_UP and rng.random() < 0.06:
                papers.append(registry.passport(owner))
        return tuple(papers)


_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def _credit_code(index: int) -> str:
    """Return a unified social credit code with both check characters (GB 11714, GB 32100), under letters that say DEM(o)."""
    organisation = f"DEM{index:05d}"
    values = [int(character, 36) for character in organisation]
    rest = 11 - sum(value * weight for value, weight in zip(values, _ORGANISATION_WEIGHTS, strict=True)) % 11
    body = f"91{DISTRICT}{organisation}{'X' if rest == 10 else rest % 11}"
    total = sum(
        _CREDIT_ALPHABET.index(character) * weight for character, weight in zip(body, _CREDIT_WEIGHTS, strict=True)
    )
    return body + _CREDIT_ALPHABET[-total % 31]
