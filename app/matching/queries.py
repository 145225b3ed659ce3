"""Candidates for matches, and matches as stored."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.models import Case
from app.cases.rules import Classification
from app.core.database import driver
from app.core.errors import NotFound
from app.matching.models import Match
from app.matching.rules import Marks, MatchRole, MatchStatus, Strength
from app.matching.schemas import MatchFilter, MatchOut
from app.registrations.models import Registration

Key = tuple[UUID, UUID, MatchRole]
"""Registration, case and role."""

# People who may be the same: one pass for each rule, each over an index of keyed hashes.
_SAME_PEOPLE = """
    SELECT here.id AS here, there.id AS there
    FROM people here JOIN people there ON there.document_hash = here.document_hash
    WHERE here.id = ANY($1::uuid[])
    UNION
    SELECT here.id, there.id
    FROM people here JOIN people there ON there.phone_hash = here.phone_hash AND there.name_hash = here.name_hash
    WHERE here.id = ANY($1::uuid[])
"""

# The rows on both sides are locked against change, not against reading: a reclassification that comes now waits, and its own
# job then sees the matches made here. FOR SHARE reads the newest version of a row that changed in between – and leaves the row out,
# locked, if it now points to another presentation. Cases are locked in the order in which lists lock them, so that the two never
# wait for each other in a ring.
_COLUMNS = """
SELECT r.id AS registration_id, side.role, r.purchased_at, r.division,
       c.id AS case_id, c.classification, c.onset_on, c.confirmed_at,
       presented.document_hash AS presented_document, presented.document_type AS presented_type,
       presented.phone_hash AS presented_phone, presented.name_hash AS presented_name,
       listed.document_hash AS listed_document, listed.document_type AS listed_type,
       listed.phone_hash AS listed_phone, listed.name_hash AS listed_name
"""

_OF_REGISTRATIONS = f"""
WITH side AS (
    SELECT id AS registration_id, 'buyer' AS role, buyer_id AS person_id FROM registrations WHERE id = ANY($2::uuid[])
    UNION ALL
    SELECT id, 'patient', patient_id FROM registrations WHERE id = ANY($2::uuid[]) AND patient_id IS NOT NULL
), same AS ({_SAME_PEOPLE})
{_COLUMNS}
FROM side
JOIN registrations r ON r.id = side.registration_id
JOIN same ON same.here = side.person_id
JOIN cases c ON c.person_id = same.there
JOIN people presented ON presented.id = side.person_id
JOIN people listed ON listed.id = c.person_id
ORDER BY c.authority, c.case_number, r.id FOR SHARE OF r, c
"""

_OF_CASES = f"""
WITH same AS ({_SAME_PEOPLE}), side AS (
    SELECT r.id AS registration_id, 'buyer' AS role, same.here, r.buyer_id AS person_id
    FROM same JOIN registrations r ON r.buyer_id = same.there
    UNION ALL
    SELECT r.id, 'patient', same.here, r.patient_id
    FROM same JOIN registrations r ON r.patient_id = same.there
)
{_COLUMNS}
FROM cases c
JOIN side ON side.here = c.person_id
JOIN registrations r ON r.id = side.registration_id
JOIN people presented ON presented.id = side.person_id
JOIN people listed ON listed.id = c.person_id
WHERE c.id = ANY($2::uuid[])
ORDER BY c.authority, c.case_number, r.id FOR SHARE OF r, c
"""

_STORED = """
SELECT id, registration_id, case_id, role, strength, status, turn, evidence, division
FROM matches WHERE registration_id = ANY($1::uuid[]) OR case_id = ANY($2::uuid[])
ORDER BY id FOR NO KEY UPDATE
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


@dataclass(frozen=True, slots=True)
class Stored:
    """A match as it is stored, locked for the transaction."""

    id: UUID
    key: Key
    strength: Strength
    status: MatchStatus
    turn: int
    evidence: Mapping[str, str]
    division: str


