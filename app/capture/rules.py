"""Which registration covers a declared purchase, and when a purchase that none covers is a miss."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.cases.rules import Classification
from app.core.clock import day_start
from app.matching.rules import counts, in_window

MOST_TOLERANCE_DAYS = 7
USUAL_TOLERANCE_DAYS = 1
"""Days by which a told day may be off (choice): people are asked a week later, and remember the evening as the night."""
LATE_TILL = timedelta(days=30)
"""How late a till that was offline may report, as registrations have it."""


class PurchaseStatus(StrEnum):
    """What is known of a declared purchase."""

    COVERED = "covered"
    """A registration at that place and time has this person in it."""
    MISSED = "missed"
    """It had to be registered, and no registration covers it."""
    NOT_REQUIRED = "not_required"
    """No registration covers it, and none had to."""
    NOT_JUDGED = "not_judged"
    """It says nothing about the net: retracted, of a discarded case, or at a time at which no match is looked for."""


class Ground(StrEnum):
    """Why a declared purchase has its status."""

    REGISTERED = "registered"
    NOT_REGISTERED = "not_registered"
    OTHER_DRUG = "other_drug"
    """The person was registered there then, with other drugs, or the drug covers another declared purchase already."""
    MATCH_UNREVIEWED = "match_unreviewed"
    """Somebody was registered there then who may be this person: a person has to say so first."""
    REGIME_COUNTS = "regime_counts"
    """On a day that it may have been, no named registration was allowed."""
    DRUG_UNLISTED = "drug_unlisted"
    PHARMACY_NOT_OPEN = "pharmacy_not_open"
    """On a day that it may have been, the pharmacy was closed or not enrolled."""
    RETRACTED = "retracted"
    CASE_DISCARDED = "case_discarded"
    OUTSIDE_WINDOW = "outside_window"
    """The day lies so far from the case's onset that its registrations are not matched."""


Entry = tuple[str, str]
"""An entry of a drug list whatever its version: the list's code and the entry's wording."""
ANY_OTHER = ("", "")
"""Stands for what a registration under `register_all` may hold besides: lines that are on no list are not kept."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A purchase as it was told. `pharmacy_id` is None where only a `division` is known.

    `drug` is the name as told, None where none was; `entry` the listed drug that it means there on that day, if any.
    """

    id: UUID
    pharmacy_id: UUID | None
    division: str
    purchased_on: date
    tolerance_days: int
    drug: str | None
    entry: Entry | None
    retracted: bool = False

    @property
    def days(self) -> Iterator[date]:
        """Every day that it may have been."""
        for off in range(-self.tolerance_days, self.tolerance_days + 1):
            yield self.purchased_on + timedelta(days=off)

    @property
    def order(self) -> tuple[bool, bool, int, date, str, str, str]:
        """A place in a row that follows from what was told alone: the most precise first."""
        return (
            self.pharmacy_id is None,
            self.entry is None,
            self.tolerance_days,
            self.purchased_on,
            str(self.pharmacy_id or ""),
            self.division,
            self.drug or "",
        )


@dataclass(frozen=True, slots=True)
class Registered:
    """A registration that concerns the case. `reference` names it together with the pharmacy; `entries` are its listed drugs.

    `established` is whether the match counts, by a rule or because a person has confirmed it; else nobody has said so yet.
    """

    id: UUID
    pharmacy_id: UUID
    division: str
    reference: str
    purchased_at: datetime
    day: date
    takes_all: bool
    entries: frozenset[Entry]
    established: bool = True

    @property
    def order(self) -> tuple[datetime, str, str]:
        """A place in a row that follows from the facts alone, not from their arrival."""
        return self.purchased_at, str(self.pharmacy_id), self.reference

    @property
    def units(self) -> list[Entry]:
        """What of it can cover a declared purchase: each listed drug once, and under `register_all` whatever else there was."""
        return [*sorted(self.entries), *([ANY_OTHER] if self.takes_all else [])]


