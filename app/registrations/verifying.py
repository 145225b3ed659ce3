"""Checking a pharmacy's receipts without the service: what was removed, changed, put elsewhere or dated back. Pure.

A line of the file is a receipt, or an answer that holds one under `receipt`, or the answer to a batch together with what was
sent: `{"sent": […], "answer": {…}}`. Beside a receipt `sent` may stand too: the body of the request, which is then held against
the commitment.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from app.registrations.chain import (
    FORMAT,
    GENESIS,
    Link,
    LinkKind,
    commitment_of,
    content_of,
    correction_content,
    head_message,
    key_id_of,
    void_content,
)
from app.registrations.schemas import CorrectionIn, RegistrationIn, VoidIn, named

CLOCK_TOLERANCE = timedelta(minutes=2)
"""How far the time of a link may lie before that of the link before. Transactions wait for each other up to a minute, and the
clocks of two servers differ; whoever dates back by more is found.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where: the line of the file, and the link as far as it is known. `code` is stable."""

    line: int
    code: str
    detail: str
    pharmacy_id: UUID | None = None
    number: int | None = None
    client_reference: str | None = None

    def __str__(self) -> str:
        where = [f"line {self.line}"]
        if self.number is not None:
            where.append(f"number {self.number}")
        if self.client_reference is not None:
            where.append(self.client_reference)
        return f"{', '.join(where)}: {self.detail} ({self.code})"


@dataclass(frozen=True, slots=True)
class Held:
    """A link as somebody holds it. `hash` is the one that it was given with; `signature` is there if it has one of its own."""

    line: int
    link: Link
    hash: bytes
    salt: bytes | None
    signed: tuple[str, bytes] | None
    sent: Any


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, and for each pharmacy the first and last number that were looked at."""

    findings: Sequence[Finding]
    pharmacies: Mapping[UUID, tuple[int, int]]
    contents: int
    """How many contents were held against their receipts."""


def read_keys(text: str) -> dict[str, Ed25519PublicKey]:
    """Read a JSON Web Key Set as `GET /v1/receipts/keys` gives it; return the keys by their ids.

    Raises:
        ValueError: it has another form, or a key's id is not that of the key.
    """
    keys = {}
    try:
        for entry in json.loads(text)["keys"]:
            public = base64.b64decode(entry["x"] + "=" * (-len(entry["x"]) % 4), altchars=b"-_", validate=True)
            if key_id_of(public) != entry["kid"]:
                raise ValueError("a key's id is not that of the key")
            keys[entry["kid"]] = Ed25519PublicKey.from_public_bytes(public)
    except (KeyError, TypeError) as error:
        raise ValueError("these are not the keys of receipts") from error
    return keys


