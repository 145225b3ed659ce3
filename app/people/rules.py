"""A person as presented: checked, normalised, and written in one unambiguous text.

Pure and on the hot path: a batch of ten thousand rows passes through `prepare` once, or twice with patients.
"""

import unicodedata
from dataclasses import dataclass
from datetime import date

from app.people.characters import compact
from app.people.documents import Document, DocumentType, comparable, document_of, normalise_document
from app.people.findings import Notice, Problem
from app.people.names import Name, fold, normalise_name
from app.people.phones import Phone, normalise_phone
from app.people.schemas import AddressOut, DocumentOut, MissingField, PersonIn, RevealedOut

REASON_NOT_KEPT = Notice(
    "/document_missing_reason", "document_missing_reason_not_kept", "There is a document, so the reason is not kept"
)
NAME_COUNTS_AS_MISSING = Notice("/name", "name_empty", "The name has no letter in it, so it counts as missing")

BIRTH_DATE_AHEAD = Problem("/birth_date", "birth_date_invalid", "Nobody is born in the future")
BIRTH_DATE_CONTRADICTS = Problem(
    "/birth_date", "birth_date_contradicts_document", "The document's number tells another birth date"
)

_TELLING_NAME_BYTES = 5  # two Han characters, or five Latin letters

_KINDS = (None, *(kind.value for kind in DocumentType))


@dataclass(slots=True, repr=False)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Identity:
    """Who somebody is, in plain text: exactly what is sealed, and nothing else.

    Values are normalised; None is what was not presented. `birth_date` is there only where the document tells none;
    `document_old_form` says that a resident number was shown in 15 digits, although it is kept in 18.
    """

    name: str | None = None
    document_type: DocumentType | None = None
    document_number: str | None = None
    document_missing_reason: str | None = None
    phone: str | None = None
    address_division: str | None = None
    address_line: str | None = None
    birth_date: date | None = None
    document_old_form: bool = False

    def __repr__(self) -> str:
        return "Identity()"  # an identity has no place in a log or a traceback

    @property
    def document(self) -> Document | None:
        """The document, or None."""
        kind, number = self.document_type, self.document_number
        if kind is None or number is None:
            return None
        return document_of(kind, number, old_form=self.document_old_form)

    @property
    def born(self) -> date | None:
        """The birth date that the document tells, else the one that was told."""
        document = self.document
        return (document.born if document is not None else None) or self.birth_date

    @property
    def document_comparable(self) -> str | None:
        """The text that is equal exactly where two documents are the same, or None."""
        if self.document_type is None or self.document_number is None:
            return None
        return comparable(self.document_type, self.document_number)

    @property
    def name_comparable(self) -> str | None:
        """The text that is equal exactly where two names are, or None: a missing name equals no other."""
        return None if self.name is None else fold(self.name)


