"""Two documents that are one slip of the pen apart, and the marks by which such neighbours are found.

A slip is one character that is another, or two adjacent ones that changed places. The check character of a resident number
(ISO 7064 MOD 11-2) catches each of them, so two numbers of 18 characters that hold are never neighbours; it is about what
nothing checks: passports, permits, cards, and resident numbers that were shown in their old 15 digits.
"""

from app.core.sealing import HashKind
from app.people.documents import DocumentType, is_checked, shorten
from app.people.rules import Identity, Presentation

_PARTS = 3


def are_neighbours(one: Identity, other: Identity) -> bool:
    """Say whether two different documents of one type are one slip apart, where a check would not have caught it."""
    mine, theirs = _unchecked(one), _unchecked(other)
    if mine is None and theirs is None:
        return False
    if mine is None or theirs is None:
        # A resident number in 18 characters is compared in the form in which the other was shown.
        mine, theirs = mine or _as_old_form(one), theirs or _as_old_form(other)
    if mine is None or theirs is None:
        return False
    kind, _, number = mine.partition(":")
    other_kind, _, other_number = theirs.partition(":")
    return kind == other_kind and is_one_slip(number, other_number)


def is_one_slip(one: str, other: str) -> bool:
    """Say whether one character is another, or two adjacent ones have changed places.

    >>> is_one_slip("E12345678", "E12345687"), is_one_slip("E12345678", "E12345678")
    (True, False)
    """
    if len(one) != len(other):
        return False
    places = [at for at, (mine, theirs) in enumerate(zip(one, other, strict=True)) if mine != theirs]
    if len(places) == 2:
        first, second = places
        return second == first + 1 and one[first] == other[second] and one[second] == other[first]
    return len(places) == 1


def near_marks(person: Presentation) -> list[tuple[HashKind, str]]:
    """Return what is hashed so that neighbours with the same name are found; nothing for most people.

    A number that nothing checks is cut in three: a slip leaves one part as it is, so two neighbours of one name have a mark
    in common. Who showed a resident number in 15 digits is found by the name among all who showed 18: such people are rare.
    """
    document, name = person.document, person.name
    if document is None or name is None:
        return []
    if document.old_form:
        return [(HashKind.NAME, name.comparable)]
    if document.born is not None or is_checked(document.comparable):
        return []
    kind, _, number = document.comparable.partition(":")
    cuts = [len(number) * part // _PARTS for part in range(_PARTS + 1)]
    return [
        (HashKind.DOCUMENT_PART, f"{kind}:{len(number)}:{part}:{number[cuts[part] : cuts[part + 1]]}:{name.comparable}")
        for part in range(_PARTS)
    ]


def _unchecked(identity: Identity) -> str | None:
    """Return the document as it was shown if nothing checked it, else None."""
    document = identity.document
    if document is None:
        return None
    if document.old_form:
        return _as_old_form(identity)
    return None if is_checked(document.comparable) else document.comparable


def _as_old_form(identity: Identity) -> str | None:
    comparable = identity.document_comparable
    if comparable is None:
        return None
    kind, _, number = comparable.partition(":")
    old = shorten(number) if kind == DocumentType.RESIDENT_ID else None
    return None if old is None else f"{kind}:{old}"
