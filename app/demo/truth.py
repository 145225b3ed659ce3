"""What must come out: worked out from who is who, not from what the rows say.

The city knows which presentation belongs to which resident, so a match here compares people and papers, never the spelling of a number.
The rules are coded a second time on purpose: two accounts that agree are worth more than one.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from app.demo.caselists import KnownCase
from app.demo.city import City
from app.demo.counter import Shown
from app.demo.script import (
    Calendar,
    Hour,
    ReviewReward,
    SendRegistrations,
    UploadCases,
    Verdict,
)
from app.demo.shelf import has_listed
from app.demo.stage import Stage
from app.demo.tills import Cause, Slip

RESULTS = ("created", "duplicate", "conflict", "invalid", "not_required")


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers of the default policies for matching and rewards, version 1."""

    lookback_days: int = 14
    after_days: int = 30
    on_time: timedelta = timedelta(hours=24)
    window_days: int = 14
    amount: Decimal = Decimal("1000.00")
    currency: str = "CNY"
    rewards_per_month: int = 3


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """A registration and a case that concern one person."""

    case_number: str
    pharmacy: int
    client_reference: str
    role: str
    strength: str
    status: str


@dataclass(frozen=True, slots=True, order=True)
class Decision:
    """What is decided for a case and a pharmacy.

    `first_unmet` is the criterion for which nothing is paid, None where all are met. `amount` is what it is about, whatever officials
    made of it since; nothing where a criterion is not met.
    """

    case_number: str
    pharmacy: int
    client_reference: str
    status: str
    first_unmet: str | None
    amount: Decimal


@dataclass(frozen=True, slots=True, order=True)
class Telling:
    """A purchase that a case tells an interviewer of when all is over, and what must be known of it: the day counts from 0."""

    case_number: str
    pharmacy: int
    day: int
    status: str


