"""What can be done with people: keep what was presented, once."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.ids import new_id
from app.core.sealing import HashKind, Keyring
from app.people.models import SEALED_COLUMN
from app.people.queries import TABLE, find_presentations
from app.people.rules import Presentation, encode

_INSERT = """
    INSERT INTO people (id, key_id, presentation_hash, document_hash, phone_hash, name_hash,
                        document_type, sealed, created_at)
    SELECT id, $8, presentation_hash, document_hash, phone_hash, name_hash, document_type, sealed, $9
    FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::bytea[])
      AS row(id, presentation_hash, document_hash, phone_hash, name_hash, document_type, sealed)
    ON CONFLICT (presentation_hash) DO NOTHING
    RETURNING presentation_hash, id
"""

# A presentation is found, or inserted, or was inserted by somebody else in between and is then found. Only a purge that
# removes it in that very moment asks for another round.
_ROUNDS = 3


async def ensure_people(
    session: AsyncSession, presentations: Sequence[Presentation], *, now: datetime, keyring: Keyring
) -> list[UUID]:
    """Return the id of each presentation, in their order, keeping those that are new.

    Equal presentations share an id, in this call and for ever. Two or three statements, however many there are. The
    verb that records the registration or the case writes the audit entry; this one has no actor of its own.

    Call it once in a transaction with everything that the transaction brings: new rows are inserted in the order of
    their hashes, so that two transactions with the same new people wait for each other instead of blocking each other.
    """
    if not presentations:
        return []
    texts = [encode(presentation.identity) for presentation in presentations]
    distinct = dict(zip(texts, presentations, strict=True))
    hashes = {text: keyring.hashes(HashKind.PRESENTATION, text) for text in distinct}

    ids: dict[str, UUID] = {}
    missing = list(distinct)
    for _ in range(_ROUNDS):
        known = await find_presentations(session, [value for text in missing for value in hashes[text]])
        ids.update((text, known[value]) for text in missing for value in hashes[text] if value in known)
        missing = [text for text in missing if text not in ids]
        if not missing:
            break
        missing.sort(key=lambda text: hashes[text][0])
        inserted = await _insert(session, [(text, hashes[text][0], distinct[text]) for text in missing], now, keyring)
        ids.update((text, inserted[hashes[text][0]]) for text in missing if hashes[text][0] in inserted)
        missing = [text for text in missing if text not in ids]
        if not missing:
            break
    if missing:
        # Said here, because the KeyError below would name an identity.
        raise RuntimeError("people appear and disappear faster than they can be looked up")
    return [ids[text] for text in texts]


async def _insert(
    session: AsyncSession, rows: list[tuple[str, bytes, Presentation]], now: datetime, keyring: Keyring
) -> dict[bytes, UUID]:
    """Insert the rows that nobody else has inserted meanwhile; return their ids by presentation hash."""
    ids = [new_id() for _ in rows]
    connection = await driver(session)
    inserted = await connection.fetch(
        _INSERT,
        ids,
        [presentation_hash for _, presentation_hash, _ in rows],
        [p.document and keyring.hash(HashKind.DOCUMENT, p.document.comparable) for _, _, p in rows],
        [p.phone and keyring.hash(HashKind.PHONE, p.phone.comparable) for _, _, p in rows],
        [p.name and keyring.hash(HashKind.NAME, p.name.comparable) for _, _, p in rows],
        [p.document and p.document.type.value for _, _, p in rows],
        [
            keyring.seal(text.encode(), table=TABLE, row=person_id, column=SEALED_COLUMN)
            for person_id, (text, _, _) in zip(ids, rows, strict=True)
        ],
        keyring.key_id,
        now,
    )
    return {row["presentation_hash"]: row["id"] for row in inserted}