async def candidates_of_registrations(session: AsyncSession, ids: Collection[UUID]) -> list[Candidate]:
    """Return every case that may concern a buyer or patient of these registrations."""
    connection = await driver(session)
    people = await connection.fetch(
        "SELECT buyer_id AS id FROM registrations WHERE id = ANY($1::uuid[])"
        " UNION SELECT patient_id FROM registrations WHERE id = ANY($1::uuid[]) AND patient_id IS NOT NULL",
        list(ids),
    )
    rows = await connection.fetch(_OF_REGISTRATIONS, [row["id"] for row in people], list(ids))
    return [_candidate(row) for row in rows]


async def candidates_of_cases(session: AsyncSession, ids: Collection[UUID]) -> list[Candidate]:
    """Return every registration whose buyer or patient may be one of these cases."""
    connection = await driver(session)
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


async def find_stored(
    session: AsyncSession, *, registration_ids: Collection[UUID] = (), case_ids: Collection[UUID] = ()
) -> dict[Key, Stored]:
    """Return the matches of these registrations or cases, and lock them."""
    connection = await driver(session)
    rows = await connection.fetch(_STORED, list(registration_ids), list(case_ids))
    found = [
        Stored(
            row["id"],
            (row["registration_id"], row["case_id"], MatchRole(row["role"])),
            Strength(row["strength"]),
            MatchStatus(row["status"]),
            row["turn"],
            row["evidence"],
            row["division"],
        )
        for row in rows
    ]
    return {match.key: match for match in found}


def _visible(scope: str | None) -> Any:
    query = (
        select(Match, Registration.pharmacy_id, Registration.purchased_at, Registration.received_at, Case.disease)
        .join(Registration, Registration.id == Match.registration_id)
        .join(Case, Case.id == Match.case_id)
    )
    return query.where(Match.division.startswith(scope)) if scope else query


def _shown(row: Any) -> MatchOut:
    match = row.Match
    return MatchOut(
        id=match.id,
        registration_id=match.registration_id,
        case_id=match.case_id,
        pharmacy_id=row.pharmacy_id,
        division=match.division,
        disease=row.disease,
        role=match.role,
        strength=match.strength,
        status=match.status,
        evidence=match.evidence,
        rule=match.rule,
        purchased_at=row.purchased_at,
        received_at=row.received_at,
        created_at=match.created_at,
        changed_at=match.changed_at,
    )


async def list_matches(
    session: AsyncSession, *, scope: str | None, filters: MatchFilter, limit: int, before: UUID | None
) -> Sequence[MatchOut]:
    """Return matches at pharmacies of a division, the newest first."""
    query = _visible(scope).order_by(Match.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Match.id < before)
    if filters.division is not None:
        query = query.where(Match.division.startswith(filters.division))
    for column, wanted in (
        (Match.status, filters.status),
        (Match.strength, filters.strength),
        (Match.case_id, filters.case),
        (Match.registration_id, filters.registration),
        (Registration.pharmacy_id, filters.pharmacy),
        (Case.disease, filters.disease),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return [_shown(row) for row in await session.execute(query)]


async def get_match(session: AsyncSession, match_id: UUID, *, scope: str | None) -> MatchOut:
    """Return one match.

    Raises:
        NotFound: there is none, or its pharmacy lies outside.
    """
    row = (await session.execute(_visible(scope).where(Match.id == match_id))).one_or_none()
    if row is None:
        raise NotFound
    return _shown(row)


async def cases_with_matches(session: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """Return those of these cases that have or had a match."""
    connection = await driver(session)
    rows = await connection.fetch("SELECT DISTINCT case_id FROM matches WHERE case_id = ANY($1::uuid[])", list(ids))
    return {row["case_id"] for row in rows}


async def cases_matched_at(session: AsyncSession, pharmacy_ids: Collection[UUID]) -> set[UUID]:
    """Return the cases that have or had a match at one of these pharmacies."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT DISTINCT m.case_id FROM matches m JOIN registrations r ON r.id = m.registration_id"
        " WHERE r.pharmacy_id = ANY($1::uuid[])",
        list(pharmacy_ids),
    )
    return {row["case_id"] for row in rows}