@dataclass(frozen=True, slots=True)
class Truth:
    """Every figure that the service must arrive at, given the story."""

    registrations: dict[str, int]
    case_rows: dict[str, int]
    cases: dict[str, int]
    flags: dict[str, int]
    matches: tuple[Match, ...]
    decisions: tuple[Decision, ...]
    alerts: dict[str, int]
    tellings: tuple[Telling, ...]
    paid: Decimal
    reversed: Decimal

    def matches_by(self, field: str) -> dict[str, int]:
        """Count matches by `strength`, `role` or `status`."""
        return _counted(getattr(match, field) for match in self.matches)

    def decisions_by_status(self) -> dict[str, int]:
        """Count decisions by status."""
        return _counted(decision.status for decision in self.decisions)

    def decisions_by_first_unmet(self) -> dict[str, int]:
        """Count the decisions that are not eligible by the criterion that came first."""
        return _counted(decision.first_unmet for decision in self.decisions if decision.first_unmet is not None)

    def amounts_by_status(self) -> dict[str, Decimal]:
        """Add up the amounts of decisions by status."""
        sums: dict[str, Decimal] = {}
        for decision in self.decisions:
            sums[decision.status] = sums.get(decision.status, Decimal("0.00")) + decision.amount
        return dict(sorted(sums.items()))


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the simulator knows of."""

    city: City
    stage: Stage
    calendar: Calendar
    rosters: dict[int, tuple[int, ...]]
    slips: list[Slip]
    cases: list[KnownCase]
    terms: Terms = Terms()


def result_of(facts: Facts, slip: Slip) -> str:
    """Return the result of one row, taking those it follows as sent before."""
    if slip.cause is Cause.MALFORMED:
        return "invalid"
    street = facts.city.pharmacies[slip.purchase.pharmacy].street
    regime = facts.stage.regime_on(street, facts.calendar.day_of(slip.purchase.at))
    if regime == "counts" or (regime != "register_all" and not has_listed(slip.purchase.basket)):
        return "not_required"
    return {Cause.FIRST: "created", Cause.AGAIN: "duplicate", Cause.ALTERED: "conflict"}[slip.cause]


def tell_truth(facts: Facts, hours: Iterable[Hour]) -> Truth:
    """Return what must come out of the hours, whose rows and reviews are counted as they stand there."""
    kept = [slip for slip in facts.slips if result_of(facts, slip) == "created"]
    found = find_matches(facts, kept)
    matches = [match for match, _, _ in found]
    hours = list(hours)
    reviews = [action for hour in hours for action in hour.actions if isinstance(action, ReviewReward)]
    decisions = review(decide(facts, found), reviews, facts)
    flags = count_flags(facts, kept)
    withdrawn = sum(match.status == "withdrawn" for match in matches)
    clues = sum(slip.purchase.has_fever() or slip.purchase.exposed for slip in kept)
    once_paid = {(r.case_number, r.pharmacy) for r in reviews if r.verdict is Verdict.PAY}
    taken_back = [d for d in decisions if d.status == "reversed" and (d.case_number, d.pharmacy) in once_paid]
    return Truth(
        {result: count_rows(hours)[0].get(result, 0) for result in RESULTS},
        dict(sorted(count_rows(hours)[1].items())),
        _counted(case.classification for case in facts.cases),
        flags,
        tuple(sorted(matches)),
        tuple(sorted(decisions, key=lambda decision: (decision.case_number, decision.pharmacy))),
        {
            "case.matched": sum(_times_told(case, slip) for _, case, slip in found),
            "clue.reported": clues,
            "match.withdrawn": withdrawn,
        },
        tell_purchases(facts, found),
        facts.terms.amount * len(once_paid),
        facts.terms.amount * len(taken_back),
    )


def count_rows(hours: Iterable[Hour]) -> tuple[Counter[str], Counter[str]]:
    """Count the results of registrations' and of cases' rows.

    A row sent twice in an hour has its first result once, whichever of the two gets it.
    """
    registrations: Counter[str] = Counter()
    cases: Counter[str] = Counter()
    for hour in hours:
        seen: set[tuple[object, ...]] = set()
        for action in hour.actions:
            if not isinstance(action, SendRegistrations | UploadCases):
                continue
            pharmacy = action.pharmacy if isinstance(action, SendRegistrations) else None
            for row in action.rows:
                key = (pharmacy, row.body["case_number" if pharmacy is None else "client_reference"])
                again = len(row.expected) > 1 and key in seen
                seen.add(key)
                (cases if pharmacy is None else registrations)[row.expected[-1 if again else 0]] += 1
    return registrations, cases


def count_flags(facts: Facts, kept: list[Slip]) -> dict[str, int]:
    """Count the flags of the registrations kept."""
    flags: Counter[str] = Counter()
    for slip in kept:
        purchase = slip.purchase
        street = facts.city.pharmacies[purchase.pharmacy].street
        flags["fever"] += purchase.has_fever()
        flags["exposure"] += purchase.exposed
        flags["incomplete"] += not purchase.is_complete()
        flags["late"] += slip.sent_at - purchase.at > facts.terms.on_time
        flags["sold_while_suspended"] += (
            facts.stage.regime_on(street, facts.calendar.day_of(purchase.at)) == "suspended"
        )
        flags["red_code"] += purchase.code == "red"
        flags["yellow_code"] += purchase.code == "yellow"
    return dict(sorted(flags.items()))


Found = tuple[Match, KnownCase, Slip]


def find_matches(facts: Facts, kept: list[Slip]) -> list[Found]:
    """Return every pair of a registration and a case that concern one person, within the case's window."""
    by_resident: dict[int, list[tuple[Slip, str, Shown]]] = {}
    for slip in kept:
        by_resident.setdefault(slip.purchase.buyer.resident, []).append((slip, "buyer", slip.purchase.buyer))
        if slip.purchase.patient is not None:
            by_resident.setdefault(slip.purchase.patient.resident, []).append((slip, "patient", slip.purchase.patient))
    found = []
    for case in facts.cases:
        for slip, role, shown in by_resident.get(case.resident, []):
            strength = _strength(case, shown)
            if strength is None or not _in_window(facts, case, slip):
                continue
            status = "withdrawn" if case.classification == "discarded" else "counted"
            match = Match(case.number, slip.purchase.pharmacy, slip.reference, role, strength, status)
            found.append((match, case, slip))
    return found


def _times_told(case: KnownCase, slip: Slip) -> int:
    """Return how often a match is told of: when it is found, and whenever a later list classifies the case anew."""
    found_at = max(slip.sent_at, case.listed[0][0])
    known = [classification for time, classification in case.listed if time <= found_at]
    later = [classification for time, classification in case.listed if time > found_at]
    return 1 + sum(one != other for one, other in zip([known[-1], *later], later, strict=False))


def tell_purchases(facts: Facts, found: list[Found]) -> tuple[Telling, ...]:
    """Return what the cases tell: each day on which they were registered somewhere, and each on which nobody might be."""
    covered = {
        (case.number, slip.purchase.pharmacy, facts.calendar.day_of(slip.purchase.at)): "covered"
        for match, case, slip in found
        if match.status == "counted"
    }
    cases = {case.resident: case for case in facts.cases if case.classification != "discarded"}
    free: dict[tuple[str, int, int], str] = {}
    for slip in facts.slips:
        case = cases.get(slip.purchase.buyer.resident)
        pharmacy, day = slip.purchase.pharmacy, facts.calendar.day_of(slip.purchase.at)
        regime = facts.stage.regime_on(facts.city.pharmacies[pharmacy].street, day)
        if case is not None and regime == "counts" and _in_window(facts, case, slip):
            free[case.number, pharmacy, day] = "not_required"
    return tuple(sorted(Telling(*told, status) for told, status in (free | covered).items()))


