"""How a row of a case list is judged, and what it may change in a case that is known."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from enum import StrEnum
from typing import TypeVar

from app.cases.models import Classification
from app.core.clock import china_day
from app.core.errors import FieldError
from app.people.rules import Identity

T = TypeVar("T")

_RANK: Mapping[Classification, int] = {
    Classification.SUSPECTED: 0,
    Classification.PROBABLE: 1,
    Classification.CONFIRMED: 2,
}


@dataclass(frozen=True, slots=True)
class Account:
    """What a list says, or the database holds, of a case – apart from its name and its times of receipt."""

    disease: str
    classification: Classification
    identity: Identity
    onset_on: date | None
    confirmed_at: datetime | None
    division: str


class Verdict(StrEnum):
    """What a row does to a known case."""

    SAME = "same"
    """Nothing: it was told before."""
    GAIN = "gain"
    """It adds what was missing, or raises the classification."""
    DOWNGRADE = "downgrade"
    """It would lower, discard or revive; that needs a reason and so its own request."""
    CONTRADICTION = "contradiction"
    """It tells something else than what is stored."""


def check_times(
    classification: Classification, onset_on: date | None, confirmed_at: datetime | None, now: datetime
) -> list[FieldError]:
    """Return what is wrong with a case's dates. Confirmed cases, and no others, have a time of confirmation."""
    errors = []
    if classification is Classification.CONFIRMED and confirmed_at is None:
        errors.append(FieldError("/confirmed_at", "confirmed_at_required", "A confirmed case has a confirmation time"))
    if classification is not Classification.CONFIRMED and confirmed_at is not None:
        errors.append(FieldError("/confirmed_at", "confirmed_at_not_allowed", "Only a confirmed case has one"))
    if confirmed_at is not None and confirmed_at > now:
        errors.append(FieldError("/confirmed_at", "in_future", "A confirmation cannot lie ahead"))
    if onset_on is not None and not date(1900, 1, 1) <= onset_on <= china_day(now):
        errors.append(FieldError("/onset_on", "onset_out_of_range", "Onset lies between 1900 and today"))
    return errors


def compare(held: Account, told: Account) -> tuple[Verdict, Account]:
    """Return what a row does to a known case, and the case as it then is.

    A list is a snapshot, and an older one may come after a newer one: what it lacks it does not take away.
    """
    if told.classification is not held.classification and not _is_raise(held.classification, told.classification):
        return Verdict.DOWNGRADE, held
    raised = told.classification is not held.classification
    merged = replace(
        held,
        classification=told.classification,
        identity=_merge_identity(held.identity, told.identity),
        onset_on=held.onset_on if told.onset_on is None else told.onset_on,
        confirmed_at=told.confirmed_at,
    )
    contradicted = (
        told.disease != held.disease
        or told.division != held.division
        or _differs(held.onset_on, told.onset_on)
        or (not raised and told.confirmed_at != held.confirmed_at)
        or _identities_differ(held.identity, told.identity)
    )
    if contradicted:
        return Verdict.CONTRADICTION, held
    return (Verdict.SAME if merged == held else Verdict.GAIN), merged


def _is_raise(held: Classification, told: Classification) -> bool:
    return held in _RANK and told in _RANK and _RANK[told] > _RANK[held]


def _differs(held: T | None, told: T | None) -> bool:
    return held is not None and told is not None and held != told


def _members(identity: Identity) -> dict[str, object | None]:
    return {member.name: getattr(identity, member.name) for member in fields(Identity)}


def _identities_differ(held: Identity, told: Identity) -> bool:
    told_members = _members(told)
    return any(_differs(value, told_members[name]) for name, value in _members(held).items())


def _merge_identity(held: Identity, told: Identity) -> Identity:
    told_members = _members(told)
    missing = {name: told_members[name] for name, value in _members(held).items() if value is None}
    return replace(held, **missing)  # type: ignore[arg-type]  # members keep their own types
