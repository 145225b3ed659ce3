"""How a row of a case list is judged, and what it may change in a case that is known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum

from app.core.clock import china_day
from app.core.errors import FieldError
from app.people.rules import Identity


class Classification(StrEnum):
    """How sure the authority is."""

    SUSPECTED = "suspected"
    PROBABLE = "probable"
    CONFIRMED = "confirmed"
    DISCARDED = "discarded"
    """Not a case after all; may become one again."""


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

    A list is a snapshot, and an older one may come after a newer one: what it lacks it does not take away. Names and
    documents compare as those of buyers do, so another spelling or a renewed permit is no contradiction; the first one stays.
    """
    raised = told.classification is not held.classification
    if raised and not _is_raise(held.classification, told.classification):
        return Verdict.DOWNGRADE, held
    contradicted = (
        told.disease != held.disease
        or told.division != held.division
        or _differ(held.onset_on, told.onset_on)
        or (not raised and told.confirmed_at != held.confirmed_at)
        or _are_two_people(held.identity, told.identity)
    )
    if contradicted:
        return Verdict.CONTRADICTION, held
    merged = replace(
        held,
        classification=told.classification,
        identity=_merge(held.identity, told.identity),
        onset_on=told.onset_on if held.onset_on is None else held.onset_on,
        confirmed_at=told.confirmed_at,
    )
    return (Verdict.SAME if merged == held else Verdict.GAIN), merged


def _is_raise(held: Classification, told: Classification) -> bool:
    return held in _RANK and told in _RANK and _RANK[told] > _RANK[held]


def _differ(held: object | None, told: object | None) -> bool:
    return held is not None and told is not None and held != told


def _are_two_people(held: Identity, told: Identity) -> bool:
    return (
        _differ(held.document_comparable, told.document_comparable)
        or _differ(held.name_comparable, told.name_comparable)
        or _differ(held.phone, told.phone)
        or _differ(held.address_division, told.address_division)
        or _differ(held.address_line, told.address_line)
        or _differ(held.born, told.born)
    )


def _merge(held: Identity, told: Identity) -> Identity:
    """Fill in what was missing. Why there was no document is a remark: the first one stays until there is a document."""
    documented = held if held.document_number is not None else told
    born = held.birth_date or told.birth_date
    return Identity(
        name=held.name or told.name,
        document_type=documented.document_type,
        document_number=documented.document_number,
        document_missing_reason=None
        if documented.document_number is not None
        else held.document_missing_reason or told.document_missing_reason,
        phone=held.phone or told.phone,
        address_division=held.address_division or told.address_division,
        address_line=held.address_line or told.address_line,
        birth_date=None if documented.born != documented.birth_date else born,
        # Told once with its check character, a number is no longer one that nothing checks.
        document_old_form=documented.document_old_form
        and (told.document_number is None or documented is told or told.document_old_form),
    )
