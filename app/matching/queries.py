"""Matches as they are stored and shown."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.models import Case
from app.core.database import driver
from app.core.errors import NotFound
from app.matching.models import Match
from app.matching.rules import Key, MatchRole, MatchStatus, Strength
from app.matching.schemas import MatchFilter, MatchOut
from app.registrations.models import Registration

_STORED = """
SELECT id, registration_id, case_id, role, strength, status, turn, evidence, division
FROM matches WHERE registration_id = ANY($1::uuid[]) OR case_id = ANY($2::uuid[])
ORDER BY id FOR NO KEY UPDATE
"""


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


async def cases_matched_with(session: AsyncSession, registration_ids: Collection[UUID]) -> set[UUID]:
    """Return the cases that have or had a match with one of these registrations."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT DISTINCT case_id FROM matches WHERE registration_id = ANY($1::uuid[])", list(registration_ids)
    )
    return {row["case_id"] for row in rows}