@dataclass(frozen=True, slots=True)
class Subject:
    """The case that told of purchases, as far as judging them depends on it."""

    classification: Classification
    onset_on: date | None
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a declared purchase, why, and by which registration."""

    status: PurchaseStatus
    ground: Ground
    registration_id: UUID | None = None


def judge(
    subject: Subject,
    purchases: Collection[Declared],
    registered: Collection[Registered],
    waived: Mapping[UUID, Ground],
) -> dict[UUID, Verdict]:
    """Return what is known of each purchase that a case told of.

    `registered` are the registrations that are matched with the case, counted, confirmed or waiting for review, and not voided.
    `waived` says for which purchases nothing had to be registered, and why. The order of either collection changes nothing.
    """
    verdicts: dict[UUID, Verdict] = {}
    live = [one for one in purchases if not one.retracted]
    if not counts(subject.classification):
        verdicts = {one.id: Verdict(PurchaseStatus.NOT_JUDGED, Ground.CASE_DISCARDED) for one in live}
        live = []
    covering = cover(live, [one for one in registered if one.established])
    for one in purchases:
        if one.retracted:
            verdicts[one.id] = Verdict(PurchaseStatus.NOT_JUDGED, Ground.RETRACTED)
    for one in live:
        found = covering.get(one.id)
        if found is not None:
            verdicts[one.id] = Verdict(PurchaseStatus.COVERED, Ground.REGISTERED, found.id)
        else:
            verdicts[one.id] = _uncovered(one, subject, registered, waived.get(one.id))
    return verdicts


def _uncovered(
    purchase: Declared, subject: Subject, registered: Collection[Registered], waived: Ground | None
) -> Verdict:
    near = (in_window(day_start(day), subject.onset_on, subject.confirmed_at) for day in purchase.days)
    if not all(near):
        return Verdict(PurchaseStatus.NOT_JUDGED, Ground.OUTSIDE_WINDOW)
    if waived is not None:
        return Verdict(PurchaseStatus.NOT_REQUIRED, waived)
    there = [one for one in registered if is_there_then(purchase, one)]
    ground = Ground.MATCH_UNREVIEWED if there else Ground.NOT_REGISTERED
    return Verdict(PurchaseStatus.MISSED, Ground.OTHER_DRUG if any(one.established for one in there) else ground)


def late_until(purchased_on: date, tolerance_days: int) -> datetime:
    """Return until when a till may still report a purchase that was made on one of the days told."""
    return day_start(purchased_on + timedelta(days=tolerance_days + 1)).astimezone(UTC) + LATE_TILL


def is_there_then(purchase: Declared, registration: Registered) -> bool:
    """Say whether a registration is from the place that was told, and from one of the days that it may have been."""
    if purchase.pharmacy_id is None:
        if not registration.division.startswith(purchase.division):
            return False
    elif purchase.pharmacy_id != registration.pharmacy_id:
        return False
    return abs((registration.day - purchase.purchased_on).days) <= purchase.tolerance_days


def can_cover(purchase: Declared, registration: Registered, unit: Entry) -> bool:
    """Say whether one drug of a registration can be the purchase that was told.

    A listed drug is covered by itself; one that is on no list by what a registration under `register_all` holds besides; a
    purchase of which no drug was told, by any.
    """
    if not is_there_then(purchase, registration):
        return False
    if purchase.entry is not None:
        return unit == purchase.entry
    if purchase.drug is not None:
        return unit == ANY_OTHER
    return unit != ANY_OTHER or not registration.entries


def cover(purchases: Collection[Declared], registered: Collection[Registered]) -> dict[UUID, Registered]:
    """Return which registration covers each purchase, one registered drug for one purchase, as many as can be.

    A matching of the greatest size in a bipartite graph, by augmenting paths (Berge 1957; Kuhn's method): whoever is covered stays
    so, and gives way only to another drug or registration that covers it as well. Purchases and registrations are taken in an
    order that follows from the facts, so their arrival plays no part.
    """
    ranked = sorted(registered, key=lambda one: one.order)
    units = [(one, unit) for one in ranked for unit in one.units]
    holder: dict[int, Declared] = {}
    options: dict[UUID, Sequence[int]] = {}
    ordered = sorted(purchases, key=lambda one: one.order)
    for purchase in ordered:
        fitting = [at for at, (one, unit) in enumerate(units) if can_cover(purchase, one, unit)]
        # The day that was told before those around it; sorting is stable.
        options[purchase.id] = sorted(fitting, key=lambda at: abs((units[at][0].day - purchase.purchased_on).days))
    for purchase in ordered:
        _place(purchase, options, holder, set())
    return {purchase.id: units[at][0] for at, purchase in holder.items()}


def _place(
    purchase: Declared, options: Mapping[UUID, Sequence[int]], holder: dict[int, Declared], seen: set[int]
) -> bool:
    for at in options[purchase.id]:
        if at in seen:
            continue
        seen.add(at)
        if at not in holder or _place(holder[at], options, holder, seen):
            holder[at] = purchase
            return True
    return False
