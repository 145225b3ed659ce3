"""How the candidates are found: by the keyed indexes, so that one registration's cost does not grow with the tables."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database, driver
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.matching import candidates, neighbours, queries
from app.matching.passes import Finding, look_closer
from app.matching.service import rematch
from app.people.rules import Identity, present
from app.people.service import ensure_people
from tests.conftest import MOMENT
from tests.factories.world import build_world

PEOPLE = 50_000
CASES = 5_000

_PEOPLE = """
INSERT INTO people (id, key_id, presentation_hash, document_hash, phone_hash, name_hash, name_birth_hash, document_type,
                    sealed, created_at)
SELECT gen_random_uuid(), 1, decode(md5('p' || n), 'hex'), decode(md5('d' || n % 40000), 'hex'),
       decode(md5('t' || n % 20000), 'hex'), decode(md5('n' || n % 300), 'hex'), decode(md5('b' || n % 39000), 'hex'),
       CASE WHEN n % 20 = 0 THEN 'passport' ELSE 'resident_id' END, '\\x00', now()
FROM generate_series(1, $1::int) AS n
"""
_MARKS = """
INSERT INTO document_marks (hash, person_id)
SELECT decode(md5(document_hash::text || part), 'hex'), id FROM people, generate_series(1, 3) AS part
WHERE document_type = 'passport'
"""
_REGISTRATIONS = """
INSERT INTO registrations (id, pharmacy_id, client_reference, content_digest, revision, division, regime, buyer_id,
                           patient_id, purchased_at, received_at, symptoms, flags)
SELECT gen_random_uuid(), $1, 'SYN-' || number, '\\x00', 1, '440304005', 'register', id,
       CASE WHEN number % 10 = 0 THEN id END, now(), now(), '{}', '{}'
FROM (SELECT id, row_number() OVER () AS number FROM people) AS buyers
"""
_CASES = """
INSERT INTO cases (id, authority, case_number, disease, person_id, classification, division, received_at, updated_at)
SELECT gen_random_uuid(), 'SYN', 'SYN-' || number, 'covid-19', id, 'suspected', '440304005', now(), now()
FROM (SELECT id, row_number() OVER () AS number FROM people ORDER BY random() LIMIT $1::int) AS sick
"""

_MATCHES = """
INSERT INTO matches (id, registration_id, case_id, role, strength, status, turn, evidence, rule, division, created_at,
                     changed_at)
SELECT gen_random_uuid(), r.id, c.id, 'buyer', 'certain', 'counted', 1, '{}', 'synthetic', '440304005', now(), now()
FROM cases c JOIN registrations r ON r.buyer_id = c.person_id
"""

_CARELESS = """
INSERT INTO people (id, key_id, presentation_hash, document_hash, phone_hash, name_hash, document_type, sealed, created_at)
SELECT gen_random_uuid(), 1, decode(md5('cp' || n), 'hex'), decode(md5('cd' || n), 'hex'), 'phone', 'name',
       'resident_id', '\\x00', now()
