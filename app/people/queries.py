"""Finding people without knowing who they are, and opening what is sealed.

Every look-up hashes under all keys of the keyring, so that rows from before a key rotation are found. Statements are
set-based and go through the driver: they stand on the path of every registration.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.sealing import HashKind, Keyring
from app.people.documents import Document
from app.people.models import SEALED_COLUMN, Person
from app.people.names import Name
from app.people.phones import Phone
from app.people.rules import Identity, decode

TABLE = Person.__tablename__


@dataclass(frozen=True, slots=True)
class Marks:
    """The keyed hashes by which a presentation compares to others, under every key in the order of `keyring.key_ids`.

    Empty where nothing was presented, so that missing never equals missing. Two presentations agree where they have a
    hash in common. Without a rotation each tuple has one member at most, the one in the table.
    """

    id: UUID
    documents: tuple[bytes, ...]
    phones: tuple[bytes, ...]
    names: tuple[bytes, ...]

    @property
    def phone_names(self) -> tuple[tuple[bytes, bytes], ...]:
        """The pairs of phone and name, each under one key; empty unless both were presented."""
        return tuple(zip(self.phones, self.names, strict=False))


@dataclass(frozen=True, slots=True)
class Buyer:
    """A person across presentations; `id` is that of the earliest, `presentations` are all of them in time order."""

    id: UUID
    presentations: tuple[UUID, ...]


async def find_presentations(session: AsyncSession, hashes: Collection[bytes]) -> dict[bytes, UUID]:
    """Return the ids of the presentations that exist, by presentation hash."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT presentation_hash, id FROM people WHERE presentation_hash = ANY($1::bytea[])", list(hashes)
    )
    return {row["presentation_hash"]: row["id"] for row in rows}


async def find_people_by_document(session: AsyncSession, document: Document, keyring: Keyring) -> list[UUID]:
    """Return the presentations that bear this document, the earliest first."""
    return await _find(session, "document_hash", keyring.hashes(HashKind.DOCUMENT, document.comparable))


async def find_people_by_phone(session: AsyncSession, phone: Phone, keyring: Keyring) -> list[UUID]:
    """Return the presentations that bear this phone, the earliest first; a family may share it."""
    return await _find(session, "phone_hash", keyring.hashes(HashKind.PHONE, phone.comparable))


async def find_people_by_name(session: AsyncSession, name: Name, keyring: Keyring) -> list[UUID]:
    """Return the presentations that bear this name, the earliest first. Usually of several people."""
    return await _find(session, "name_hash", keyring.hashes(HashKind.NAME, name.comparable))


async def _find(session: AsyncSession, column: str, hashes: list[bytes]) -> list[UUID]:
    connection = await driver(session)
    rows = await connection.fetch(
        f"SELECT id FROM people WHERE {column} = ANY($1::bytea[]) ORDER BY created_at, id", hashes
    )
    return [row["id"] for row in rows]


async def marks_of(session: AsyncSession, ids: Collection[UUID], keyring: Keyring) -> dict[UUID, Marks]:
    """Return the marks of these presentations; ids that do not exist are left out.

    Rows are opened only where the keyring holds other keys than the row's, to hash under those as well.

    Raises:
        KeyUnknown, SealBroken: a row cannot be opened.
    """
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT id, key_id, document_hash, phone_hash, name_hash, sealed FROM people WHERE id = ANY($1::uuid[])",
        list(ids),
    )
    marks: dict[UUID, Marks] = {}
    for row in rows:
        if keyring.key_ids == (row["key_id"],):
            marks[row["id"]] = Marks(
                row["id"], _present(row["document_hash"]), _present(row["phone_hash"]), _present(row["name_hash"])
            )
            continue
        identity = _open(keyring, row["id"], row["sealed"])
        marks[row["id"]] = Marks(
            row["id"],
            _under_all(keyring, HashKind.DOCUMENT, identity.document_comparable),
            _under_all(keyring, HashKind.PHONE, identity.phone),
            _under_all(keyring, HashKind.NAME, identity.name_comparable),
        )
    return marks


async def buyers_of(session: AsyncSession, ids: Collection[UUID], keyring: Keyring) -> dict[UUID, Buyer]:
    """Return, for each of these presentations, the buyer to whom it belongs; ids that do not exist are left out.

    Presentations belong together that bear the same document; of those without a document, the ones with the same phone
    and the same name. One with neither is a buyer of its own.
    """
    marks = await marks_of(session, ids, keyring)
    group_by_document: dict[bytes, object] = {}
    group_by_phone_name: dict[tuple[bytes, bytes], object] = {}
    for mark in marks.values():
        for document in mark.documents:
            group_by_document[document] = mark.documents[0]
        if not mark.documents:
            for pair in mark.phone_names:
                group_by_phone_name[pair] = mark.phone_names[0]

    connection = await driver(session)
    rows = await connection.fetch(
        """
        SELECT id, document_hash, phone_hash, name_hash, created_at
        FROM people WHERE document_hash = ANY($1::bytea[])
        UNION ALL
        SELECT p.id, p.document_hash, p.phone_hash, p.name_hash, p.created_at
        FROM unnest($2::bytea[], $3::bytea[]) AS pair(phone_hash, name_hash)
        JOIN people p ON p.phone_hash = pair.phone_hash AND p.name_hash = pair.name_hash
        WHERE p.document_hash IS NULL
        """,
        list(group_by_document),
        [phone for phone, _ in group_by_phone_name],
        [name for _, name in group_by_phone_name],
    )
    members: defaultdict[object, list[UUID]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["created_at"], row["id"])):
        if row["document_hash"] is not None:
            members[group_by_document[row["document_hash"]]].append(row["id"])
        else:
            members[group_by_phone_name[row["phone_hash"], row["name_hash"]]].append(row["id"])

    buyers: dict[UUID, Buyer] = {}
    for mark in marks.values():
        group = mark.documents[0] if mark.documents else mark.phone_names[0] if mark.phone_names else None
        presentations = tuple(members[group]) if group is not None else (mark.id,)
        buyers[mark.id] = Buyer(presentations[0], presentations)
    return buyers


async def open_people(session: AsyncSession, ids: Collection[UUID], keyring: Keyring) -> dict[UUID, Identity]:
    """Return these presentations in plain text; ids that do not exist are left out.

    Whoever calls this shows an identity to somebody or sends it somewhere, and writes down to whom and why.

    Raises:
        KeyUnknown, SealBroken: a row cannot be opened.
    """
    connection = await driver(session)
    rows = await connection.fetch("SELECT id, sealed FROM people WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: _open(keyring, row["id"], row["sealed"]) for row in rows}


def _open(keyring: Keyring, person_id: UUID, sealed: bytes) -> Identity:
    return decode(keyring.open(sealed, table=TABLE, row=person_id, column=SEALED_COLUMN).decode())


def _present(value: bytes | None) -> tuple[bytes, ...]:
    return () if value is None else (value,)


def _under_all(keyring: Keyring, kind: HashKind, value: str | None) -> tuple[bytes, ...]:
    return () if value is None else tuple(keyring.hashes(kind, value))
