"""Deals out the courses among those infected, and makes their visits and their way to the case list."""

from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from app.demo.city import FUBAO, HUAQIANGBEI, SHATOU, STREETS, City
from app.demo.counter import (
    Purchase,
    Shown,
    fever_temperature,
    normal_temperature,
    show_papers,
    without_papers,
)
from app.demo.courses import COURSES, WHO, Course, Visit
from app.demo.outbreak import Infection
from app.demo.papers import Paper
from app.demo.rhythm import moment
from app.demo.script import DAYS, Calendar
from app.demo.shelf import fill_basket, fill_unlisted_basket
from app.demo.stage import Stage

USUAL = "usual"
_MARGIN_DAYS = 14
"""A purchase exactly so many days before confirmation would leave the reward's window to the hour; nobody makes one."""


@dataclass(frozen=True, slots=True)
class Illness:
    """An infection with all that follows from it.

    `stages` are the classifications that the authority knew, with since when; without stages the case was never found.
    `by_name_first` says that the first list had a name only.
    """

    infection: Infection
    course: str
    stages: tuple[tuple[datetime, str], ...]
    confirmed_at: datetime | None
    withdrawn_at: datetime | None
    paid_before: bool
    told_onset: bool
    paper: Paper | None
    phone: str
    by_name_first: bool
    purchases: tuple[Purchase, ...]

    @property
    def resident(self) -> int:
        """Who is ill."""
        return self.infection.resident


class Diary:
    """Keeps the days and pharmacies of those on the usual course apart, so that no two of their registrations vie with each other."""

    def __init__(self) -> None:
        """Begin empty: whoever is not in the diary buys as he likes."""
        self._days: dict[int, set[int]] = {}
        self._pharmacies: dict[int, set[int]] = {}
        self._confirm: dict[int, int | None] = {}

    def open_for(self, resident: int, confirm_day: int | None, *, closed: bool) -> None:
        """Begin somebody's diary; a closed one takes no further purchase."""
        self._days[resident] = set(range(DAYS + 1)) if closed else set()
        self._pharmacies[resident] = set()
        self._confirm[resident] = confirm_day

    def takes(self, resident: int, day: int, pharmacy: int) -> bool:
        """Tell whether somebody can buy there on that day, and write it down."""
        if resident not in self._days:
            return True
        confirm = self._confirm[resident]
        if confirm is not None and (day >= confirm or confirm - day == _MARGIN_DAYS):
            return False
        if day in self._days[resident] or pharmacy in self._pharmacies[resident]:
            return False
        self._days[resident].add(day)
        self._pharmacies[resident].add(pharmacy)
        return True

    def knows(self, resident: int) -> bool:
        """Tell whether somebody is kept apart at all."""
        return resident in self._days


