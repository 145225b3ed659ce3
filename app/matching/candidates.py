"""Candidates: registrations and cases whose people may be the same, found over keyed hashes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.rules import Classification
from app.core.database import driver
from app.matching.rules import Key, Marks, MatchRole

# The rows on both sides are locked against change, not against reading: a reclassification that comes now waits, and its own
# job then sees the matches made here. FOR SHARE reads the newest version of a row that changed in between – and leaves the row out,
# locked, if it was voided or now points to another presentation. Cases are locked in the order in which lists lock them, so
# that the two never wait for each other in a ring.
_COLUMNS = """
SELECT r.id AS registration_id, side.role, r.purchased_at, r.division,
       c.id AS case_id, c.classification, c.onset_on, c.confirmed_at,
       presented.document_hash AS presented_document, presented.document_type AS presented_type,
       presented.phone_hash AS presented_phone, presented.name_hash AS presented_name,
       listed.document_hash AS listed_document, listed.document_type AS listed_type,
       listed.phone_hash AS listed_phone, listed.name_hash AS listed_name
"""

# Asked of the newest version of the row, once it is locked.
_STANDS = "r.voided_at IS NULL AND side.person_id = CASE side.role WHEN 'buyer' THEN r.buyer_id ELSE r.patient_id END"

# One pass for each rule, over an index of keyed hashes. People on case lists are looked for once for each mark, not for each
# presentation: a till that writes one name and phone for a thousand customers must not make a million pairs.
_OF_REGISTRATIONS = f"""
WITH side AS (
    SELECT id AS registration_id, 'buyer' AS role, buyer_id AS person_id FROM registrations WHERE id = ANY($2::uuid[])
    UNION ALL
    SELECT id, 'patient', patient_id FROM registrations WHERE id = ANY($2::uuid[]) AND patient_id IS NOT NULL
), shown AS MATERIALIZED (
    SELECT id, document_hash, phone_hash, name_hash FROM people WHERE id = ANY($1::uuid[])
), on_lists AS MATERIALIZED (
    SELECT there.id, there.document_hash, there.phone_hash, there.name_hash
    FROM (SELECT DISTINCT document_hash FROM shown) AS mark
    JOIN people there ON there.document_hash = mark.document_hash
    WHERE EXISTS (SELECT FROM cases WHERE cases.person_id = there.id)
    UNION
    SELECT there.id, there.document_hash, there.phone_hash, there.name_hash
    FROM (SELECT DISTINCT phone_hash, name_hash FROM shown) AS mark
    JOIN people there ON there.phone_hash = mark.phone_hash AND there.name_hash = mark.name_hash
    WHERE EXISTS (SELECT FROM cases WHERE cases.person_id = there.id)
), same AS (
    SELECT shown.id AS here, there.id AS there
    FROM shown JOIN on_lists there ON there.document_hash = shown.document_hash
    UNION
    SELECT shown.id, there.id
    FROM shown JOIN on_lists there ON there.phone_hash = shown.phone_hash AND there.name_hash = shown.name_hash
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

_OF_CASES = f"""
WITH same AS (
    SELECT here.id AS here, there.id AS there
    FROM people here JOIN people there ON there.document_hash = here.document_hash
    WHERE here.id = ANY($1::uuid[])
    UNION
    SELECT here.id, there.id
    FROM people here JOIN people there ON there.phone_hash = here.phone_hash AND there.name_hash = here.name_hash
    WHERE here.id = ANY($1::uuid[])
), side AS (
    SELECT r.id AS registration_id, 'buyer' AS role, same.here, r.buyer_id AS person_id
    FROM same JOIN registrations r ON r.buyer_id = same.there
    UNION ALL
    SELECT r.id, 'patient', same.here, r.patient_id
    FROM same JOIN registrations r ON r.patient_id = same.there
)
{_COLUMNS}
FROM cases c
JOIN side ON side.here = c.person_id
JOIN registrations r ON r.id = side.registration_id AND NOT r.sandbox
JOIN people presented ON presented.id = side.person_id
JOIN people listed ON listed.id = c.person_id
WHERE c.id = ANY($2::uuid[]) AND {_STANDS}
ORDER BY c.authority, c.case_number, r.id FOR SHARE OF r, c
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A registration and a case whose people may be the same."""

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

    @property
    def key(self) -> Key:
        """What names the match."""
        return self.registration_id, self.case_id, self.role


async def _planned_anew(session: AsyncSession) -> Any:
    """Return the driver, which plans each statement of this transaction for the tables as they are now.

    A worker's connection lives for days. A plan that it made while the tables were nearly empty reads them from end to end, and
    would be kept until statistics are gathered: a minute of seconds for each batch, on the very day of the first outbreak.
    """
    connection = await driver(session)
    await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    return connection


async def candidates_of_registrations(session: AsyncSession, ids: Collection[UUID]) -> list[Candidate]:
    """Return every case that may concern a buyer or patient of these registrations."""
    connection = await _planned_anew(session)
    people = await connection.fetch(
        "SELECT buyer_id AS id FROM registrations WHERE id = ANY($1::uuid[])"
        " UNION SELECT patient_id FROM registrations WHERE id = ANY($1::uuid[]) AND patient_id IS NOT NULL",
        list(ids),
    )
    rows = await connection.fetch(_OF_REGISTRATIONS, [row["id"] for row in people], list(ids))
    return [_candidate(row) for row in rows]


async def candidates_of_cases(session: AsyncSession, ids: Collection[UUID]) -> list[Candidate]:
    """Return every registration whose buyer or patient may be one of these cases."""
    connection = await _planned_anew(session)
    people = await connection.fetch("SELECT DISTINCT person_id AS id FROM cases WHERE id = ANY($1::uuid[])", list(ids))
    rows = await connection.fetch(_OF_CASES, [row["id"] for row in people], list(ids))
    return [_candidate(row) for row in rows]


def _candidate(row: Any) -> Candidate:
    return Candidate(
        row["registration_id"],
        MatchRole(row["role"]),
        row["purchased_at"],
        row["division"],
        row["case_id"],
        Classification(row["classification"]),
        row["onset_on"],
        row["confirmed_at"],
        Marks(row["presented_document"], row["presented_type"], row["presented_phone"], row["presented_name"]),
        Marks(row["listed_document"], row["listed_type"], row["listed_phone"], row["listed_name"]),
    )
