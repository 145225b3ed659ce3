"""Adding links to the pharmacies' chains, and looking them up; set-based, in the transaction of what they are about.

From adding until its commit a transaction holds the heads of its pharmacies' chains, and nobody else can add to these. Nothing waits
for a signature meanwhile: one is made when a receipt is told, and is the same each time. Who tells single ones makes links and
signatures while the database is at work (`Heads`, `intake`).
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import copy_in, driver
from app.core.sealing import Keyring
from app.registrations import chain
from app.registrations.chain import GENESIS, PURPOSE, SALT_BYTES, Entry, Link, LinkKind, Receipt, Stretch
from app.registrations.receipt_schemas import ReceiptHeadOut, ReceiptOut

_SALTS = "receipt-salts"

# Locks in one order, so that two transactions for the same pharmacies wait for each other and never in a ring. A head that is what the
# links were made after moves in the same word.
_HOLD = """
WITH held AS (
    SELECT pharmacy_id, number, hash FROM receipt_heads WHERE pharmacy_id = ANY($1::uuid[]) ORDER BY pharmacy_id FOR UPDATE
), moved AS (
    UPDATE receipt_heads SET number = link.number, hash = link.hash
    FROM unnest($2::uuid[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[])
        AS link (pharmacy_id, number_before, hash_before, number, hash)
    JOIN held ON (held.pharmacy_id, held.number, held.hash) = (link.pharmacy_id, link.number_before, link.hash_before)
    WHERE receipt_heads.pharmacy_id = link.pharmacy_id
    RETURNING receipt_heads.pharmacy_id
)
SELECT held.*, moved.pharmacy_id IS NOT NULL AS moved FROM held LEFT JOIN moved USING (pharmacy_id)
"""
_BEGIN = """
INSERT INTO receipt_heads (pharmacy_id, number, hash)
SELECT pharmacy_id, 0, $2 FROM unnest($1::uuid[]) AS row (pharmacy_id) ORDER BY pharmacy_id
ON CONFLICT (pharmacy_id) DO NOTHING
"""
_MOVE = """
UPDATE receipt_heads SET number = head.number, hash = head.hash
FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS head (pharmacy_id, number, hash)
WHERE receipt_heads.pharmacy_id = head.pharmacy_id
"""
_COLUMNS = (
    *("pharmacy_id", "number", "kind", "registration_id", "client_reference", "revision", "received_at", "commitment"),
    *("hash", "key_id", "salt_seed"),
)
_FIND = """
SELECT link.*, before.hash AS previous
FROM receipt_links link
LEFT JOIN receipt_links before ON before.pharmacy_id = link.pharmacy_id AND before.number = link.number - 1
"""
_OF_REGISTRATIONS = f"{_FIND} WHERE link.registration_id = ANY($1::uuid[]) ORDER BY link.pharmacy_id, link.number"
_OF_PHARMACY = f"{_FIND} WHERE link.pharmacy_id = $1 AND link.number > $2 ORDER BY link.number LIMIT $3"


_MOST_SEEN = 50_000

Head = tuple[int, bytes]
"""Number and hash of a chain's last link."""
Linked = tuple[Receipt, bytes]
"""A receipt, and the seed of its salt."""


class Heads:
    """The heads of chains as this process saw them last: after them links can be made before the chains are held.

    Whether such links may stay is seen when the chains are held (`add_links`). If somebody else has added to a chain, or the
    transaction that moved it here came to nothing, they are dropped, and nobody was told of them.
    """

    def __init__(self) -> None:
        self._seen: dict[UUID, Head] = {}

    def make_links(self, entries: Iterable[Entry], *, now: datetime, keyring: Keyring) -> dict[UUID, list[Linked]]:
        """Return links of the entries by pharmacy, as far as its chain has been seen; each pharmacy's in their order."""
        return _make_links([one for one in entries if one.pharmacy_id in self._seen], self._seen, now, keyring)

    def note(self, last: Iterable[Receipt]) -> None:
        """Take these for the last links of their chains."""
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen.update((one.link.pharmacy_id, (one.link.number, one.hash)) for one in last)


async def add_links(
    session: AsyncSession,
    entries: Sequence[Entry],
    *,
    now: datetime,
    keyring: Keyring,
    heads: Heads | None = None,
    early: Mapping[UUID, Sequence[Linked]] | None = None,
) -> dict[UUID, Receipt]:
    """Add a link for each entry to its pharmacy's chain, in their order; return the receipts by registration.

    Two statements, however many there are; a third where links are made under the lock, two more for a first link. Call it once, after
    what the links are about. `early` are links that were made before: they are taken where they follow the pharmacy's head. Then they are
    those of all its entries, since whoever had taken the place of one would have moved the head. `heads` is told how the chains stand then.
    """
    if not entries:
        return {}
    connection = await driver(session)
    pharmacy_ids = {entry.pharmacy_id for entry in entries}
    links = {one: made for one, made in (early or {}).items() if one in pharmacy_ids}
    held, moved = await _hold(connection, sorted(pharmacy_ids), links)
    links = {one: made for one, made in links.items() if one in moved}
    later = _make_links([entry for entry in entries if entry.pharmacy_id not in links], held, now, keyring)
    if later:
        ends = [made[-1][0] for made in later.values()]
        await connection.execute(_MOVE, list(later), [end.link.number for end in ends], [end.hash for end in ends])
    links |= later
    linked = [one for made in links.values() for one in made]
    await copy_in(session, "receipt_links", _COLUMNS, [_row(*one) for one in linked])
    if heads is not None:
        heads.note(made[-1][0] for made in links.values())
    return {receipt.link.registration_id: receipt for receipt, _ in linked}


def _make_links(
    entries: Sequence[Entry], heads: Mapping[UUID, Head], now: datetime, keyring: Keyring
) -> dict[UUID, list[Linked]]:
    random = os.urandom(SALT_BYTES * len(entries))
    seeds = iter([random[at : at + SALT_BYTES] for at in range(0, len(random), SALT_BYTES)])
    links: dict[UUID, list[Linked]] = {}
    # Stable: within a pharmacy the order stays.
    ordered = sorted(entries, key=lambda entry: entry.pharmacy_id)
    for pharmacy_id, group in groupby(ordered, key=lambda entry: entry.pharmacy_id):
        number, previous = heads[pharmacy_id]
        seeded = [(entry, next(seeds)) for entry in group]
        salted = ((entry, _salt(seed, keyring, keyring.key_id)) for entry, seed in seeded)
        receipts = chain.append(salted, number=number, previous=previous, received_at=now, key_id=keyring.key_id)
        links[pharmacy_id] = [(receipt, seed) for receipt, (_, seed) in zip(receipts, seeded, strict=True)]
    return links


def _head_before(made: Sequence[Linked]) -> Head:
    first = made[0][0].link
    return first.number - 1, first.previous


def _row(receipt: Receipt, seed: bytes) -> tuple[Any, ...]:
    link = receipt.link
    return (
        link.pharmacy_id,
        link.number,
        link.kind,
        link.registration_id,
        link.client_reference,
        link.revision,
        link.received_at,
        link.commitment,
        receipt.hash,
        receipt.key_id,
        seed,
    )


async def _hold(
    connection: Any, pharmacy_ids: Sequence[UUID], links: Mapping[UUID, Sequence[Linked]]
) -> tuple[dict[UUID, Head], set[UUID]]:
    """Lock the heads of these chains, and move those that the links follow; return them as they were, and which have moved."""
    before = [_head_before(made) for made in links.values()]
    after = [made[-1][0] for made in links.values()]
    moves = (
        list(links),
        [number for number, _ in before],
        [value for _, value in before],
        [receipt.link.number for receipt in after],
        [receipt.hash for receipt in after],
    )
    rows = await connection.fetch(_HOLD, pharmacy_ids, *moves)
    if len(rows) < len(pharmacy_ids):
        begun = sorted({*pharmacy_ids} - {row["pharmacy_id"] for row in rows})
        await connection.execute(_BEGIN, begun, GENESIS)
        rows += await connection.fetch(_HOLD, begun, *([] for _ in moves))
    held = {row["pharmacy_id"]: (row["number"], row["hash"]) for row in rows}
    return held, {row["pharmacy_id"] for row in rows if row["moved"]}


async def find_receipts(
    session: AsyncSession, registration_ids: Collection[UUID], keyring: Keyring
) -> dict[UUID, list[Receipt]]:
    """Return all receipts of these registrations, in the order of the chain."""
    connection = await driver(session)
    found: dict[UUID, list[Receipt]] = {registration_id: [] for registration_id in registration_ids}
    for row in await connection.fetch(_OF_REGISTRATIONS, list(registration_ids)):
        found[row["registration_id"]].append(_receipt(row, keyring))
    return found


async def list_receipts(
    session: AsyncSession, pharmacy_id: UUID, *, after: int, limit: int, keyring: Keyring
) -> list[Receipt]:
    """Return a pharmacy's receipts behind a number, in the order of the chain."""
    connection = await driver(session)
    return [_receipt(row, keyring) for row in await connection.fetch(_OF_PHARMACY, pharmacy_id, after, limit)]


def receipt_of(receipts: Sequence[Receipt], revision: int) -> Receipt | None:
    """Return the receipt of a registration's revision among all of its receipts."""
    return next(
        (one for one in receipts if one.link.kind is not LinkKind.VOIDED and one.link.revision == revision), None
    )


def sign(receipt: Receipt, keyring: Keyring, *, with_salt: bool = True) -> ReceiptOut:
    """Return a receipt as it is told, with a signature of its own. Only the pharmacy is told the salt."""
    link = receipt.link
    public, signature = _signed(receipt, keyring)
    return ReceiptOut(
        format=chain.FORMAT,
        pharmacy_id=link.pharmacy_id,
        number=link.number,
        previous=link.previous.hex(),
        kind=link.kind.value,
        registration_id=link.registration_id,
        client_reference=link.client_reference,
        revision=link.revision,
        received_at=link.received_at,
        commitment=link.commitment.hex(),
        hash=receipt.hash.hex(),
        key_id=public,
        signature=signature,
        salt=receipt.salt.hex() if with_salt and receipt.salt is not None else None,
    )


def sign_stretch(stretch: Stretch, keyring: Keyring) -> ReceiptHeadOut:
    """Return the head of a stretch as it is told: one signature for all its links."""
    public, signature = _signed(stretch.last, keyring)
    return ReceiptHeadOut(
        pharmacy_id=stretch.last.link.pharmacy_id,
        first=stretch.first.link.number,
        previous=stretch.first.link.previous.hex(),
        received_at=stretch.last.link.received_at,
        number=stretch.last.link.number,
        hash=stretch.last.hash.hex(),
        key_id=public,
        signature=signature,
    )


def _signed(receipt: Receipt, keyring: Keyring) -> tuple[str, str]:
    public = chain.key_id_of(keyring.public_key(PURPOSE, receipt.key_id))
    return public, _signature(receipt, keyring).hex()


def _signature(receipt: Receipt, keyring: Keyring) -> bytes:
    if receipt.signature is None:
        link = receipt.link
        message = chain.head_message(link.pharmacy_id, link.number, receipt.hash)
        receipt.signature = keyring.sign(PURPOSE, message, key_id=receipt.key_id)
    return receipt.signature


def _receipt(row: Any, keyring: Keyring) -> Receipt:
    link = Link(
        row["pharmacy_id"],
        row["number"],
        row["previous"] or GENESIS,
        LinkKind(row["kind"]),
        row["registration_id"],
        row["client_reference"],
        row["revision"],
        row["received_at"],
        row["commitment"],
    )
    seed = row["salt_seed"]
    salt = seed and _salt(seed, keyring, row["key_id"])
    return Receipt(link, row["hash"], salt, row["key_id"])


def _salt(seed: bytes, keyring: Keyring, key_id: int) -> bytes:
    # As good as a sealed random salt and a third of its price: without the key the seed says nothing, without the seed the key.
    return keyring.mac(_SALTS, seed, key_id=key_id)[:SALT_BYTES]
