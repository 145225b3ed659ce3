"""Adding links to the pharmacies' chains, and looking them up; set-based, in the transaction of what they are about.

From adding until its commit a transaction holds the heads of its pharmacies' chains, and nobody else can add to these. Nothing waits
for a signature meanwhile: one is made when a receipt is told, and is the same each time. Who tells single ones makes them while the
database is at work (`intake`).
"""

import os
from collections.abc import Callable, Collection, Sequence
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

# In one order, so that two transactions for the same pharmacies wait for each other and never in a ring.
_LOCK = """
SELECT pharmacy_id, number, hash FROM receipt_heads WHERE pharmacy_id = ANY($1::uuid[]) ORDER BY pharmacy_id FOR UPDATE
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


async def add_links(
    session: AsyncSession,
    entries: Sequence[Entry],
    *,
    now: datetime,
    keyring: Keyring,
    made: Callable[[Sequence[Receipt]], None] | None = None,
) -> dict[UUID, Receipt]:
    """Add a link for each entry to its pharmacy's chain, in their order; return the receipts by registration.

    Three statements, however many there are; two more for a pharmacy's first link. Call it once in a transaction, after
    what the links are about. `made` is called with the receipts before they are written down.
    """
    if not entries:
        return {}
    connection = await driver(session)
    # Stable: within a pharmacy the order stays.
    ordered = sorted(entries, key=lambda entry: entry.pharmacy_id)
    heads = await _lock_heads(connection, sorted({entry.pharmacy_id for entry in entries}))
    random = os.urandom(SALT_BYTES * len(ordered))
    seeds = [random[at : at + SALT_BYTES] for at in range(0, len(random), SALT_BYTES)]
    salts = iter([_salt(seed, keyring, keyring.key_id) for seed in seeds])
    receipts: list[Receipt] = []
    last: list[Receipt] = []
    for pharmacy_id, group in groupby(ordered, key=lambda entry: entry.pharmacy_id):
        number, previous = heads[pharmacy_id]
        salted = zip(group, salts, strict=False)
        receipts += chain.append(salted, number=number, previous=previous, received_at=now, key_id=keyring.key_id)
        last.append(receipts[-1])
    if made is not None:
        made(receipts)
    await connection.execute(
        _MOVE,
        [receipt.link.pharmacy_id for receipt in last],
        [receipt.link.number for receipt in last],
        [receipt.hash for receipt in last],
    )
    await copy_in(session, "receipt_links", _COLUMNS, [_row(*one) for one in zip(receipts, seeds, strict=True)])
    return {receipt.link.registration_id: receipt for receipt in receipts}


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


async def _lock_heads(connection: Any, pharmacy_ids: Sequence[UUID]) -> dict[UUID, tuple[int, bytes]]:
    rows = await connection.fetch(_LOCK, pharmacy_ids)
    if len(rows) < len(pharmacy_ids):
        await connection.execute(_BEGIN, pharmacy_ids, GENESIS)
        rows = await connection.fetch(_LOCK, pharmacy_ids)
    return {row["pharmacy_id"]: (row["number"], row["hash"]) for row in rows}


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
