"""The background: residents who buy something for a cough, a fever or the cupboard, and have nothing to do with the outbreak."""

from dataclasses import replace
from random import Random

from app.demo.casting import Diary
from app.demo.city import STREETS, City
from app.demo.counter import (
    Purchase,
    Shown,
    fever_temperature,
    normal_temperature,
    show_papers,
    without_papers,
)
from app.demo.rhythm import moment, weights_of_days
from app.demo.script import DAYS, Calendar
from app.demo.shelf import fill_basket, fill_unlisted_basket

PURCHASES = 2900
"""Purchases at scale 1 by residents who are not on a course of their own."""

FOR_ANOTHER = 0.12
FEVERISH = 0.06
WITHOUT_PAPERS = 0.05
INCOMPLETE = 0.02
UNLISTED_ONLY = 0.06
EXPOSED = 0.01
AWAY_FROM_HOME = 0.15


def shop(
    rng: Random, city: City, calendar: Calendar, diary: Diary, staff: dict[int, list[int]], scale: float
) -> list[Purchase]:
    """Return the background purchases; some of the `staff` (pharmacy → residents) buy where they work."""
    days = range(DAYS + 1)
    weights = weights_of_days(calendar, days)
    grown_ups = [resident.index for resident in city.residents if city.is_grown_up(resident.index)]
    by_street = [[shop.index for shop in city.pharmacies if shop.street == street] for street in range(len(STREETS))]
    purchases = []
    for _ in range(round(PURCHASES * scale)):
        day = rng.choices(days, weights)[0]
        buyer = rng.choice(grown_ups)
        pharmacy = _pharmacy(rng, by_street, city.street_of(buyer))
        purchase = _purchase(rng, city, calendar, day, buyer, pharmacy)
        if _is_free(diary, purchase, day):
            purchases.append(purchase)
    for pharmacy, members in staff.items():
        member = members[0]
        if not diary.knows(member):
            day = rng.choice(days[:-1])
            purchase = _purchase(rng, city, calendar, day, member, pharmacy)
            if purchase.patient is None or not diary.knows(purchase.patient.resident):
                purchases.append(replace(purchase, story="staff"))
    return purchases


def _is_free(diary: Diary, purchase: Purchase, day: int) -> bool:
    # Nobody on the usual course buys for somebody else here: two diaries would have to agree.
    if purchase.patient is None:
        return diary.takes(purchase.buyer.resident, day, purchase.pharmacy)
    return not (diary.knows(purchase.buyer.resident) or diary.knows(purchase.patient.resident))


def _pharmacy(rng: Random, by_street: list[list[int]], home: int) -> int:
    street = rng.choice(STREETS[home].beside) if rng.random() < AWAY_FROM_HOME else home
    return rng.choice(by_street[street])


def _purchase(rng: Random, city: City, calendar: Calendar, day: int, buyer: int, pharmacy: int) -> Purchase:
    feverish = rng.random() < FEVERISH
    others = [member for member in city.household_of(buyer).members if member != buyer]
    patient: Shown | None = None
    temperature = fever_temperature(rng) if feverish else normal_temperature(rng)
    if others and rng.random() < FOR_ANOTHER:
        patient = show_papers(rng, city, rng.choice(others), day, temperature)
        if rng.random() < 3 * WITHOUT_PAPERS:
            patient = without_papers(rng, patient)
        temperature = normal_temperature(rng)
    shown = show_papers(rng, city, buyer, day, temperature)
    if rng.random() < WITHOUT_PAPERS:
        shown = without_papers(rng, shown)
    if rng.random() < INCOMPLETE:
        shown = _forget_something(rng, shown)
    basket = fill_unlisted_basket(rng) if rng.random() < UNLISTED_ONLY else fill_basket(rng)
    code = rng.choices(("green", "yellow", "red"), (985, 12, 3))[0]
    symptoms = tuple(rng.sample(("fever", "cough"), rng.choice((1, 2)))) if feverish else ()
    moment_of_sale = moment(rng, calendar, day)
    return Purchase(pharmacy, moment_of_sale, shown, patient, basket, rng.random() < EXPOSED, code, symptoms)


def _forget_something(rng: Random, shown: Shown) -> Shown:
    what = rng.choice(("temperature", "address", "phone", "reason"))
    if what == "temperature":
        return replace(shown, temperature_c=None)
    if what == "address":
        return replace(shown, address=False)
    if what == "phone":
        return replace(shown, phone=None)
    return replace(shown, paper=None, no_paper_because=None)
