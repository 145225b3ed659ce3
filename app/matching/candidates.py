"""Candidates: registrations and cases whose people may be the same, found over keyed hashes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.rules import Classification
from app.core.database import driver
from app.core.sealing import Keyring
from app.matching.neighbours import Neighbours, neighbours_of_listed, neighbours_of_presented
from app.matching.passes import Finding, Marks, city_of, compare, foremost
from app.matching.rules import POLICY, Key, MatchRole

# The rows on both sides are locked against change, not against reading: a reclassification that comes now waits, and its own
# job then sees the matches made here. FOR SHARE reads the newest version of a row that changed in between – and leaves the row out,
# locked, if it was voided or now points to another presentation. Cases are locked in the order in which lists lock them, so
# that the two never wait for each other in a ring.
_COLUMNS = """
SELECT r.id AS registration_id, side.role, r.purchased_at, r.division,
       c.id AS case_id, c.classification, c.onset_on, c.confirmed_at, c.division AS case_division,
       presented.id AS presented_id, listed.id AS listed_id,
       presented.document_hash AS presented_document, presented.document_type AS presented_type,
       presented.phone_hash AS presented_phone, presented.name_hash AS presented_name,
       presented.name_birth_hash AS presented_birth,
       listed.document_hash AS listed_document, listed.document_type AS listed_type,
       listed.phone_hash AS listed_phone, listed.name_hash AS listed_name, listed.name_birth_hash AS listed_birth
