"""Bringing the stored matches into line with the facts."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.ids import new_id
from app.matching.candidates import Candidate, candidates_of_cases, candidates_of_registrations
from app.matching.queries import Stored, find_stored
from app.matching.rules import POLICY, Finding, Key, MatchRole, MatchStatus, Strength, compare, counts, in_window

_INSERT = """
INSERT INTO matches (
    id, registration_id, case_id, role, strength, status, turn, evidence, rule, division, created_at, changed_at
)
SELECT id, registration_id, case_id, role, strength, 'counted', 1, jsonb_build_object(
           'document', document, 'phone', phone, 'name', name, 'birth_date', birth_date
       ), $11, division, $12, $12
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[]
) AS row (id, registration_id, case_id, role, strength, division, document, phone, name, birth_date)
ON CONFLICT (registration_id, case_id, role) DO NOTHING
RETURNING id
"""

_CHANGE = """
UPDATE matches SET
    status = row.status, strength = row.strength, evidence = row.evidence::jsonb, rule = $5, changed_at = $6,
    turn = turn + CASE WHEN matches.status = row.status THEN 0 ELSE 1 END
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS row (id, status, strength, evidence)
WHERE matches.id = row.id
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A match that began to count, or ceased to. `turn` numbers the changes of one match."""

    match_id: UUID
    registration_id: UUID
    case_id: UUID
    role: MatchRole
    strength: Strength
    status: MatchStatus
    turn: int
    division: str


async def rematch(
    session: AsyncSession,
    *,
    registration_ids: Collection[UUID] = (),
    case_ids: Collection[UUID] = (),
    now: datetime,
) -> list[Change]:
    """Bring the matches of these registrations or cases into line with the facts; return those that changed status.

    Repeating it changes nothing. Two transactions that find the same match at once agree: one inserts it and reports it,
    the other reports nothing.
    """
    candidates = await _find_candidates(session, registration_ids, case_ids)
    stored = await find_stored(session, registration_ids=registration_ids, case_ids=case_ids)
    if not stored.keys() <= candidates.keys():
        # A row that was given another presentation while we waited for it has been left out. It is locked now, so a second look
        # tells whether the match has really lost its ground.
        candidates = await _find_candidates(session, registration_ids, case_ids)
    holding: dict[Key, tuple[Candidate, Finding]] = {}
    for key, candidate in candidates.items():
        finding = _judge(candidate)
        if finding is not None:
            holding[key] = (candidate, finding)
    new = [entry for key, entry in holding.items() if key not in stored]
    return [*await _insert(session, new, now), *await _adjust(session, stored, holding, now)]


async def _find_candidates(
    session: AsyncSession, registration_ids: Collection[UUID], case_ids: Collection[UUID]
) -> dict[Key, Candidate]:
    found: list[Candidate] = []
    if registration_ids:
        found += await candidates_of_registrations(session, registration_ids)
    if case_ids:
        found += await candidates_of_cases(session, case_ids)
    return {candidate.key: candidate for candidate in found}


def _judge(candidate: Candidate) -> Finding | None:
    if not counts(candidate.classification):
        return None
    if not in_window(candidate.purchased_at, candidate.onset_on, candidate.confirmed_at):
        return None
    return compare(candidate.presented, candidate.listed)


async def _insert(session: AsyncSession, entries: Sequence[tuple[Candidate, Finding]], now: datetime) -> list[Change]:
    if not entries:
        return []
    ordered = sorted(entries, key=lambda entry: entry[0].key)
    ids = [new_id() for _ in ordered]
    connection = await driver(session)
    inserted = await connection.fetch(
        _INSERT,
        ids,
        [candidate.registration_id for candidate, _ in ordered],
        [candidate.case_id for candidate, _ in ordered],
        [candidate.role.value for candidate, _ in ordered],
        [finding.strength.value for _, finding in ordered],
        [candidate.division for candidate, _ in ordered],
        *(
            [finding.evidence[name].value for _, finding in ordered]
            for name in ("document", "phone", "name", "birth_date")
        ),
        POLICY.version,
        now,
    )
    kept = {row["id"] for row in inserted}
    return [
        _change(match_id, candidate.key, finding.strength, MatchStatus.COUNTED, 1, candidate.division)
        for match_id, (candidate, finding) in zip(ids, ordered, strict=True)
        if match_id in kept
    ]


async def _adjust(
    session: AsyncSession,
    stored: Mapping[Key, Stored],
    holding: Mapping[Key, tuple[Candidate, Finding]],
    now: datetime,
) -> list[Change]:
    """Withdraw what no longer holds, restore what holds again, and note a change of strength or evidence."""
    changes: list[Change] = []
    rows: list[tuple[Any, ...]] = []
    for key, match in stored.items():
        held = holding.get(key)
        status = MatchStatus.WITHDRAWN if held is None else MatchStatus.COUNTED
        strength = match.strength if held is None else held[1].strength
        evidence = match.evidence if held is None else held[1].evidence
        if (status, strength, evidence) == (match.status, match.strength, match.evidence):
            continue
        rows.append((match.id, status.value, strength.value, json.dumps(evidence)))
        if status is not match.status:
            changes.append(_change(match.id, key, strength, status, match.turn + 1, match.division))
    if rows:
        connection = await driver(session)
        await connection.execute(_CHANGE, *(list(column) for column in zip(*rows, strict=True)), POLICY.version, now)
    return changes


def _change(match_id: UUID, key: Key, strength: Strength, status: MatchStatus, turn: int, division: str) -> Change:
    registration_id, case_id, role = key
    return Change(match_id, registration_id, case_id, role, strength, status, turn, division)