def _strength(case: KnownCase, shown: Shown) -> str | None:
    if shown.paper is not None and shown.paper.is_same(case.paper):
        return "certain"
    if shown.name and shown.phone is not None and shown.phone == case.phone:
        return "strong"
    return None


def _in_window(facts: Facts, case: KnownCase, slip: Slip) -> bool:
    anchor = case.onset_day
    if anchor is None:
        if case.was_confirmed_at is None:
            return True
        anchor = facts.calendar.day_of(case.was_confirmed_at)
    return -facts.terms.lookback_days <= facts.calendar.day_of(slip.purchase.at) - anchor <= facts.terms.after_days


def decide(facts: Facts, found: list[Found]) -> list[Decision]:
    """Return one decision for each case and pharmacy with a match, before any official has seen it."""
    groups: dict[tuple[str, int], list[tuple[KnownCase, Slip]]] = {}
    for match, case, slip in found:
        groups.setdefault((match.case_number, match.pharmacy), []).append((case, slip))
    best = {key: _best(facts, group) for key, group in groups.items()}
    first: dict[str, datetime] = {}
    for (number, _), (_, slip, unmet) in best.items():
        if not unmet and (number not in first or slip.sent_at < first[number]):
            first[number] = slip.sent_at
    winners: dict[tuple[int, str], list[tuple[datetime, str]]] = {}
    for (number, pharmacy), (case, slip, unmet) in best.items():
        if not unmet and slip.sent_at == first[number] and case.confirmed_at is not None:
            winners.setdefault((pharmacy, f"{case.confirmed_at:%Y-%m}"), []).append((case.confirmed_at, number))
    rewarded = {
        (number, pharmacy)
        for (pharmacy, _), entries in winners.items()
        for _, number in sorted(entries)[: facts.terms.rewards_per_month]
    }
    decisions = []
    for (number, pharmacy), (_, slip, unmet) in best.items():
        first_unmet: str | None = unmet[0] if unmet else None
        if first_unmet is None and slip.sent_at != first[number]:
            first_unmet = "first_reporter"
        elif first_unmet is None and (number, pharmacy) not in rewarded:
            first_unmet = "under_cap"
        status = "proposed" if first_unmet is None else "not_eligible"
        amount = facts.terms.amount if first_unmet is None else Decimal("0.00")
        decisions.append(Decision(number, pharmacy, slip.reference, status, first_unmet, amount))
    return decisions


def _best(facts: Facts, group: list[tuple[KnownCase, Slip]]) -> tuple[KnownCase, Slip, list[str]]:
    judged = [(case, slip, _unmet(facts, case, slip)) for case, slip in group]
    return min(judged, key=lambda entry: (len(entry[2]), entry[1].sent_at))


def _unmet(facts: Facts, case: KnownCase, slip: Slip) -> list[str]:
    """Return the criteria on the registration itself that are not met, in the order in which they are read out."""
    purchase, terms, confirmed_at = slip.purchase, facts.terms, case.confirmed_at
    met = {
        "case_confirmed": confirmed_at is not None,
        "identity_established": True,
        "listed_drug": has_listed(purchase.basket),
        "registered_before_confirmation": confirmed_at is not None and slip.sent_at < confirmed_at,
        "registered_on_time": slip.sent_at - purchase.at <= terms.on_time,
        "within_window": confirmed_at is not None
        and timedelta(0) <= confirmed_at - purchase.at <= timedelta(days=terms.window_days),
        "record_complete": purchase.is_complete(),
        "pharmacy_in_good_standing": not facts.stage.is_suspended(
            purchase.pharmacy, facts.calendar.day_of(purchase.at)
        ),
        "not_own_staff": purchase.buyer.resident not in facts.rosters.get(purchase.pharmacy, ()),
        "unaltered": True,
    }
    return [code for code, is_met in met.items() if not is_met]


def review(decisions: list[Decision], reviews: list[ReviewReward], facts: Facts) -> list[Decision]:
    """Return the decisions after the officials' verdicts, and after withdrawals of what had been approved."""
    discarded = {case.number for case in facts.cases if case.classification == "discarded"}
    outcome = {Verdict.APPROVE: "approved", Verdict.REJECT: "rejected", Verdict.PAY: "paid"}
    status = {(entry.case_number, entry.pharmacy): outcome[entry.verdict] for entry in reviews}
    reviewed = []
    for decision in decisions:
        stands = status.get((decision.case_number, decision.pharmacy))
        if stands is None:
            reviewed.append(decision)
        elif decision.case_number in discarded:
            reviewed.append(replace(decision, status="reversed", first_unmet=None, amount=facts.terms.amount))
        else:
            reviewed.append(replace(decision, status=stands))
    return reviewed


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
