"""Texts that are kept in plain beside what is sealed: a reason, a purpose, a reference. They must not tell who somebody is.

A free text must name nobody whom it is about. What tills and authorities call their papers may bear a name, because many a pharmacy
bears one, but no number of a person.
"""

from collections.abc import Iterable

from app.core.errors import FieldError
from app.people.rules import Identity, tells_identity, tells_number


def naming(pointer: str, code: str, text: str | None, identities: Iterable[Identity]) -> list[FieldError]:
    """Return what is wrong with a free text, if there is one: that it names one of these people.

    The code says which text it is; what is told of it is the same for all, and repeats nothing.
    """
    if text is None or not any(tells_identity(text, identity) for identity in identities):
        return []
    return [FieldError(pointer, code, "It is kept in plain text: name nobody, by name, document number or phone")]


def numbering(pointer: str, code: str, text: str, identity: Identity) -> list[FieldError]:
    """Return what is wrong with a reference, an answer or a batch: that it holds this person's document number or phone."""
    if not tells_number(text, identity):
        return []
    return [FieldError(pointer, code, "It is kept in plain text and must not hold a document number or a phone")]