FROM generate_series(1, 2000) AS n
RETURNING id
"""


@pytest.fixture
async def crowd(database: Database) -> Database:
    """A database with as many rows as make a scan dearer than a look into an index."""
    world = await build_world(database)
    async with database.transaction() as session:
        connection = await driver(session)
        await connection.execute(_PEOPLE, PEOPLE)
        await connection.execute(_MARKS)
        await connection.execute(_REGISTRATIONS, world.pharmacies[0])
        await connection.execute(_CASES, CASES)
        await connection.execute(_MATCHES)
        for table in ("people", "document_marks", "registrations", "cases", "matches"):
            await connection.execute(f"ANALYZE {table}")
    return database


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def explain(session: AsyncSession, query: str, *arguments: Any) -> dict[str, Any]:
    connection = await driver(session)
    rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}", *arguments)
    answer = rows[0][0]
    plan: dict[str, Any] = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    return plan


def scanned(plan: dict[str, Any]) -> set[str]:
    return {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}


def blocks(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def some(session: AsyncSession, table: str, column: str, count: int) -> tuple[list[UUID], list[UUID]]:
    connection = await driver(session)
    rows = await connection.fetch(f"SELECT id, {column} FROM {table} ORDER BY id LIMIT $1", count)
    return [row[1] for row in rows], [row[0] for row in rows]


SIDES = (
    (candidates._OF_REGISTRATIONS, "registrations", "buyer_id"),
    (candidates._OF_CASES, "cases", "person_id"),
)


async def test_candidates_and_matches_are_found_by_indexes(crowd: Database) -> None:
    async with crowd.transaction() as session:
        connection = await driver(session)
        for query, table, column in SIDES:
            people, ids = await some(session, table, column, 1)
            plan = await explain(session, query, people, ids, [], [])
            assert scanned(plan) == set()
            assert blocks(plan) < 100
        for sides in ((ids, []), ([], ids), (ids, ids)):
            assert scanned(await explain(session, queries._STORED, *sides)) == set()

        # The driver keeps statements prepared; after a few runs the server plans without looking at the arrays.
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        for query, table, column in SIDES:
            await connection.execute(f"PREPARE generic_{table} (uuid[], uuid[], uuid[], uuid[]) AS {query}")
            people, ids = await some(session, table, column, 1)
            arrays = ", ".join("ARRAY[" + ", ".join(f"'{one}'::uuid" for one in many) + "]" for many in (people, ids))
            plan = await explain(session, f"EXECUTE generic_{table} ({arrays}, '{{}}', '{{}}')")
            assert scanned(plan) == set()
            assert blocks(plan) < 100


async def test_neighbours_are_found_by_indexes(crowd: Database) -> None:
    async with crowd.transaction() as session:
        connection = await driver(session)
        for kind in ("passport", "resident_id"):
            rows = await connection.fetch("SELECT id FROM people WHERE document_type = $1 ORDER BY id LIMIT 2", kind)
            people = [row["id"] for row in rows]
            for only in (neighbours._ON_A_LIST, "true"):
                plan = await explain(session, neighbours._NEIGHBOURS.format(only=only), people)
                assert scanned(plan) == set()
                assert blocks(plan) < 500


async def test_a_till_that_writes_one_phone_for_all_is_looked_at_once_for_each_name(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of hundreds who are listed under that phone and hundreds who bought, only those are compared whose names are alike."""
    looks: list[tuple[Identity, Identity]] = []

    def look(one: Identity, other: Identity) -> Finding | None:
        looks.append((one, other))
        return look_closer(one, other)

    monkeypatch.setattr(neighbours, "look_closer", look)
    given = [f"{chr(0x4E00 + n)}{chr(0x5E00 + n)}" for n in range(400)]
    bought = [Identity(name=f"王{name}", phone="+8613800138000") for name in given]
    listed = [Identity(name=f"李{name}", phone="+8613800138000") for name in given]
    listed.append(Identity(name="汪" + given[0], phone="+8613800138000"))
    async with database.transaction() as session:
        people = [present(identity) for identity in (*bought, *listed)]
        ids = await ensure_people(session, people, now=MOMENT, keyring=keyring)
        found = await neighbours.neighbours_of_listed(session, ids[len(bought) :], keyring)
    assert (ids[0], ids[-1]) in found
    # Everybody is on the other side, too, and 王 and 汪 sound alike, as do a few of these given names; the square is 640,000.
    assert len(looks) < 2_000


async def test_a_till_that_writes_one_name_and_phone_for_all_makes_no_square(crowd: Database) -> None:
    """Each of its customers shares them with all the others; none of them is on a list."""
    async with crowd.transaction() as session:
        connection = await driver(session)
        people = [row["id"] for row in await connection.fetch(_CARELESS)]
        ids = [
            row["id"]
            for row in await connection.fetch(
                "UPDATE registrations SET buyer_id = wanted.id FROM (SELECT r.id AS old, p.id FROM"
                " (SELECT id, row_number() OVER () AS n FROM registrations WHERE patient_id IS NULL LIMIT 2000) r"
                " JOIN (SELECT id, ordinality AS n FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id)) p USING (n))"
                " AS wanted WHERE registrations.id = wanted.old RETURNING registrations.id",
                people,
            )
        ]
        assert len(ids) == 2000
        plan = await explain(session, candidates._OF_REGISTRATIONS, people, ids, [], [])
        assert plan["Actual Rows"] == 0
        most = max(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan))
        assert most < 200_000  # the square is 4,000,000


class TestAWorkersConnection:
    @pytest.mark.parametrize("side", ["registration_ids", "case_ids"])
    async def test_plans_the_look_ups_for_the_tables_as_they_are_now(
        self, session: AsyncSession, side: str, keyring: Keyring
    ) -> None:
        await rematch(session, now=MOMENT, keyring=keyring, **{side: [new_id()]})
        assert await session.scalar(text("SHOW plan_cache_mode")) == "force_custom_plan"
