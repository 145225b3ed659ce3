"""Rows that are there before: a database of so many registrations, made by a few statements instead of by sending them.

What is filled in has the shape and the sizes of what the service writes – random hashes, sealed bytes, ids in order of time – but opens
under no key and verifies in no chain. The oldest and the newest row are real ones, by which a process knows its keyring.
"""

import asyncpg

from app.auth.queries import find_actors, token_hash
from app.core.clock import SystemClock
from app.core.database import Database
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.registrations.drafts import Submission
from app.registrations.intake import Intake
from app.registrations.schemas import RegistrationIn
from benchmarks.setting import KEYS, City, purchases

TABLES = ("people", "registrations", "registration_items", "receipt_links")

# All indexes but those of primary keys, and all foreign keys: filled without them, they are built at the end.
_TAKE_AWAY = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS make
FROM pg_constraint WHERE conrelid = ANY($1::text[]::regclass[]) AND contype IN ('f', 'u')
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = ANY($1::text[]::regclass[])
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
"""
_FILL = (
    # An id of version 7 whose random bits count up, under a moment between the two real rows.
    """
    CREATE TEMPORARY TABLE filling AS
    SELECT n, ($2 || '7' || substr(tail, 1, 3) || 'a' || substr(tail, 4))::uuid AS id,
           shops.ids[1 + n % shops.count] AS pharmacy_id, 1 + n / shops.count AS number
    FROM generate_series(0, $1::bigint - 1) AS n, lpad(to_hex(n), 18, '0') AS tail,
         (SELECT array_agg(id ORDER BY id DESC) AS ids, count(*) FROM pharmacies) AS shops
    """,
    """
    INSERT INTO people (
        id, key_id, presentation_hash, document_hash, phone_hash, name_hash, name_birth_hash, document_type, sealed,
        created_at
    )
    SELECT id, 1, decode(md5('presentation' || n), 'hex'), decode(md5('document' || n), 'hex'),
           decode(md5('phone' || n), 'hex'), decode(md5('name' || n % 8000), 'hex'), decode(md5('birth' || n), 'hex'), 'resident_id',
           decode(md5('1' || n) || md5('2' || n) || md5('3' || n) || md5('4' || n) || md5('5' || n), 'hex'),
           now() - make_interval(secs => n)
    FROM filling ORDER BY n
    """,
    """
    INSERT INTO registrations (
        id, pharmacy_id, client_reference, content_digest, revision, division, regime, buyer_id, purchased_at, received_at,
        temperature_c, symptoms, flags
    )
    SELECT f.id, pharmacy_id, 'OLD-' || lpad(n::text, 9, '0'), decode(md5('content' || n), 'hex'), 1, p.division, 'register',
           f.id, now() - make_interval(secs => n), now() - make_interval(secs => n), 36.5, '{}', '{}'
    FROM filling f JOIN pharmacies p ON p.id = pharmacy_id ORDER BY n
    """,
    """
    INSERT INTO registration_items (registration_id, line, drug_id, resolved_by, quantity)
    SELECT f.id, 0, drugs.ids[1 + n % drugs.count], 'name', 1
    FROM filling f, (SELECT array_agg(id) AS ids, count(*) FROM listed_drugs) AS drugs ORDER BY n
    """,
    """
    INSERT INTO receipt_links (
        pharmacy_id, number, kind, registration_id, client_reference, revision, received_at, commitment, hash, key_id, salt_seed
    )
    SELECT pharmacy_id, coalesce(head.number, 0) + f.number, 'recorded', f.id, 'OLD-' || lpad(n::text, 9, '0'), 1,
           now() - make_interval(secs => n), decode(md5('c' || n) || md5('d' || n), 'hex'),
           decode(md5('h' || n) || md5('i' || n), 'hex'), 1, decode(md5('s' || n), 'hex')
    FROM filling f LEFT JOIN receipt_heads head USING (pharmacy_id) ORDER BY n
    """,
    """
    INSERT INTO receipt_heads (pharmacy_id, number, hash)
    SELECT DISTINCT ON (pharmacy_id) pharmacy_id, number, hash FROM receipt_links ORDER BY pharmacy_id, number DESC
    ON CONFLICT (pharmacy_id) DO UPDATE SET number = excluded.number, hash = excluded.hash
    """,
)


async def fill(place: City, name: str, count: int) -> City:
    """Return a city in a database of its own in which so many registrations are there before."""
    filled = City(await place.copy(name), place.tills)
    await _record(filled, 0)
    moment = new_id().hex[:12]
    connection = await asyncpg.connect(filled.url, server_settings={"maintenance_work_mem": "256MB"})
    try:
        taken = await connection.fetch(_TAKE_AWAY, list(TABLES))
        for one in sorted(taken, key=lambda one: "FOREIGN" not in one["make"]):
            await connection.execute(one["drop"])
        create, *others = _FILL
        await connection.execute(create.replace("$1", str(count)).replace("$2", f"'{moment}'"))
        for statement in others:
            await connection.execute(statement)
        for one in sorted(taken, key=lambda one: "FOREIGN" in one["make"]):
            await connection.execute(one["make"])
        await connection.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")
    finally:
        await connection.close()
    await _record(filled, 1)
    return filled


async def _record(place: City, number: int) -> None:
    """Record a real purchase."""
    database, clock = Database(place.url), SystemClock()
    async with database.transaction() as session:
        [actor] = (await find_actors(session, [token_hash(place.tills[0])], now=clock.now())).values()
    [body] = purchases(1, first=800_000_000 + number)
    await Intake(database, clock, Keyring.parse(KEYS)).record(
        Submission(actor, RegistrationIn.model_validate_json(body))
    )
    await database.dispose()