@dataclass(slots=True, repr=False)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Presentation:
    """What was shown at the counter, or stands on a case list, ready to be kept."""

    identity: Identity
    document: Document | None
    name: Name | None
    phone: Phone | None
    notices: tuple[Notice, ...]

    def __repr__(self) -> str:
        return "Presentation()"  # an identity has no place in a log or a traceback

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing identifies the person: no document, no name, no phone."""
        return self.document is None and self.name is None and self.phone is None

    @property
    def name_and_birth(self) -> str | None:
        """The text that is equal exactly where name and birth date are, or None where one is missing."""
        if self.name is None:
            return None
        born = (self.document.born if self.document is not None else None) or self.identity.birth_date
        return None if born is None else f"{born.isoformat()} {self.name.comparable}"

    @property
    def missing(self) -> tuple[MissingField, ...]:
        """What was not presented. A document is not missing where a reason for its absence was given."""
        identity = self.identity
        absent: list[MissingField] = []
        if self.name is None:
            absent.append("name")
        if self.document is None and identity.document_missing_reason is None:
            absent.append("document")
        if self.phone is None:
            absent.append("phone")
        if identity.address_division is None or identity.address_line is None:
            absent.append("address")
        return tuple(absent)


def prepare(person: PersonIn, today: date) -> Presentation | list[Problem]:
    """Return the presentation, or every problem with it; pointers are relative to the person.

    Blank text is missing text. `today` is the day in China on which birth dates are judged.
    """
    problems: list[Problem] = []
    notices: tuple[Notice, ...] = ()

    document = None
    shown = person.document
    if shown is not None and shown.number.strip():
        judged = normalise_document(shown.type, shown.number, today)
        if isinstance(judged, Problem):
            problems.append(judged)
        else:
            document = judged
            notices = judged.notices

    name = None
    if person.name is not None and person.name.strip():
        named = normalise_name(person.name)
        if isinstance(named, Name):
            name = named
        elif named.code == NAME_COUNTS_AS_MISSING.code:
            notices = (*notices, NAME_COUNTS_AS_MISSING)
        else:
            problems.append(named)

    phone = None
    if person.phone is not None and person.phone.strip():
        dialled = normalise_phone(person.phone)
        if isinstance(dialled, Phone):
            phone = dialled
        else:
            problems.append(dialled)

    born = _birth_date(person.birth_date, document, today, problems)
    if problems:
        return problems

    reason = _text(person.document_missing_reason)
    if reason is not None and document is not None:
        reason = None
        notices = (*notices, REASON_NOT_KEPT)
    address = person.address
    identity = Identity(
        name.value if name else None,
        document.type if document else None,
        document.number if document else None,
        reason,
        phone.number if phone else None,
        address.division if address else None,
        _text(address.line) if address else None,
        born,
        document is not None and document.old_form,
    )
    return Presentation(identity, document, name, phone, notices)


def _birth_date(told: date | None, document: Document | None, today: date, problems: list[Problem]) -> date | None:
    """Return the birth date that is to be kept: the one that was told, unless the document tells it, too."""
    if told is None:
        return None
    shown = None if document is None else document.born
    if told > today:
        problems.append(BIRTH_DATE_AHEAD)
    elif shown is not None and shown != told:
        problems.append(BIRTH_DATE_CONTRADICTS)
    return told if shown is None else None


def present(identity: Identity) -> Presentation:
    """Return an identity, whose values are normalised, ready to be kept."""
    return Presentation(
        identity,
        identity.document,
        None if identity.name is None else Name(identity.name, fold(identity.name)),
        None if identity.phone is None else Phone(identity.phone),
        (),
    )


_OLD_FORM = "15"

INVENTED = "!"
"""Stands before the text of somebody invented to try a till out, which is so never equal to that of a real person."""


def encode(identity: Identity) -> str:
    """Return the identity as one text, different for any two that differ: it is sealed, and hashed to find it again.

    Seven members in their order, each `-` where missing or else its length in characters, a colon and itself (as
    netstrings do). Without the lengths, two different people could be written alike. Where there is a birth date or an old form
    of the document, these two follow; what was kept before they were known reads as it did.
    """
    members: tuple[str | None, ...] = (
        identity.name,
        identity.document_type,
        identity.document_number,
        identity.document_missing_reason,
        identity.phone,
        identity.address_division,
        identity.address_line,
    )
    if identity.birth_date is not None or identity.document_old_form:
        born = None if identity.birth_date is None else identity.birth_date.isoformat()
        members = (*members, born, _OLD_FORM if identity.document_old_form else None)
    return "".join(["-" if member is None else f"{len(member)}:{member}" for member in members])


def decode(text: str) -> Identity:
    """Return the identity that `encode` wrote.

    Raises:
        ValueError: the text was not written by `encode`. Its message never repeats the text.
    """
    members: list[str | None] = []
    at = len(INVENTED) if text.startswith(INVENTED) else 0
    while at < len(text):
        if text[at] == "-":
            members.append(None)
            at += 1
            continue
        colon = text.find(":", at)
        length = text[at:colon] if colon > at else ""
        if not (length.isascii() and length.isdigit()):
            raise ValueError("not an encoded identity")
        at = colon + 1 + int(length)
        members.append(text[colon + 1 : at])
    if at != len(text) or len(members) not in (7, 9) or members[1] not in _KINDS:
        raise ValueError("not an encoded identity")
    name, kind, number, reason, phone, division, line = members[:7]
    born, form = members[7:] or (None, None)
    if (len(members) == 9 and born is form is None) or form not in (None, _OLD_FORM):
        raise ValueError("not an encoded identity")
    return Identity(
        name,
        None if kind is None else DocumentType(kind),
        number,
        reason,
        phone,
        division,
        line,
        None if born is None else _day(born),
        form is not None,
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("not an encoded identity") from None  # the cause would repeat the text


def reveal(identity: Identity) -> RevealedOut:
    """Return the identity in the form in which it is shown to somebody who stated a purpose."""
    document = None
    if identity.document_type is not None and identity.document_number is not None:
        document = DocumentOut(type=identity.document_type, number=identity.document_number)
    address = None
    if identity.address_division is not None or identity.address_line is not None:
        address = AddressOut(division=identity.address_division, line=identity.address_line)
    return RevealedOut(
        name=identity.name,
        document=document,
        document_missing_reason=identity.document_missing_reason,
        phone=identity.phone,
        address=address,
        birth_date=identity.born,
    )


def tells_number(text: str, identity: Identity) -> bool:
    """Return whether a text, such as a reference that is kept in plain, holds this person's document number or phone.

    A resident's number also in the old form, a phone without its country code, however the digits are grouped.
    """
    run = compact(text).upper()
    number, phone = identity.document_number, identity.phone
    if number is not None:
        if number in run:
            return True
        if identity.document_type is DocumentType.RESIDENT_ID and number[:6] + number[8:17] in run:
            return True
    return phone is not None and phone.removeprefix("+86").removeprefix("+") in run


def tells_identity(text: str, identity: Identity) -> bool:
    """Return whether a free text, such as a reason that is kept in plain, names this person.

    It does if it holds the document number (of a resident also in the old form), the phone without its country code, or
    the name, however digits are grouped and letters written.
    """
    if tells_number(text, identity):
        return True
    name = identity.name_comparable
    # One character, or a name like Li, stands in many an innocent sentence.
    is_telling = name is not None and len(name.encode()) >= _TELLING_NAME_BYTES
    return name is not None and is_telling and compact(name) in fold(compact(unicodedata.normalize("NFKC", text)))


def _text(text: str | None) -> str | None:
    return (text.strip() or None) if text is not None else None
