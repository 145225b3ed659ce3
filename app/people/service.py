"""What can be done with people: keep what was presented, once."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import copy_unless_taken
from app.core.errors import TryAgain
from app.core.ids import new_id
from app.core.sealing import HashKind, Keyring
from app.people.models import SEALED_COLUMN
from app.people.queries import TABLE, find_presentations
from app.people.rules import INVENTED, Presentation, encode

_COLUMNS = (
    *("id", "key_id", "presentation_hash", "document_hash", "phone_hash", "name_hash", "document_type"),
    *(SEALED_COLUMN, "created_at"),
)

# What is missing is inserted; if somebody else has inserted some of it in between, that is found in the next round. Each round
# waits for one of the others to commit, so there are as many as there are transactions that bring the same people at once.
_ROUNDS = 20


async def ensure_people(
    session: AsyncSession,
    presentations: Sequence[Presentation],
    *,
    now: datetime,
    keyring: Keyring,
    invented: Collection[int] = (),
) -> list[UUID]:
    """Return the id of each presentation, in their order, keeping those that are new.

    Equal presentations share an id, in this call and for ever. Two statements, however many there are. The
    verb that records the registration or the case writes the audit entry; this one has no actor of its own.

    The presentations at the places `invented` come from somebody who tries a till out. They share rows among themselves and with
    nobody else, and no search and no case finds them: their marks are not kept.

    Call it once in a transaction with everything that the transaction brings: new rows are inserted in the order of
    their hashes, so that two transactions with the same new people wait for each other instead of blocking each other.

    Raises:
        TryAgain: too many others bring the same people in this moment.
    """
    if not presentations:
        return []
    texts = [
        f"{INVENTED}{encode(presentation.identity)}" if index in invented else encode(presentation.identity)
        for index, presentation in enumerate(presentations)
    ]
    hashes = [keyring.hash(HashKind.PRESENTATION, text) for text in texts]
    # In the order of hashes, in which they are inserted.
    missing = dict(sorted(zip(hashes, zip(texts, presentations, strict=True), strict=True), key=itemgetter(0)))

    ids: dict[bytes, UUID] = {}
    for _ in range(_ROUNDS):
        ids |= await find_presentations(session, missing)
        missing = {value: row for value, row in missing.items() if value not in ids}
        if missing:
            ids |= await _insert(session, missing, now, keyring)
            missing = {value: row for value, row in missing.items() if value not in ids}
        if not missing:
            return [ids[value] for value in hashes]
    raise TryAgain


async def _insert(
    session: AsyncSession, rows: Mapping[bytes, tuple[str, Presentation]], now: datetime, keyring: Keyring
) -> dict[bytes, UUID]:
    """Insert the rows and return their ids by presentation hash; nothing if somebody else has inserted one meanwhile."""
    ids: dict[bytes, UUID] = {}
    people: list[tuple[object, ...]] = []
    hashed, key_id = keyring.hash, keyring.index_key_id
    for presentation_hash, (text, presentation) in rows.items():
        ids[presentation_hash] = person_id = new_id()
        document, phone, name = presentation.document, presentation.phone, presentation.name
        if text.startswith(INVENTED):
            document = phone = name = None
        people.append(
            (
                person_id,
                key_id,
                presentation_hash,
                document and hashed(HashKind.DOCUMENT, document.comparable),
                phone and hashed(HashKind.PHONE, phone.comparable),
                name and hashed(HashKind.NAME, name.comparable),
                document and document.type,
                keyring.seal(text.encode(), table=TABLE, row=person_id, column=SEALED_COLUMN),
                now,
            )
        )
    return ids if await copy_unless_taken(session, TABLE, _COLUMNS, people) else {}
