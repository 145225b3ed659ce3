"""The chain of receipts of one pharmacy: what a link says, what it is hashed to, what is signed. Pure.

Each registration, correction and void is a link. A link names the one before by its hash, so whoever holds one receipt holds
all that went before it; nothing before can be changed, left out, put elsewhere or slipped in without another hash at the end.

A link says nothing about anybody: what was sent stands in it only as a commitment, HMAC-SHA-256 of the content under a random
salt of 128 bits. Whoever has content and salt can show that they belong to it; without the salt nobody can find the
content by trying, though names and documents are few enough to be tried.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Literal
from uuid import UUID

from pydantic_core import to_json

from app.registrations.schemas import CorrectionIn, RegistrationIn, VoidIn

FORMAT: Literal["sentinel-receipt-1"] = "sentinel-receipt-1"
"""Names the fields of a link and how they are hashed; a change of either is another format."""
HEAD_FORMAT = "sentinel-head-1"
GENESIS = bytes(32)
"""What the first link of a pharmacy names as the one before."""
SALT_BYTES = 16
PURPOSE = "receipts"
"""Of the signing key."""
KEY_ID_CHARACTERS = 16

# Which pharmacy a chain's key names is part of the name, not of the content.
_NOT_CONTENT = {"pharmacy_id"}


class LinkKind(StrEnum):
    """What came in."""

    RECORDED = "recorded"
    CORRECTED = "corrected"
    VOIDED = "voided"


@dataclass(slots=True)  # not frozen: that would cost as much as the hashing
class Entry:
    """What is to become a link: the fact, and its content in canonical form."""

    pharmacy_id: UUID
    registration_id: UUID
    client_reference: str
    revision: int
    kind: LinkKind
    content: bytes


@dataclass(slots=True)
class Link:
    """One link. `previous` is the hash of the link with the number before; numbers count from 1 for each pharmacy."""

    pharmacy_id: UUID
    number: int
    previous: bytes
    kind: LinkKind
    registration_id: UUID
    client_reference: str
    revision: int
    received_at: datetime
    commitment: bytes

    def hash(self) -> bytes:
        """Return the hash by which the next link names this one."""
        return _hash(
            f"{FORMAT}\n{self.pharmacy_id}\n",
            self.number,
            self.previous,
            self.kind,
            self.registration_id,
            self.client_reference,
            self.revision,
            instant_text(self.received_at),
            self.commitment,
        )


@dataclass(slots=True)
class Receipt:
    """A link with its hash; the salt is for the pharmacy alone. `key_id` is the master key whose signing key vouches for it."""

    link: Link
    hash: bytes
    salt: bytes | None
    key_id: int
    signature: bytes | None = field(default=None, compare=False)
    """Made when it is told, or before (`intake`): it is the same each time."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Links that follow each other without a gap, by the number and hash before the first and those of the last."""

    first: Receipt
    last: Receipt


def append(
    entries: Iterable[tuple[Entry, bytes]], *, number: int, previous: bytes, received_at: datetime, key_id: int
) -> Iterator[Receipt]:
    """Yield the receipts of one pharmacy's entries, each with its salt, after the link with this number and hash."""
    at = instant_text(received_at)
    pharmacy_id, head = None, ""
    for entry, salt in entries:
        if entry.pharmacy_id != pharmacy_id:  # once, not a thousand times: writing an id out takes a microsecond
            pharmacy_id, head = entry.pharmacy_id, f"{FORMAT}\n{entry.pharmacy_id}\n"
        number += 1
        commitment = commitment_of(salt, entry.content)
        link = Link(
            entry.pharmacy_id,
            number,
            previous,
            entry.kind,
            entry.registration_id,
            entry.client_reference,
            entry.revision,
            received_at,
            commitment,
        )
        previous = _hash(
            head,
            number,
            previous,
            entry.kind,
            entry.registration_id,
            entry.client_reference,
            entry.revision,
            at,
            commitment,
        )
        yield Receipt(link, previous, salt, key_id)


def commitment_of(salt: bytes, content: bytes) -> bytes:
    """Return the commitment to a content under a salt."""
    return hmac.digest(salt, content, "sha256")


def stretches(receipts: Iterable[Receipt]) -> Iterator[Stretch]:
    """Yield the unbroken stretches among receipts: one signature over the last link of each vouches for all of it."""
    ordered = sorted(receipts, key=lambda one: (one.link.pharmacy_id, one.link.number))
    first = last = None
    for receipt in ordered:
        # The same time too, since it is told once for the stretch.
        follows = last is not None and (receipt.link.previous, receipt.link.received_at, receipt.key_id) == (
            last.hash,
            last.link.received_at,
            last.key_id,
        )
        if first is not None and last is not None and not follows:
            yield Stretch(first, last)
        if not follows:
            first = receipt
        last = receipt
    if first is not None and last is not None:
        yield Stretch(first, last)


def head_message(pharmacy_id: UUID, number: int, link_hash: bytes) -> bytes:
    """Return what is signed: that this pharmacy's link of this number has this hash."""
    return f"{HEAD_FORMAT}\n{pharmacy_id}\n{number}\n{link_hash.hex()}".encode()


@lru_cache(maxsize=64)
def key_id_of(public_key: bytes) -> str:
    """Return the name of a public key in receipts: the beginning of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:KEY_ID_CHARACTERS]


def content_of(row: RegistrationIn) -> bytes:
    """Return a purchase in canonical form: JSON without spaces, members in the order of the document, absent ones left out.

    Whatever was written in several ways reads the same: times are in UTC, temperatures have two decimals, answers are
    sorted, defaults that are not null are written out. A member that a later version adds changes nothing while it is absent.
    """
    return to_json(row, exclude=_NOT_CONTENT, exclude_none=True)


def correction_content(correction: CorrectionIn, row: RegistrationIn) -> bytes:
    """Return a correction in canonical form; `row` is what it makes of the purchase."""
    return b'{"reason":%b,"registration":%b}' % (to_json(correction.reason), content_of(row))


def void_content(void: VoidIn) -> bytes:
    """Return a void in canonical form."""
    return b'{"reason":%b}' % to_json(void.reason)


def instant_text(instant: datetime) -> str:
    """Return a time as it is hashed: UTC, six decimals, `Z`.

    >>> instant_text(datetime(2026, 2, 15, 2, 0, tzinfo=UTC))
    '2026-02-15T02:00:00.000000Z'
    """
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _hash(
    head: str,
    number: int,
    previous: bytes,
    kind: LinkKind,
    registration_id: UUID,
    client_reference: str,
    revision: int,
    at: str,
    commitment: bytes,
) -> bytes:
    # No field can hold a line feed, so the lines can be read in one way only.
    text = (
        f"{head}{number}\n{previous.hex()}\n{kind}\n{registration_id}\n{client_reference}\n{revision}\n{at}\n"
        f"{commitment.hex()}"
    )
    return hashlib.sha256(text.encode()).digest()