class Casting:
    """Makes an illness out of each infection."""

    def __init__(self, rng: Random, city: City, stage: Stage, calendar: Calendar, infections: list[Infection]) -> None:
        """Prepare; `diary` and `staff` (pharmacy → residents who work there) are filled on the way."""
        self._rng = rng
        self._city = city
        self._stage = stage
        self._calendar = calendar
        self._infections = infections
        self._infected = {infection.resident for infection in infections}
        self._seconds: set[datetime] = set()
        self.diary = Diary()
        self.staff: dict[int, list[int]] = {}

    def deal(self, scale: float) -> list[Illness]:
        """Return one illness for each infection, in order of onset."""
        course_of: dict[int, Course] = {}
        # One case for every course before any course gets its second.
        rounds = [(course, 1) for course in COURSES]
        rounds += [(course, round(course.count * scale) - 1) for course in COURSES]
        for course, count in rounds:
            able = [infection for infection in self._infections if infection.resident not in course_of]
            able = [infection for infection in able if self._can_take(course, infection)]
            for infection in self._rng.sample(able, max(0, min(count, len(able)))):
                course_of[infection.resident] = course
        illnesses = []
        for infection in self._infections:
            own = course_of.get(infection.resident)
            illnesses.append(self._take(infection, own) if own else self._usual(infection))
        return illnesses

    def _can_take(self, course: Course, infection: Infection) -> bool:
        if infection.onset_day not in course.onsets or not WHO[course.who](self._city, infection.resident):
            return False
        if any(visit.manner in ("by another", "for another") for visit in course.visits):
            return bool(self._companions(infection.resident, course.who == "child"))
        return True

    def _companions(self, resident: int, grown_up: bool) -> list[int]:
        members = self._city.grown_ups_beside(resident) if grown_up else self._city.household_of(resident).members
        return [member for member in members if member != resident and member not in self._infected]

    def _take(self, infection: Infection, course: Course) -> Illness:
        confirm_day = (
            self._rng.choice(course.confirm) if course.confirm else infection.onset_day + self._rng.randrange(2, 5)
        )
        self.diary.open_for(infection.resident, confirm_day, closed=True)
        purchases: list[Purchase] = []
        for visit in course.visits:
            purchases.append(self._visit(infection, confirm_day, course, visit, purchases))
        stages, confirmed_at, withdrawn_at = self._path(course.path, infection.onset_day, confirm_day)
        return Illness(
            infection,
            course.name,
            stages,
            confirmed_at,
            withdrawn_at,
            course.path == "withdrawn after payment",
            course.told_onset,
            self._city.residents[infection.resident].papers[0] if course.list_paper else None,
            self._city.residents[infection.resident].phone_on(confirm_day),
            course.path == "by name first",
            tuple(purchases),
        )

    def _usual(self, infection: Infection) -> Illness:
        rng, onset = self._rng, infection.onset_day
        resident = self._city.residents[infection.resident]
        confirm_day = onset + rng.randrange(2, 6)
        self.diary.open_for(resident.index, confirm_day, closed=False)
        purchases = []
        for day in range(max(0, onset - 1), min(confirm_day, DAYS)):
            pharmacy = self._near(resident.index, day, [], plain=False)
            goes = self._city.is_grown_up(resident.index) and rng.random() < 0.4
            if goes and self.diary.takes(resident.index, day, pharmacy):
                purchases.append(self._purchase(infection, day, pharmacy, "complete", USUAL))
        path = rng.choices(("confirmed", "staged", "probable", "never"), (50, 25, 10, 15))[0]
        stages, confirmed_at, _ = self._path(path, onset, confirm_day)
        # The window of a case without onset has another anchor until it is confirmed: only those listed as confirmed are so.
        told_onset = path != "confirmed" or rng.random() < 0.85
        paper = resident.papers[0] if rng.random() < 0.92 else None
        phone = resident.phone_on(confirm_day)
        return Illness(
            infection, USUAL, stages, confirmed_at, None, False, told_onset, paper, phone, False, tuple(purchases)
        )

    def _path(
        self, path: str, onset: int, confirm_day: int
    ) -> tuple[tuple[tuple[datetime, str], ...], datetime | None, datetime | None]:
        """Return the stages, the time of confirmation and the time of withdrawal."""
        confirmed_at, suspected_at = self._result_time(confirm_day), self._result_time(onset + 1, early=True)
        if path == "never":
            return (), None, None
        if path == "suspected":
            return ((suspected_at, "suspected"),), None, None
        if path == "withdrawn when suspected":
            return ((suspected_at, "suspected"),), None, self._calendar.at(onset + 4, 15)
        stages: tuple[tuple[datetime, str], ...] = ((confirmed_at, "confirmed"),)
        if path in ("staged", "by name first", "probable"):
            stages = ((suspected_at, "suspected"), *stages)
        if path == "probable" and confirm_day > onset + 2:
            stages = (stages[0], (self._result_time(onset + 2, early=True), "probable"), stages[1])
        if path == "withdrawn after payment":
            return stages, confirmed_at, self._calendar.at(17, 11)
        if path == "withdrawn":
            return stages, confirmed_at, self._calendar.at(confirm_day + 3, 15)
        return stages, confirmed_at, None

    def _result_time(self, day: int, *, early: bool = False) -> datetime:
        # Between a quarter past and ten to the hour: no registration is received so late in an hour. No two at one second.
        while True:
            hour = 8 if early else self._rng.randrange(9, 21)
            instant = self._calendar.at(day, hour, self._rng.randrange(15, 50), self._rng.randrange(60))
            if instant not in self._seconds:
                self._seconds.add(instant)
                return instant

    def _visit(
        self, infection: Infection, confirm_day: int, course: Course, visit: Visit, before: list[Purchase]
    ) -> Purchase:
        start = {"story": 0, "onset": infection.onset_day, "confirm": confirm_day}[visit.since]
        day = start + self._rng.randint(visit.first, visit.last)
        pharmacy = self._place(visit, infection.resident, day, before)
        return self._purchase(infection, day, pharmacy, visit.manner, course.name)

    def _place(self, visit: Visit, resident: int, day: int, before: list[Purchase]) -> int:
        stage = self._stage
        if visit.place == "again":
            return before[-1].pharmacy
        parts = {
            "hub": stage.hub,
            "remote": stage.remote,
            "suspended": stage.suspension.pharmacy,
            "long outage": stage.long_outage.pharmacy,
            "short outage": stage.short_outage.pharmacy,
        }
        if visit.place in parts:
            return parts[visit.place]
        streets = {"all registered": HUAQIANGBEI, "counted": FUBAO, "closed off": SHATOU}
        if visit.place in streets:
            pharmacies = self._city.pharmacies
            return self._rng.choice([shop.index for shop in pharmacies if shop.street == streets[visit.place]])
        pharmacy = self._near(resident, day, [purchase.pharmacy for purchase in before], plain=True)
        if visit.place == "employer":
            self.staff.setdefault(pharmacy, []).append(resident)
        return pharmacy

    def _near(self, resident: int, day: int, avoid: list[int], *, plain: bool) -> int:
        home = self._city.street_of(resident)
        walkable = (home, home, home, *STREETS[home].beside)
        avoid = [*avoid, self._stage.hub, self._stage.remote]
        shops = [shop for shop in self._city.pharmacies if shop.index not in avoid]
        if plain:
            shops = [shop for shop in shops if self._is_plain_until_tomorrow(shop.index, day)]
        near = [shop.index for street in walkable for shop in shops if shop.street == street]
        return self._rng.choice(near or [shop.index for shop in shops])

    def _is_plain_until_tomorrow(self, pharmacy: int, day: int) -> bool:
        # Some courses come back to the same counter on the next day.
        return all(self._stage.is_plain(self._city, pharmacy, which) for which in (day, day + 1))

    def _purchase(self, infection: Infection, day: int, pharmacy: int, manner: str, story: str) -> Purchase:
        rng, city, resident = self._rng, self._city, infection.resident
        ill = infection.onset_day <= day
        temperature = fever_temperature(rng) if ill and rng.random() < 0.5 else normal_temperature(rng)
        shown = show_papers(rng, city, resident, day, temperature)
        if story != USUAL:  # a course is certain of the document it shows
            shown = replace(shown, paper=city.residents[resident].papers[0])
        buyer, patient = self._in_manner(shown, manner, day)
        basket = fill_unlisted_basket(rng) if manner == "unlisted" else fill_basket(rng)
        symptoms = tuple(rng.sample(("fever", "cough"), rng.choice((0, 1, 2)))) if ill else ()
        exposed = infection.infected_by is not None and rng.random() < 0.12
        code = rng.choices(("green", "yellow", "red"), (90, 8, 2))[0] if ill else "green"
        return Purchase(
            pharmacy,
            moment(rng, self._calendar, day),
            buyer,
            patient,
            basket,
            exposed,
            code,
            symptoms,
            f"case: {story}",
        )

    def _in_manner(self, shown: Shown, manner: str, day: int) -> tuple[Shown, Shown | None]:
        rng, city = self._rng, self._city
        if manner == "no address":
            return replace(shown, address=False), None
        if manner == "no temperature":
            return replace(shown, temperature_c=None), None
        if manner == "no papers":
            return without_papers(rng, shown), None
        if manner == "other paper":
            return replace(shown, paper=city.residents[shown.resident].papers[1]), None
        if manner == "phone alone":
            return replace(shown, name=False, paper=None), None
        if manner == "for another":
            other = rng.choice(self._companions(shown.resident, False))
            buyer = replace(shown, temperature_c=normal_temperature(rng))
            return buyer, show_papers(rng, city, other, day, fever_temperature(rng))
        if manner == "by another":
            parent = rng.choice(self._companions(shown.resident, True))
            patient = without_papers(rng, shown) if rng.random() < 0.4 else shown
            return show_papers(rng, city, parent, day, normal_temperature(rng)), patient
        return shown, None
