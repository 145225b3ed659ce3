"""What can be done with people: keep what was presented, once."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import copy_in, copy_unless_taken, driver
from app.core.errors import TryAgain
from app.core.ids import new_ids
from app.core.sealing import HashKind, Keyring
from app.people.models import SEALED_COLUMN
from app.people.nearness import near_marks
from app.people.queries import TABLE, find_presentations, open_people
from app.people.rules import INVENTED, Presentation, encode, present

_COLUMNS = (
    *("id", "key_id", "presentation_hash", "document_hash", "phone_hash", "name_hash", "name_birth_hash"),
    *("document_type", SEALED_COLUMN, "created_at"),
)
_MARK_COLUMNS = ("hash", "person_id")

_NEXT = """
    SELECT id, name_hash IS NOT NULL AND name_birth_hash IS NULL
               AND NOT EXISTS (SELECT FROM document_marks WHERE person_id = people.id) AS lacks
    FROM people WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
"""

_GIVE_BIRTH_MARK = """
    UPDATE people SET name_birth_hash = row.hash FROM unnest($1::uuid[], $2::bytea[]) AS row (id, hash)
    WHERE people.id = row.id
"""

_GIVE_DOCUMENT_MARK = """
    INSERT INTO document_marks (hash, person_id)
    SELECT mark.hash, mark.person_id FROM unnest($1::bytea[], $2::uuid[]) AS mark (hash, person_id)
    ON CONFLICT DO NOTHING
"""

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
    hashes = list(map(keyring.hasher(HashKind.PRESENTATION), texts))
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


async def complete_marks(
    session: AsyncSession, *, after: UUID | None, limit: int, keyring: Keyring
) -> tuple[UUID | None, int]:
    """Give the next people, in order of their ids, the marks that they lack because they were kept before there were such.

    Returns:
        The last id that was looked at, None at the end, and how many people were given marks. What is sealed stays as it is.
    """
    connection = await driver(session)
    rows = await connection.fetch(_NEXT, after, limit)
    # Whose marks are not kept at all has no name hash, either.
    lacking = [row["id"] for row in rows if row["lacks"]]
    people = {one: present(identity) for one, identity in (await open_people(session, lacking, keyring)).items()}
    births = [(one, keyring.hash(HashKind.NAME_BIRTH, text)) for one, p in people.items() if (text := p.name_and_birth)]
    marks = [(keyring.hash(kind, text), one) for one, p in people.items() for kind, text in near_marks(p)]
    if births:
        await connection.execute(_GIVE_BIRTH_MARK, *(list(column) for column in zip(*births, strict=True)))
    if marks:
        await connection.execute(_GIVE_DOCUMENT_MARK, *(list(column) for column in zip(*marks, strict=True)))
    given = {one for one, _ in births} | {one for _, one in marks}
    return (rows[-1]["id"] if rows else None), len(given)


async def _insert(
    session: AsyncSession, rows: Mapping[bytes, tuple[str, Presentation]], now: datetime, keyring: Keyring
) -> dict[bytes, UUID]:
    """Insert the rows and return their ids by presentation hash; nothing if somebody else has inserted one meanwhile."""
    ids: dict[bytes, UUID] = {}
    people: list[tuple[object, ...]] = []
    marks: list[tuple[object, ...]] = []
    of_document, of_phone = keyring.hasher(HashKind.DOCUMENT), keyring.hasher(HashKind.PHONE)
    of_name, of_name_birth = keyring.hasher(HashKind.NAME), keyring.hasher(HashKind.NAME_BIRTH)
    key_id = keyring.index_key_id
    for person_id, (presentation_hash, (text, presentation)) in zip(new_ids(len(rows)), rows.items(), strict=True):
        ids[presentation_hash] = person_id
        document, phone, name = presentation.document, presentation.phone, presentation.name
        born = presentation.name_and_birth
        if text.startswith(INVENTED):
            document = phone = name = born = None
        else:
            marks += [(keyring.hash(kind, mark), person_id) for kind, mark in near_marks(presentation)]
        people.append(
            (
                person_id,
                key_id,
                presentation_hash,
                document and of_document(document.comparable),
                phone and of_phone(phone.comparable),
                name and of_name(name.comparable),
                born and of_name_birth(born),
                document and document.comparable.partition(":")[0],
                keyring.seal(text.encode(), table=TABLE, row=person_id, column=SEALED_COLUMN),
                now,
            )
        )
    if not await copy_unless_taken(session, TABLE, _COLUMNS, people):
        return {}
    await copy_in(session, "document_marks", _MARK_COLUMNS, marks)
    return ids