"""

# Asked of the newest version of the row, once it is locked.
_STANDS = "r.voided_at IS NULL AND side.person_id = CASE side.role WHEN 'buyer' THEN r.buyer_id ELSE r.patient_id END"

# One look for documents and one for names and birth dates, over an index of keyed hashes; $3 and $4 are the pairs that were found under
# phones and by closer looks. People on case lists are looked for once for each mark, not for each presentation: a till that writes one
# document for a thousand customers must not make a million pairs.
_OF_REGISTRATIONS = f"""
WITH side AS (
    SELECT id AS registration_id, 'buyer' AS role, buyer_id AS person_id FROM registrations WHERE id = ANY($2::uuid[])
    UNION ALL
    SELECT id, 'patient', patient_id FROM registrations WHERE id = ANY($2::uuid[]) AND patient_id IS NOT NULL
), shown AS MATERIALIZED (
    SELECT id, document_hash, name_birth_hash, document_type FROM people WHERE id = ANY($1::uuid[])
), on_lists AS MATERIALIZED (
    SELECT there.id, there.document_hash, there.name_birth_hash, there.document_type
    FROM (SELECT DISTINCT document_hash FROM shown) AS mark
    JOIN people there ON there.document_hash = mark.document_hash
    WHERE EXISTS (SELECT FROM cases WHERE cases.person_id = there.id)
    UNION
    SELECT there.id, there.document_hash, there.name_birth_hash, there.document_type
    FROM (SELECT DISTINCT name_birth_hash FROM shown) AS mark
    JOIN people there ON there.name_birth_hash = mark.name_birth_hash
    WHERE EXISTS (SELECT FROM cases WHERE cases.person_id = there.id)
), same AS (
    SELECT id AS here, id AS there FROM shown
    UNION
    SELECT shown.id, there.id
    FROM shown JOIN on_lists there ON there.document_hash = shown.document_hash
    UNION
    SELECT shown.id, there.id
    FROM shown JOIN on_lists there ON there.name_birth_hash = shown.name_birth_hash
    WHERE there.document_type IS DISTINCT FROM 'resident_id' OR shown.document_type IS DISTINCT FROM 'resident_id'
    UNION
    SELECT * FROM unnest($3::uuid[], $4::uuid[])
)
{_COLUMNS}
FROM side
JOIN registrations r ON r.id = side.registration_id AND NOT r.sandbox
JOIN same ON same.here = side.person_id
JOIN cases c ON c.person_id = same.there
JOIN people presented ON presented.id = side.person_id
JOIN people listed ON listed.id = c.person_id
WHERE {_STANDS}
ORDER BY c.authority, c.case_number, r.id FOR SHARE OF r, c
"""

# A list has a hundred thousand cases, and most of what is looked for is not there. Each look is one scan of an index with all keys at once,
# sorted: a quarter of what as many single looks cost. What is found is joined in memory. The window is asked of the snapshot, to leave out
# half of what is found; whoever changes a day afterwards enqueues a job, and `rules.in_window` asks again of the rows as locked.
_OF_CASES = f"""
WITH wanted AS MATERIALIZED (
    SELECT id, person_id, coalesce(onset_on, (confirmed_at AT TIME ZONE INTERVAL '8 hours')::date) AS anchor
    FROM cases WHERE id = ANY($2::uuid[])
), here AS MATERIALIZED (
    SELECT id, document_hash, document_type, phone_hash, name_hash, name_birth_hash FROM people WHERE id = ANY($1::uuid[])
), documents AS MATERIALIZED (
    SELECT id, document_hash FROM people WHERE document_hash = ANY(ARRAY(SELECT document_hash FROM here))
), births AS MATERIALIZED (
    SELECT id, name_birth_hash FROM people
    WHERE name_birth_hash = ANY(ARRAY(SELECT name_birth_hash FROM here WHERE document_type = 'resident_id'))
      AND document_type IS DISTINCT FROM 'resident_id'
    UNION
    SELECT id, name_birth_hash FROM people
    WHERE name_birth_hash = ANY(ARRAY(SELECT name_birth_hash FROM here WHERE document_type IS DISTINCT FROM 'resident_id'))
), same AS MATERIALIZED (
    SELECT id AS here, id AS there FROM here
    UNION ALL (
        SELECT here.id, there.id
        FROM here JOIN documents there ON there.document_hash = here.document_hash AND there.id <> here.id
        UNION
        SELECT here.id, there.id
        FROM here JOIN births there ON there.name_birth_hash = here.name_birth_hash AND there.id <> here.id
        UNION
        SELECT * FROM unnest($3::uuid[], $4::uuid[])
    )
), bought AS MATERIALIZED (
    SELECT id, 'buyer' AS role, buyer_id AS person_id, (purchased_at AT TIME ZONE INTERVAL '8 hours')::date AS day
    FROM registrations WHERE buyer_id = ANY(ARRAY(SELECT there FROM same)) AND NOT sandbox
    UNION ALL
    SELECT id, 'patient', patient_id, (purchased_at AT TIME ZONE INTERVAL '8 hours')::date
    FROM registrations WHERE patient_id = ANY(ARRAY(SELECT there FROM same)) AND NOT sandbox
), side AS MATERIALIZED (
    SELECT bought.id AS registration_id, bought.role, bought.person_id, wanted.id AS case_id, same.here
    FROM bought JOIN same ON same.there = bought.person_id JOIN wanted ON wanted.person_id = same.here
    WHERE wanted.anchor IS NULL
       OR bought.day - wanted.anchor BETWEEN -{POLICY.lookback_days} AND {POLICY.after_days}
)
{_COLUMNS}
FROM side
JOIN registrations r ON r.id = side.registration_id AND r.id = ANY(ARRAY(SELECT registration_id FROM side))
JOIN cases c ON c.id = side.case_id AND c.id = ANY(ARRAY(SELECT case_id FROM side))
JOIN people presented ON presented.id = side.person_id AND presented.id = ANY(ARRAY(SELECT person_id FROM side))
JOIN here listed ON listed.id = side.here
WHERE c.person_id = side.here AND {_STANDS}
ORDER BY c.authority, c.case_number, r.id FOR SHARE OF r, c
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A registration and a case whose people may be the same, and what the passes say of these two."""

    registration_id: UUID
    role: MatchRole
    purchased_at: datetime
    division: str
    case_id: UUID
    classification: Classification
    onset_on: date | None
    confirmed_at: datetime | None
    presented: Marks
    listed: Marks
    finding: Finding | None

    @property
    def key(self) -> Key:
        """What names the match."""
        return self.registration_id, self.case_id, self.role


_PLANNED = """
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL random_page_cost = 1.1;
SET LOCAL work_mem = '32MB'
"""


_IN_MEMORY = "SET LOCAL enable_nestloop = {}"


async def _planned_anew(session: AsyncSession) -> Any:
    """Return the driver, which plans each statement of this transaction for the tables as they are now.

    A worker's connection lives for days. A plan that it made while the tables were nearly empty reads them from end to end, and
    would be kept until statistics are gathered: a minute of seconds for each batch, on the very day of the first outbreak.

    A look into an index costs little more than the next row: the indexes are in memory, or on a disk without a head. By
    the server's own reckoning, which is that of turning disks, ten thousand looks cost more than reading a million people from end to
    end, once for each pass.
    """
    connection = await driver(session)
    await connection.execute(_PLANNED)
    return connection


async def candidates_of_registrations(
    session: AsyncSession, ids: Collection[UUID], keyring: Keyring
) -> list[Candidate]:
    """Return every case that may concern a buyer or patient of these registrations."""
    connection = await _planned_anew(session)
    rows = await connection.fetch(
        "SELECT buyer_id AS id FROM registrations WHERE id = ANY($1::uuid[])"
        " UNION SELECT patient_id FROM registrations WHERE id = ANY($1::uuid[]) AND patient_id IS NOT NULL",
        list(ids),
    )
    people = [row["id"] for row in rows]
    near = await neighbours_of_presented(session, people, keyring)
    pairs = [presented for presented, _ in near], [listed for _, listed in near]
    return [_candidate(row, near) for row in await connection.fetch(_OF_REGISTRATIONS, people, list(ids), *pairs)]


async def candidates_of_cases(session: AsyncSession, ids: Collection[UUID], keyring: Keyring) -> list[Candidate]:
    """Return every registration whose buyer or patient may be one of these cases."""
    connection = await _planned_anew(session)
    people = await connection.fetchval(
        "SELECT ARRAY(SELECT DISTINCT person_id FROM cases WHERE id = ANY($1::uuid[]))", list(ids)
    )
    near = await neighbours_of_listed(session, people, keyring)
    pairs = [listed for _, listed in near], [presented for presented, _ in near]
    # How many keys such a look has the planner does not know: it expects ten, and would go through what ten thousand have found again
    # for each of ten thousand others.
    await connection.execute(_IN_MEMORY.format("off"))
    rows = await connection.fetch(_OF_CASES, people, list(ids), *pairs)
    await connection.execute(_IN_MEMORY.format("on"))
    return [_candidate(row, near) for row in rows]


def _candidate(row: Any, neighbours: Neighbours) -> Candidate:
    presented = Marks(
        row["presented_document"],
        row["presented_type"],
        row["presented_phone"],
        row["presented_name"],
        row["presented_birth"],
    )
    listed = Marks(
        row["listed_document"], row["listed_type"], row["listed_phone"], row["listed_name"], row["listed_birth"]
    )
    city = city_of(row["division"])
    by_hashes = compare(presented, listed, same_city=city is not None and city == city_of(row["case_division"]))
    return Candidate(
        row["registration_id"],
        MatchRole(row["role"]),
        row["purchased_at"],
        row["division"],
        row["case_id"],
        Classification(row["classification"]),
        row["onset_on"],
        row["confirmed_at"],
        presented,
        listed,
        foremost((by_hashes, neighbours.get((row["presented_id"], row["listed_id"])))),
    )
