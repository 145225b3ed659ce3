"""Puts the story together: a plan of hours for the driver, and the truth to hold the service to.

`plan` is a pure function of scale, seed and end. The driver enrols `Plan.pharmacies` in order, then carries out the hours.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from app.demo.caselists import AUTHORITY, CaseLists, KnownCase
from app.demo.casting import Casting
from app.demo.city import City, build_city
from app.demo.outbreak import spread
from app.demo.papers import Paper
from app.demo.script import (
    OFFICE_HOUR,
    Action,
    Calendar,
    Hour,
    Json,
    ReviewReward,
    Row,
    SendRegistrations,
    SetRoster,
    UploadCases,
    Verdict,
)
from app.demo.shoppers import shop
from app.demo.stage import official_acts, set_stage
from app.demo.tills import Slip, write_slips
from app.demo.truth import Decision, Facts, Terms, Truth, decide, find_matches, result_of, tell_truth

REVIEW_DAY, EARLY_REVIEW_DAY = 18, 15
PAID, APPROVED, REJECTED = 5, 2, 1
"""Proposed rewards at scale 1 that officials pay, only approve, and reject before the story ends."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole story.

    `pharmacies` are the bodies by which they are enrolled, in the order of their index. `identities` are names, numbers, phones and
    address lines of those whom the service hears of, in the plain, as far as they are long enough not to occur by chance.
    """

    scale: float
    seed: int
    calendar: Calendar
    pharmacies: tuple[Json, ...]
    hours: tuple[Hour, ...]
    truth: Truth
    identities: tuple[str, ...]
    facts: Facts


def plan(scale: float, seed: int, end: datetime, terms: Terms | None = None) -> Plan:
    """Return the story that ends in the hour of `end` and began three weeks before.

    `scale` multiplies the city; below about a sixth there are too few pharmacies for fewer to make sense, so each street keeps one.
    Raises `ValueError` for a scale that is not positive or an end without an offset.
    """
    if scale <= 0:
        raise ValueError("the scale must be positive")
    calendar = Calendar.ending(end)

    def rng(part: str) -> Random:
        return Random(f"{seed}/{part}")

    city = build_city(rng("city"), scale, calendar.first_day)
    stage = set_stage(rng("stage"), city)
    infections = spread(rng("outbreak"), city, scale)
    casting = Casting(rng("courses"), city, stage, calendar, infections)
    illnesses = casting.deal(scale)
    rosters = _rosters(rng("rosters"), city, casting)
    purchases = shop(rng("shoppers"), city, calendar, casting.diary, rosters, scale)
    purchases += [purchase for illness in illnesses for purchase in illness.purchases]
    slips = write_slips(rng("tills"), city, stage, calendar, purchases, scale)
    lists = CaseLists(rng("lists"), city, calendar, illnesses, scale)
    facts = Facts(
        city,
        stage,
        calendar,
        {pharmacy: tuple(members) for pharmacy, members in rosters.items()},
        slips,
        lists.known(),
        terms or Terms(),
    )
    hours = [
        *official_acts(stage, calendar),
        _roster_hour(calendar, city, rosters),
        *_till_hours(facts),
        *lists.hours(),
        *_reviews(facts, scale),
    ]
    merged = _merge(hours)
    return Plan(
        scale,
        seed,
        calendar,
        tuple(pharmacy.body for pharmacy in city.pharmacies),
        merged,
        tell_truth(facts, merged),
        _identities(facts, merged),
        facts,
    )


def _rosters(rng: Random, city: City, casting: Casting) -> dict[int, list[int]]:
    """Return who works where: the infected staff of the courses, and two residents each for some other pharmacies.

    Nobody else on a roster lives with a case: whose reward would fail for it is up to the courses.
    """
    free = []
    for resident in city.residents:
        members = city.households[resident.household].members
        if resident.age_on(city.opening) in range(20, 60) and not any(map(casting.diary.knows, members)):
            free.append(resident.index)
    others = [pharmacy.index for pharmacy in city.pharmacies if pharmacy.index not in casting.staff]
    chosen = rng.sample(others, max(1, len(others) // 6))
    employed = rng.sample(free, 2 * len(chosen))
    rosters = {pharmacy: [employed.pop(), employed.pop()] for pharmacy in chosen}
    return {**casting.staff, **rosters}


def _roster_hour(calendar: Calendar, city: City, rosters: dict[int, list[int]]) -> Hour:
    actions = []
    for pharmacy, members in sorted(rosters.items()):
        people = [city.residents[member] for member in members]
        body: Json = {
            "members": [
                {
                    "name": person.name,
                    "document": {"type": person.papers[0].kind.value, "number": person.papers[0].number},
                    "phone": person.phone,
                }
                for person in people
            ]
        }
        actions.append(SetRoster(pharmacy, body))
    return Hour(calendar.at(0, OFFICE_HOUR), False, tuple(actions))


def _till_hours(facts: Facts) -> Iterable[Hour]:
    """Give the slips as requests: those of one till, hour, wave and door together."""
    by_hour: dict[datetime, dict[tuple[int, int, str], list[Slip]]] = defaultdict(lambda: defaultdict(list))
    for slip in facts.slips:
        by_hour[slip.sent_at][slip.purchase.pharmacy, slip.wave, slip.door].append(slip)
    for hour, groups in sorted(by_hour.items()):
        times: dict[str, int] = defaultdict(int)
        for slips in groups.values():
            for slip in slips:
                times[slip.reference] += 1
        actions = []
        for (pharmacy, _, _), slips in sorted(groups.items()):
            rows = tuple(Row(slip.body, _expected(facts, slip, times[slip.reference])) for slip in slips)
            actions.append(SendRegistrations(pharmacy, slips[0].door, rows))
        yield Hour(hour, False, tuple(actions))


def _expected(facts: Facts, slip: Slip, times: int) -> tuple[str, ...]:
    result = result_of(facts, slip)
    return ("created", "duplicate") if times > 1 and result in ("created", "duplicate") else (result,)


def _reviews(facts: Facts, scale: float) -> list[Hour]:
    """Let officials approve, pay and reject – only what no later fact can change: well under the cap, and long confirmed."""
    kept = [slip for slip in facts.slips if result_of(facts, slip) == "created"]
    # As if nothing had been discarded: that is how things stand when the payment which is taken back later is made.
    before = replace(facts, cases=[_undiscarded(case) for case in facts.cases])
    decisions = decide(before, find_matches(before, kept))
    cases = {case.number: case for case in before.cases}
    deserving: dict[int, int] = defaultdict(int)
    for decision in decisions:
        deserving[decision.pharmacy] += decision.first_unmet in (None, "under_cap")
    safe = [d for d in decisions if d.first_unmet is None and deserving[d.pharmacy] <= facts.terms.rewards_per_month]
    early = [d for d in safe if cases[d.case_number].paid_before]
    withdrawn = {case.number for case in facts.cases if case.classification == "discarded"}
    limit = facts.calendar.at(REVIEW_DAY - 2, 0)
    settled = [d for d in safe if d.case_number not in withdrawn and _confirmed_before(cases[d.case_number], limit)]
    settled.sort(key=lambda decision: decision.case_number)
    paid, approved, rejected = (max(1, round(count * scale)) for count in (PAID, APPROVED, REJECTED))
    # A rejection makes the next pharmacy the first reporter: only cases that have no other are rejected.
    pharmacies = Counter(decision.case_number for decision in decisions)
    to_reject = [d for d in settled if pharmacies[d.case_number] == 1][:rejected]
    others = [decision for decision in settled if decision not in to_reject]
    to_pay, to_approve = others[:paid], others[paid : paid + approved]
    at = facts.calendar.at
    return [
        _review_hour(at(EARLY_REVIEW_DAY, 10), early, Verdict.APPROVE),
        _review_hour(at(EARLY_REVIEW_DAY, 14), early, Verdict.PAY),
        _review_hour(at(REVIEW_DAY, 10), to_pay + to_approve, Verdict.APPROVE),
        _review_hour(at(REVIEW_DAY, 10), to_reject, Verdict.REJECT),
        _review_hour(at(REVIEW_DAY, 16), to_pay, Verdict.PAY),
    ]


def _undiscarded(case: KnownCase) -> KnownCase:
    if case.classification != "discarded" or case.was_confirmed_at is None:
        return case
    return replace(case, classification="confirmed", confirmed_at=case.was_confirmed_at)


def _confirmed_before(case: KnownCase, limit: datetime) -> bool:
    return case.confirmed_at is not None and case.confirmed_at < limit


def _review_hour(at: datetime, decisions: list[Decision], verdict: Verdict) -> Hour:
    reasons = {
        Verdict.APPROVE: "Registration checked against the pharmacy's records",
        Verdict.REJECT: "The pharmacy's records do not show this purchase",
        Verdict.PAY: "Paid with the monthly transfer",
    }
    actions = [ReviewReward(AUTHORITY, d.case_number, d.pharmacy, verdict, reasons[verdict]) for d in decisions]
    return Hour(at, True, tuple(actions))


def _merge(hours: Iterable[Hour]) -> tuple[Hour, ...]:
    """Return one hour for each instant at which anything happens, in order."""
    actions: dict[datetime, list[Action]] = defaultdict(list)
    quiet: set[datetime] = set()
    for hour in hours:
        if hour.actions:
            actions[hour.at] += hour.actions
            if hour.quiet:
                quiet.add(hour.at)
    return tuple(Hour(at, at in quiet, tuple(actions[at])) for at in sorted(actions))


def _identities(facts: Facts, hours: Iterable[Hour]) -> tuple[str, ...]:
    """Return every identity that is sent, as it is written there and as it is written plainly."""
    heard_of = {case.resident for case in facts.cases}
    for slip in facts.slips:
        heard_of |= {shown.resident for shown in (slip.purchase.buyer, slip.purchase.patient) if shown is not None}
    words: set[str] = set()
    for resident in (facts.city.residents[index] for index in heard_of):
        words |= {resident.name, resident.phone, resident.next_phone or "", *_numbers(resident.papers)}
    for hour in hours:
        for action in hour.actions:
            if isinstance(action, SendRegistrations | UploadCases):
                for row in action.rows:
                    words |= _written(row.body)
            elif isinstance(action, SetRoster):
                words |= _written(action.body)
    words = {word.strip().removeprefix("+") for word in words}
    return tuple(sorted(word for word in words if not _occurs_by_chance(word)))


def _numbers(papers: Iterable[Paper]) -> set[str]:
    return {number for paper in papers for number in (paper.number, *paper.also)}


def _written(body: Json) -> set[str]:
    people = [body.get(who) for who in ("buyer", "patient", "person")]
    words: set[str] = set()
    for person in [*people, *body.get("members", [])]:
        if person is not None:
            words |= {person["name"] or "", person["phone"] or ""}
            words.add((person["document"] or {}).get("number", ""))
            words.add((person.get("address") or {}).get("line", ""))
    return words


def _occurs_by_chance(word: str) -> bool:
    # Names of two characters; the eight or ten digits of a Taiwan permit, in a dump full of digits.
    return len(word) <= 2 or (len(word) <= 10 and word.replace(" ", "").replace("-", "").isdecimal())