def verify(
    lines: Iterable[str], keys: Mapping[str, Ed25519PublicKey], *, first: int = 1, is_ordered: bool = True
) -> Report:
    """Check receipts, a JSON document a line; blank lines do not count.

    `first` is the number with which each pharmacy's chain must begin here. Unless `is_ordered`, the lines may stand in any order.
    """
    findings: list[Finding] = []
    chains: dict[UUID, list[Held]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            for held in _read(number, json.loads(line)):
                chains.setdefault(held.link.pharmacy_id, []).append(held)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            findings.append(Finding(number, "unreadable", "this is no receipt"))
    contents = 0
    for chain in chains.values():
        ordered = chain if is_ordered else sorted(chain, key=lambda held: held.link.number)
        findings += _check_chain(ordered, keys, first)
        contents += sum(held.sent is not None for held in chain)
    spans = {pharmacy: _span(chain) for pharmacy, chain in chains.items()}
    return Report(sorted(findings, key=lambda finding: finding.line), spans, contents)


def _span(chain: Sequence[Held]) -> tuple[int, int]:
    numbers = [held.link.number for held in chain]
    return min(numbers), max(numbers)


def _read(line: int, document: Any) -> Iterator[Held]:
    answer = document.get("answer", document)
    if "results" in answer:
        yield from _read_batch(line, answer, document["sent"])
        return
    receipt = document["receipt"] if document.get("receipt") is not None else answer.get("receipt", answer)
    if receipt["format"] != FORMAT:
        raise ValueError("another format")
    link = Link(
        UUID(receipt["pharmacy_id"]),
        _whole(receipt["number"]),
        bytes.fromhex(receipt["previous"]),
        LinkKind(receipt["kind"]),
        UUID(receipt["registration_id"]),
        str(receipt["client_reference"]),
        _whole(receipt["revision"]),
        _instant(receipt["received_at"]),
        bytes.fromhex(receipt["commitment"]),
    )
    salt = receipt.get("salt")
    signed = (str(receipt["key_id"]), bytes.fromhex(receipt["signature"]))
    yield Held(line, link, bytes.fromhex(receipt["hash"]), salt and bytes.fromhex(salt), signed, document.get("sent"))


def _read_batch(line: int, answer: Any, sent: Sequence[Any]) -> Iterator[Held]:
    """Yield the links that the answer to a batch tells in short, as they are in full."""
    rows = {}
    for result in answer["results"]:
        if result.get("receipt") is not None:
            rows[_whole(result["receipt"]["number"])] = result
    for head in answer["receipts"]:
        previous = bytes.fromhex(head["previous"])
        for number in range(_whole(head["first"]), _whole(head["number"]) + 1):
            result = rows[number]
            row = sent[_whole(result["index"])]
            link = Link(
                UUID(head["pharmacy_id"]),
                number,
                previous,
                LinkKind.RECORDED,
                UUID(result["id"]),
                str(row["client_reference"]),
                1,
                _instant(head["received_at"]),
                bytes.fromhex(result["receipt"]["commitment"]),
            )
            is_last = number == head["number"]
            previous = bytes.fromhex(head["hash"]) if is_last else link.hash()
            signed = (str(head["key_id"]), bytes.fromhex(head["signature"])) if is_last else None
            yield Held(line, link, previous, bytes.fromhex(result["receipt"]["salt"]), signed, row)


def _check_chain(chain: Sequence[Held], keys: Mapping[str, Ed25519PublicKey], first: int) -> Iterator[Finding]:
    seen: dict[int, Held] = {}
    waiting: list[Held] = []
    before: Held | None = None
    for held in chain:
        number = held.link.number
        known = seen.get(number)
        if known is not None and (known.link, known.hash) == (held.link, held.hash):
            continue  # the answer to a repetition
        if known is not None:
            yield _found(held, "forked", f"line {known.line} holds another link of this number: one of them is false")
        seen[number] = held
        yield from _check_place(held, before, first)
        if held.link.hash() != held.hash:
            yield _found(held, "changed", "the link does not have this hash: a field of it was changed")
        yield from _check_content(held)
        waiting.append(held)
        if held.signed is not None:
            yield from _check_signature(held, keys)
            waiting.clear()
        before = held
    for held in waiting:
        yield _found(held, "unsigned", "nothing signed follows it")


def _check_place(held: Held, before: Held | None, first: int) -> Iterator[Finding]:
    number = held.link.number
    expected = first if before is None else before.link.number + 1
    if number > expected:
        which = f"number {expected} is" if number == expected + 1 else f"numbers {expected} to {number - 1} are"
        yield _found(held, "removed", f"{which} missing before it")
    elif number < expected:
        yield _found(held, "out_of_order", f"it stands where number {expected} should")
    elif before is not None and held.link.previous != before.hash:
        yield _found(held, "does_not_follow", f"it names another link as number {number - 1} than the one given before")
    elif number == 1 and held.link.previous != GENESIS:
        yield _found(held, "does_not_follow", "it is the first, and names one before")
    if before is not None and held.link.received_at < before.link.received_at - CLOCK_TOLERANCE:
        yield _found(held, "dated_back", "it bears an earlier time than the one before")


def _check_signature(held: Held, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[Finding]:
    assert held.signed is not None
    key_id, signature = held.signed
    if key_id not in keys:
        yield _found(held, "key_unknown", "it is signed with a key that is not among those given")
        return
    try:
        keys[key_id].verify(signature, head_message(held.link.pharmacy_id, held.link.number, held.hash))
    except InvalidSignature:
        yield _found(held, "signature_invalid", "the service has not signed this")


def _check_content(held: Held) -> Iterator[Finding]:
    if held.sent is None:
        return
    if held.salt is None:
        yield _found(held, "salt_missing", "without the salt the content cannot be held against the receipt")
        return
    try:
        content = _canonical(held)
    except ValidationError:
        yield _found(held, "content_unreadable", "what was sent does not have the form of a request")
        return
    if commitment_of(held.salt, content) != held.link.commitment:
        yield _found(held, "content_differs", "this is not what was received")


def _canonical(held: Held) -> bytes:
    reference = held.link.client_reference
    if held.link.kind is LinkKind.RECORDED:
        return content_of(RegistrationIn.model_validate_json(json.dumps(held.sent)))
    if held.link.kind is LinkKind.VOIDED:
        return void_content(VoidIn.model_validate_json(json.dumps(held.sent)))
    correction = CorrectionIn.model_validate_json(json.dumps(held.sent))
    return correction_content(correction, named(correction.registration, reference))


def _found(held: Held, code: str, detail: str) -> Finding:
    link = held.link
    return Finding(held.line, code, detail, link.pharmacy_id, link.number, link.client_reference)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not a number")
    return value


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None or text[10] != "T":
        raise ValueError("not a time as it is told")
    return instant
