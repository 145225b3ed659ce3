"""Which regime holds at a place on a day."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from app.divisions.rules import ancestors

_MOST_REMEMBERED = 10_000


class RegimeKind(StrEnum):
    """What a state demands, from the least to the most."""

    COUNTS = "counts"
    """No named registration: one is refused and not stored."""
    REGISTER = "register"
    """Listed drugs need a registration."""
    REGISTER_ALL = "register_all"
    """Every drug needs a registration."""
    SUSPENDED = "suspended"
    """Listed drugs are not for sale. A registration that arrives all the same is kept and flagged."""


class RequiredField(StrEnum):
    """What a state may require to be told: of the buyer, of the patient where that is another person, and of the boxes."""

    NAME = "name"
    DOCUMENT = "document"
    PHONE = "phone"
    ADDRESS = "address"
    TEMPERATURE = "temperature"
    TRACE_CODES = "trace_codes"
    """Of each box of a listed drug, where there is one (`registrations.rules.TRACED_FROM`)."""


_STRICTNESS = {kind: rank for rank, kind in enumerate(RegimeKind)}


@dataclass(frozen=True, slots=True)
class Period:
    """One state of one division for one disease, from `valid_from` until the day before `valid_to` (None: for good)."""

    division: str
    disease: str
    state: RegimeKind
    valid_from: date
    valid_to: date | None
    required: frozenset[RequiredField]

    def holds_on(self, day: date) -> bool:
        """Say whether the state holds on a day."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


@dataclass(frozen=True, slots=True)
class Regime:
    """What holds at a place on a day, and why.

    `diseases` are those whose state is the strictest, by name; `division` is the narrowest that declared one of these, None
    where nobody declared anything. `asking` are all diseases with a duty to register, by name, and `required` has every field
    that any of these asks for.
    """

    state: RegimeKind
    diseases: tuple[str, ...]
    required: frozenset[RequiredField]
    division: str | None
    asking: tuple[str, ...] = ()

    @property
    def registers(self) -> bool:
        """Whether a named registration may be kept."""
        return self.state is not RegimeKind.COUNTS


NOTHING_DECLARED = Regime(RegimeKind.COUNTS, (), frozenset(), None)
"""What holds where nobody has declared anything: data that nobody may keep is not kept."""


class RegimeCalendar:
    """All declared states, arranged to answer for any place and day; answers are remembered."""

    def __init__(self, periods: Iterable[Period]) -> None:
        self._periods: dict[str, dict[str, list[Period]]] = {}
        for period in periods:
            self._periods.setdefault(period.disease, {}).setdefault(period.division, []).append(period)
        self._remembered: dict[tuple[str, date], Regime] = {}

    def regime_on(self, division: str, day: date) -> Regime:
        """Return what holds in a division on a calendar day in China."""
        known = self._remembered.get((division, day))
        if known is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[division, day] = self.look_up(division, day)
        return known

    def changes_in(self, division: str) -> frozenset[date]:
        """Return the days on which another regime may begin in a division; between two of them there is one."""
        periods = (
            period
            for by_division in self._periods.values()
            for place in ancestors(division)
            for period in by_division.get(place, ())
        )
        return frozenset(day for period in periods for day in (period.valid_from, period.valid_to) if day is not None)

    def look_up(self, division: str, day: date) -> Regime:
        """Return the same as `regime_on` and remember nothing: for whoever asks once, of many places and days."""
        places = ancestors(division)
        holding = [
            period
            for by_division in self._periods.values()
            if (period := _narrowest(by_division, places, day)) is not None
        ]
        if not holding:
            return NOTHING_DECLARED
        state = max((period.state for period in holding), key=_STRICTNESS.__getitem__)
        strictest = [period for period in holding if period.state is state]
        asking = [period for period in holding if period.state is not RegimeKind.COUNTS]
        return Regime(
            state=state,
            diseases=tuple(sorted(period.disease for period in strictest)),
            required=frozenset(field for period in asking for field in period.required),
            division=max((period.division for period in strictest), key=len),
            asking=tuple(sorted(period.disease for period in asking)),
        )


def _narrowest(by_division: Mapping[str, list[Period]], places: tuple[str, ...], day: date) -> Period | None:
    for place in places:  # narrowest first
        for period in by_division.get(place, ()):
            if period.holds_on(day):
                return period
    return None


@dataclass(frozen=True, slots=True)
class Span:
    """The days of a state that exists already."""

    valid_from: date
    valid_to: date | None


def overlaps(existing: Span, new: Span) -> bool:
    """Say whether two half-open periods share a day."""
    return (new.valid_to is None or existing.valid_from < new.valid_to) and (
        existing.valid_to is None or new.valid_from < existing.valid_to
    )


def is_ended_by(existing: Span, new: Span) -> bool:
    """Say whether the new state may end an existing one: this one is open-ended and began earlier."""
    return existing.valid_to is None and existing.valid_from < new.valid_from
