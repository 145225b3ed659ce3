"""Finding people without knowing who they are, and opening what is sealed.

All hashes are under the one index key, so rows compare with each other in SQL. Statements are set-based and go through the
driver: they stand on the path of every registration.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.sealing import HashKind, Keyring, KeyUnknown, SealBroken
from app.people.models import SEALED_COLUMN, Person
from app.people.rules import Identity, decode

TABLE = Person.__tablename__

# One look-up in the index for each, also where the statement was planned while the table was empty.
_FIND_PRESENTATIONS = """
    SELECT found.presentation_hash, found.id
    FROM unnest($1::bytea[]) AS wanted (presentation_hash)
    CROSS JOIN LATERAL (
        SELECT p.presentation_hash, p.id FROM people p WHERE p.presentation_hash = wanted.presentation_hash LIMIT 1
    ) AS found
"""

# One row for each buyer, with all ids that were asked for: a person with thousands of presentations stays one row.
_BUYERS = """
    WITH asked AS (SELECT id, document_hash, phone_hash, name_hash FROM people WHERE id = ANY($1::uuid[]))
    SELECT array_agg(asked.id) AS asked, (
        SELECT array_agg(p.id ORDER BY p.created_at, p.id) FROM people p WHERE p.document_hash = asked.document_hash
    ) AS presentations
    FROM asked WHERE document_hash IS NOT NULL GROUP BY asked.document_hash
    UNION ALL
    SELECT array_agg(asked.id), (
        SELECT array_agg(p.id ORDER BY p.created_at, p.id) FROM people p
        WHERE p.phone_hash = asked.phone_hash AND p.name_hash = asked.name_hash AND p.document_hash IS NULL
    )
    FROM asked
    WHERE document_hash IS NULL AND phone_hash IS NOT NULL AND name_hash IS NOT NULL
    GROUP BY asked.phone_hash, asked.name_hash
    UNION ALL
    SELECT ARRAY[id], ARRAY[id] FROM asked WHERE document_hash IS NULL AND (phone_hash IS NULL OR name_hash IS NULL)
"""

# Ids are in order of time, so these two stand at the ends of the primary key: no scan, however large the table.
_ENDS = """
    (SELECT id, key_id, presentation_hash, sealed FROM people ORDER BY id LIMIT 1)
    UNION ALL
    (SELECT id, key_id, presentation_hash, sealed FROM people ORDER BY id DESC LIMIT 1)
"""


class KeyringDoesNotFit(Exception):
    """The people in the database were hashed under another index key than this keyring's, or sealed under keys that it
    does not hold. Nobody would be found again, so no process may go on.
    """


@dataclass(frozen=True, slots=True)
class Buyer:
    """A person across presentations; `id` is that of the earliest, `presentations` are all of them in time order."""

    id: UUID
    presentations: tuple[UUID, ...]


async def find_presentations(session: AsyncSession, hashes: Collection[bytes]) -> dict[bytes, UUID]:
    """Return the ids of the presentations that exist, by presentation hash."""
    connection = await driver(session)
    rows = await connection.fetch(_FIND_PRESENTATIONS, list(hashes))
    return {row["presentation_hash"]: row["id"] for row in rows}


async def buyers_of(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, Buyer]:
    """Return, for each of these presentations, the buyer to whom it belongs; ids that do not exist are left out.

    Presentations belong together that bear the same document; of those without a document, the ones with the same phone
    and the same name. One with neither is a buyer of its own.
    """
    connection = await driver(session)
    buyers: dict[UUID, Buyer] = {}
    for row in await connection.fetch(_BUYERS, list(ids)):
        presentations = tuple(row["presentations"])
        buyers |= dict.fromkeys(row["asked"], Buyer(presentations[0], presentations))
    return buyers


async def check_index_key(session: AsyncSession, keyring: Keyring) -> None:
    """Make sure, before a process serves or works, that it will find the people who are already kept.

    Looks at the oldest and the newest of them: the key that they name, and whether hashing anew what is sealed gives the
    hash that is kept. So it notices an index key dropped from the ring as well as another key under the same id.

    Raises:
        KeyringDoesNotFit: it would not. The message names key ids only.
    """
    connection = await driver(session)
    for row in await connection.fetch(_ENDS):
        if row["key_id"] != keyring.index_key_id:
            raise KeyringDoesNotFit(
                f"people were hashed under master key {row['key_id']}, and the first key of the keyring is "
                f"{keyring.index_key_id}: the oldest key must stay in the ring, and first"
            )
        try:
            text = keyring.open(row["sealed"], table=TABLE, row=row["id"], column=SEALED_COLUMN).decode()
        except (KeyUnknown, SealBroken) as error:
            raise KeyringDoesNotFit(f"people cannot be opened with this keyring: {error}") from None
        if keyring.hash(HashKind.PRESENTATION, text) != row["presentation_hash"]:
            raise KeyringDoesNotFit(
                f"master key {keyring.index_key_id} is not the key of that id under which people were hashed"
            )


async def open_people(session: AsyncSession, ids: Collection[UUID], keyring: Keyring) -> dict[UUID, Identity]:
    """Return these presentations in plain text; ids that do not exist are left out.

    Whoever calls this shows an identity to somebody or sends it somewhere, and writes down to whom and why. Matching compares identities
    and tells nobody: that is no reveal.

    Raises:
        KeyUnknown, SealBroken: a row cannot be opened.
    """
    connection = await driver(session)
    rows = await connection.fetch("SELECT id, sealed FROM people WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: _open(keyring, row["id"], row["sealed"]) for row in rows}


def _open(keyring: Keyring, person_id: UUID, sealed: bytes) -> Identity:
    return decode(keyring.open(sealed, table=TABLE, row=person_id, column=SEALED_COLUMN).decode())
