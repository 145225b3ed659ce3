"""Matches as they are stored and shown."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.models import Case
from app.core.database import driver
from app.core.errors import NotFound
from app.matching.models import Match, Review
from app.matching.passes import Strength
from app.matching.rules import Act, Key, MatchRole, MatchStatus, Said
from app.matching.schemas import MatchFilter, MatchOut, Order, ReviewOut
from app.registrations.models import Registration

_STORED = """
SELECT id, registration_id, case_id, role, strength, status, turn, evidence, rule, pair, division
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
    rule: str
    pair: bytes | None
    division: str


_REVIEWS = 0x5E17_0021

_SAID = """
SELECT DISTINCT ON (pair) pair, act, strength FROM match_reviews WHERE pair = ANY($1::bytea[]) ORDER BY pair, number DESC
"""


async def let_reviews_wait(session: AsyncSession) -> None:
    """Keep what follows a review waiting until this transaction, which may judge without it, has ended."""
    connection = await driver(session)
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", _REVIEWS)


async def wait_for_matching(session: AsyncSession) -> None:
    """Wait for the transactions that are matching now; those that begin later see all reviews that are committed."""
    connection = await driver(session)
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _REVIEWS)


async def find_said(session: AsyncSession, pairs: Collection[bytes]) -> dict[bytes, Said]:
    """Return what was last said of these pairs of people, as far as anything was."""
    if not pairs:
        return {}
    connection = await driver(session)
    rows = await connection.fetch(_SAID, list(pairs))
    return {row["pair"]: Said(Act(row["act"]), Strength(row["strength"])) for row in rows}


async def registrations_of_reviewed(session: AsyncSession, review_ids: Collection[UUID]) -> list[UUID]:
    """Return the registrations with matches of the people of whom these reviews speak."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT DISTINCT m.registration_id FROM match_reviews r JOIN matches m ON m.pair = r.pair"
        " WHERE r.id = ANY($1::uuid[])",
        list(review_ids),
    )
    return [row["registration_id"] for row in rows]


async def hold_match(session: AsyncSession, match_id: UUID, *, scope: str | None) -> tuple[Match, list[Match]]:
    """Return a match and the others of the same two people, all locked: of two reviewers, the second sees what the first said.

    Raises:
        NotFound: there is none, or its pharmacy lies outside.
    """
    query = select(Match.pair).where(Match.id == match_id)
    if scope:
        query = query.where(Match.division.startswith(scope))
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFound
    # A match from before there were reviews has no pair, until `sentinel rematch` gives it one.
    same = Match.id == match_id if found.pair is None else (Match.pair == found.pair) | (Match.id == match_id)
    rows = (await session.scalars(select(Match).where(same).order_by(Match.id).with_for_update(key_share=True))).all()
    held = next(row for row in rows if row.id == match_id)
    return held, [row for row in rows if row is not held and row.pair == held.pair]


async def people_of(session: AsyncSession, match: Match) -> list[UUID]:
    """Return everybody who stands in the registration and in the case of a match."""
    query = (
        select(Registration.buyer_id, Registration.patient_id, Case.person_id)
        .select_from(Match)
        .join(Registration, Registration.id == Match.registration_id)
        .join(Case, Case.id == Match.case_id)
        .where(Match.id == match.id)
    )
    row = (await session.execute(query)).one()
    return [one for one in row if one is not None]


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
            row["rule"],
            row["pair"],
            row["division"],
        )
        for row in rows
    ]
    return {match.key: match for match in found}


def _visible(scope: str | None) -> Any:
    query = (
        select(
            Match,
            Registration.pharmacy_id,
            Registration.purchased_at,
            Registration.received_at,
            case((Match.role == MatchRole.PATIENT, Registration.patient_id), else_=Registration.buyer_id).label(
                "presented"
            ),
            Case.disease,
            Case.authority,
            Case.case_number,
            Case.classification,
            Case.onset_on,
            Case.person_id,
        )
        .join(Registration, Registration.id == Match.registration_id)
        .join(Case, Case.id == Match.case_id)
    )
    return query.where(Match.division.startswith(scope)) if scope else query


async def _show(session: AsyncSession, rows: Sequence[Any]) -> list[MatchOut]:
    pairs = {row.Match.pair for row in rows if row.Match.pair is not None}
    reviews: defaultdict[bytes, list[ReviewOut]] = defaultdict(list)
    found = await session.scalars(select(Review).where(Review.pair.in_(pairs)).order_by(Review.pair, Review.number))
    for review in found:
        reviews[review.pair].append(ReviewOut.model_validate(review))
    return [_shown(row, reviews.get(row.Match.pair, [])) for row in rows]


def _shown(row: Any, reviews: list[ReviewOut]) -> MatchOut:
    match = row.Match
    return MatchOut(
        id=match.id,
        registration_id=match.registration_id,
        case_id=match.case_id,
        pharmacy_id=row.pharmacy_id,
        division=match.division,
        disease=row.disease,
        authority=row.authority,
        case_number=row.case_number,
        classification=row.classification,
        onset_on=row.onset_on,
        person_id=row.presented,
        case_person_id=row.person_id,
        role=match.role,
        strength=match.strength,
        status=match.status,
        evidence=match.evidence,
        rule=match.rule,
        purchased_at=row.purchased_at,
        received_at=row.received_at,
        created_at=match.created_at,
        changed_at=match.changed_at,
        reviews=reviews,
    )


async def list_matches(
    session: AsyncSession, *, scope: str | None, filters: MatchFilter, limit: int, after: UUID | None
) -> Sequence[MatchOut]:
    """Return matches at pharmacies of a division, in the order that is asked for, from the one that `after` names."""
    oldest_first = filters.order is Order.OLDEST
    query = _visible(scope).order_by(Match.id if oldest_first else Match.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Match.id > after if oldest_first else Match.id < after)
    if filters.division is not None:
        query = query.where(Match.division.startswith(filters.division))
    for column, wanted in (
        (Match.status, filters.status),
        (Match.strength, filters.strength),
        (func.split_part(Match.rule, "/", 1), filters.found_by),
        (Match.case_id, filters.case),
        (Match.registration_id, filters.registration),
        (Registration.pharmacy_id, filters.pharmacy),
        (Case.disease, filters.disease),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    return await _show(session, (await session.execute(query)).all())


async def get_match(session: AsyncSession, match_id: UUID, *, scope: str | None) -> MatchOut:
    """Return one match.

    Raises:
        NotFound: there is none, or its pharmacy lies outside.
    """
    row = (await session.execute(_visible(scope).where(Match.id == match_id))).one_or_none()
    if row is None:
        raise NotFound
    return (await _show(session, [row]))[0]


async def count_changed(session: AsyncSession, case_ids: Collection[UUID], at: datetime) -> dict[str, int]:
    """Return how many matches of these cases were written at that very time, by status."""
    connection = await driver(session)
    rows = await connection.fetch(
        "SELECT status, count(*) FROM matches WHERE case_id = ANY($1::uuid[]) AND changed_at = $2 GROUP BY status",
        list(case_ids),
        at,
    )
    return {row["status"]: row["count"] for row in rows}


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
