"""One registration's cost in a small city and in a large one.

The large city is the small one many times over: each copy has other documents, phones and birthdays (its hashes are hashed again, so that
what is equal in one copy stays equal there and nowhere else) and the same names, which a larger city has as well. It is made inside the
database and indexed afterwards. Only people on case lists are sealed anew: whoever matches a registration opens nobody else.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from app.core.clock import SystemClock
from app.core.database import Database
from app.core.sealing import Keyring
from app.matching.service import rematch
from app.people.models import SEALED_COLUMN
from app.people.queries import TABLE

_REHASHED = "substr(sha256({column} || int4send($1)), 1, 16)"
# Copies keep the order of ids, and stand before the originals: the time of an id begins with zeros.
_RENAMED = "(lpad(to_hex($1), 8, '0') || substr({column}::text, 9))::uuid"

_COPIED: Mapping[str, Mapping[str, str]] = {
    "people": {
        "id": _RENAMED,
        "presentation_hash": _REHASHED,
        "document_hash": _REHASHED,
        "phone_hash": _REHASHED,
        "name_birth_hash": _REHASHED,
    },
    "document_marks": {
        "person_id": _RENAMED,
        # Who showed an old number is marked by the name alone.
        "hash": "CASE WHEN EXISTS (SELECT FROM people p WHERE p.id = person_id AND p.name_hash = {column})"
        " THEN {column} ELSE " + _REHASHED + " END",
    },
    "registrations": {
        "id": _RENAMED,
        "buyer_id": _RENAMED,
        "patient_id": _RENAMED,
        "client_reference": "{column} || '-' || $1",
    },
    "cases": {"id": _RENAMED, "person_id": _RENAMED, "case_number": "{column} || '-' || $1"},
}


async def multiply(url: str, times: int, keyring: Keyring) -> None:
    """Make a city so many times as large."""
    connection = await asyncpg.connect(url)
    try:
        for table in _COPIED:
            for row in await connection.fetch(
                "SELECT conname FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'f'", table
            ):
                await connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{row["conname"]}"')
        for table, changed in _COPIED.items():
            await _copy(connection, table, changed, times)
        await _seal_again(connection, times, keyring)
    finally:
        await connection.close()


async def _copy(connection: asyncpg.Connection, table: str, changed: Mapping[str, str], times: int) -> None:
    indexes = await connection.fetch(
        """
        SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition, c.conname,
               pg_get_constraintdef(c.oid) AS constraint
        FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
        WHERE i.indrelid = $1::regclass AND NOT i.indisprimary
        """,
        table,
    )
    for index in indexes:
        if index["conname"] is not None:
            await connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{index["conname"]}"')
        else:
            await connection.execute(f"DROP INDEX {index['name']}")
    columns = [
        row["column_name"]
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", table
        )
    ]
    await connection.execute(f"CREATE TEMPORARY TABLE original AS SELECT * FROM {table}")
    values = ", ".join(changed.get(name, "{column}").format(column=name) for name in columns).replace("$1", "n::int")
    order = columns[0]
    for number in range(1, times):
        await connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values.replace('n::int', f'{number}::int')}"
            f" FROM original ORDER BY {order}"
        )
    await connection.execute("DROP TABLE original")
    await connection.execute("SET maintenance_work_mem = '512MB'")
    for index in indexes:
        if index["conname"] is not None:
            await connection.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{index["conname"]}" {index["constraint"]}')
        else:
            await connection.execute(index["definition"])


async def _seal_again(connection: asyncpg.Connection, times: int, keyring: Keyring) -> None:
    """Let the copies of people on case lists open: a seal is bound to its row."""
    rows = await connection.fetch(
        "SELECT id, sealed FROM people WHERE EXISTS (SELECT FROM cases WHERE person_id = people.id) AND id >= $1",
        UUID(int=0x01 << 120),
    )
    texts = {row["id"]: keyring.open(row["sealed"], table=TABLE, row=row["id"], column=SEALED_COLUMN) for row in rows}
    for number in range(1, times):
        copies = [(UUID(f"{number:08x}{str(one)[8:]}"), text) for one, text in texts.items()]
        await connection.execute(
            "UPDATE people SET sealed = row.sealed FROM unnest($1::uuid[], $2::bytea[]) AS row (id, sealed)"
            " WHERE people.id = row.id",
            [one for one, _ in copies],
            [keyring.seal(text, table=TABLE, row=one, column=SEALED_COLUMN) for one, text in copies],
        )


async def compare(
    small: Database, large: Database, arrived: tuple[Sequence[UUID], Sequence[UUID]], keyring: Keyring, rounds: int = 3
) -> tuple[float, float]:
    """Return the milliseconds that matching one arrived registration takes in the one city and in the other.

    The two take turns, registration by registration, and each counts with the quickest of its rounds: what else the machine
    does meets both alike. Nothing is kept.
    """
    took: tuple[list[float], list[float]] = ([], [])
    for one, other in zip(*arrived, strict=True):
        for times, database, registration_id in zip(took, (small, large), (one, other), strict=True):
            times.append(min([await _once(database, registration_id, keyring) for _ in range(rounds)]))
    return statistics.fmean(took[0]) * 1000, statistics.fmean(took[1]) * 1000


class _Undone(Exception):
    """Ends a transaction without keeping anything."""


async def _once(database: Database, registration_id: UUID, keyring: Keyring) -> float:
    seconds = 0.0
    try:
        async with database.transaction() as session:
            begin = time.perf_counter()
            await rematch(session, registration_ids=[registration_id], now=SystemClock().now(), keyring=keyring)
            seconds = time.perf_counter() - begin
            raise _Undone
    except _Undone:
        return seconds
