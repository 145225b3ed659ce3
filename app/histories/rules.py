"""What a search is for, and what a purpose may say."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from app.core.errors import FieldError
from app.histories.schemas import BuyerSearchIn, SearchField
from app.people.plain import naming
from app.people.rules import Identity, Presentation, prepare
from app.people.schemas import PersonIn


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search that can be made: whom it describes, and the fields that must hold."""

    person: Presentation
    fields: tuple[SearchField, ...]


def read_search(search: BuyerSearchIn, today: date) -> Wanted | list[FieldError]:
    """Return whom a search describes, or everything that is wrong with its fields.

    What is given and empty is an error, not a missing condition: leaving it out would find more people than were asked for.
    `today` is the day in China on which a birth date is judged.
    """
    given = {
        SearchField.DOCUMENT: search.document is not None,
        SearchField.PHONE: search.phone is not None,
        SearchField.NAME: search.name is not None,
    }
    if not any(given.values()):
        return [FieldError("", "identity_missing", "At least one of document, phone and name must be there")]
    person = prepare(PersonIn(name=search.name, document=search.document, phone=search.phone), today)
    if isinstance(person, list):
        return [FieldError(problem.pointer, problem.code, problem.detail) for problem in person]
    found = {
        SearchField.DOCUMENT: person.document is not None,
        SearchField.PHONE: person.phone is not None,
        SearchField.NAME: person.name is not None,
    }
    empty = [field for field in SearchField if given[field] and not found[field]]
    if empty:
        return [FieldError(_POINTERS[field], "empty", "Give a value, or leave it out") for field in empty]
    return Wanted(person, tuple(field for field in SearchField if given[field]))


_POINTERS = {SearchField.DOCUMENT: "/document/number", SearchField.PHONE: "/phone", SearchField.NAME: "/name"}


def judge_purpose(purpose: str, identities: Iterable[Identity]) -> list[FieldError]:
    """Return why a purpose may not stand in the audit trail: it names the person whom it is about."""
    return naming("/purpose", "purpose_contains_identity", purpose, identities)
