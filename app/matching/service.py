"""Bringing the stored matches into line with the facts and with what reviewers said."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core import jobs
from app.core.database import driver
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.matching.candidates import Candidate, candidates_of_cases, candidates_of_registrations
from app.matching.passes import Finding, Strength
from app.matching.queries import (
    Stored,
    find_said,
    find_stored,
    let_reviews_wait,
    registrations_of_reviewed,
    wait_for_matching,
)
from app.matching.rules import COUNTING, Key, MatchRole, MatchStatus, Said, counts, in_window, pair_of, status_of

REVIEWED = jobs.declare("matches.reviewed")
"""Follows what a reviewer said; payload `{"review_id": …}`."""

_INSERT = """
INSERT INTO matches (
    id, registration_id, case_id, role, strength, status, turn, evidence, rule, pair, division, created_at, changed_at
)
SELECT id, registration_id, case_id, role, strength, status, turn, evidence::jsonb, rule, pair, division, $12, $12
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::int2[], $8::text[], $9::text[],
    $10::bytea[], $11::text[]
) AS row (id, registration_id, case_id, role, strength, status, turn, evidence, rule, pair, division)
ON CONFLICT (registration_id, case_id, role) DO NOTHING
RETURNING id
"""

_CHANGE = """
UPDATE matches SET
    status = row.status, strength = row.strength, evidence = row.evidence::jsonb, rule = row.rule, pair = row.pair,
    turn = row.turn, changed_at = $8
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::int2[])
    AS row (id, status, strength, evidence, rule, pair, turn)
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

    @property
    def counts(self) -> bool:
        """Whether it began to count."""
        return self.status in COUNTING


@dataclass(frozen=True, slots=True)
class _Holding:
    """A match that the facts bear out, and where it stands."""

    candidate: Candidate
    finding: Finding
    pair: bytes
    status: MatchStatus


async def rematch(
    session: AsyncSession,
    *,
    registration_ids: Collection[UUID] = (),
    case_ids: Collection[UUID] = (),
    now: datetime,
    keyring: Keyring,
) -> list[Change]:
    """Bring the matches of these registrations or cases into line with facts and reviews; return those that began or ceased
    to count.

    Repeating it changes nothing. Two transactions that find the same match at once agree: one inserts it and reports it,
    the other reports nothing.
    """
    await let_reviews_wait(session)
    candidates = await _find_candidates(session, registration_ids, case_ids, keyring)
    stored = await find_stored(session, registration_ids=registration_ids, case_ids=case_ids)
    standing = {key for key, match in stored.items() if match.status is not MatchStatus.WITHDRAWN}
    if not standing <= candidates.keys():
        # A row that was given another presentation while we waited for it has been left out. It is locked now, so a second look
        # tells whether the match has really lost its ground.
        candidates = await _find_candidates(session, registration_ids, case_ids, keyring)
    # Read last: whoever reviews one of the stored matches waits for us, or has committed.
    holding = await _judge(session, candidates)
    new = [entry for key, entry in holding.items() if key not in stored]
    return [*await _insert(session, new, now), *await _adjust(session, stored, holding, now)]


async def follow_reviews(
    session: AsyncSession, review_ids: Collection[UUID], *, now: datetime, keyring: Keyring
) -> tuple[list[UUID], list[Change]]:
    """Bring all matches of the people of whom these reviews speak into line; return their registrations, and what changed.

    Whoever was matching when a review was committed may have judged without it, so they are waited for.
    """
    await wait_for_matching(session)
    registrations = await registrations_of_reviewed(session, review_ids)
    return registrations, await rematch(session, registration_ids=registrations, now=now, keyring=keyring)


async def _find_candidates(
    session: AsyncSession, registration_ids: Collection[UUID], case_ids: Collection[UUID], keyring: Keyring
) -> dict[Key, Candidate]:
    found: list[Candidate] = []
    if registration_ids:
        found += await candidates_of_registrations(session, registration_ids, keyring)
    if case_ids:
        found += await candidates_of_cases(session, case_ids, keyring)
    return {candidate.key: candidate for candidate in found}


async def _judge(session: AsyncSession, candidates: Mapping[Key, Candidate]) -> dict[Key, _Holding]:
    borne_out = [
        (key, candidate, candidate.finding, pair_of(candidate.presented, candidate.listed, key))
        for key, candidate in candidates.items()
        if candidate.finding is not None
        and counts(candidate.classification)
        and in_window(candidate.purchased_at, candidate.onset_on, candidate.confirmed_at)
    ]
    said: Mapping[bytes, Said] = await find_said(session, {pair for *_, pair in borne_out})
    return {
        key: _Holding(candidate, finding, pair, status_of(finding.by.strength, said.get(pair)))
        for key, candidate, finding, pair in borne_out
    }


async def _insert(session: AsyncSession, entries: Sequence[_Holding], now: datetime) -> list[Change]:
    if not entries:
        return []
    ordered = sorted(entries, key=lambda entry: entry.candidate.key)
    changes = [
        _change(new_id(), entry.candidate.key, entry.finding.by.strength, entry.status, 0, entry.candidate.division)
        for entry in ordered
    ]
    connection = await driver(session)
    inserted = await connection.fetch(
        _INSERT,
        [change.match_id for change in changes],
        [change.registration_id for change in changes],
        [change.case_id for change in changes],
        [change.role.value for change in changes],
        [change.strength.value for change in changes],
        [change.status.value for change in changes],
        [change.turn for change in changes],
        [json.dumps(entry.finding.evidence) for entry in ordered],
        [entry.finding.by.rule for entry in ordered],
        [entry.pair for entry in ordered],
        [change.division for change in changes],
        now,
    )
    kept = {row["id"] for row in inserted}
    return [change for change in changes if change.match_id in kept and change.counts]


async def _adjust(
    session: AsyncSession, stored: Mapping[Key, Stored], holding: Mapping[Key, _Holding], now: datetime
) -> list[Change]:
    """Withdraw what no longer holds, restore what holds again, and note what else is different."""
    changes: list[Change] = []
    rows: list[tuple[Any, ...]] = []
    for key, match in stored.items():
        held = holding.get(key)
        if held is None:
            told = (MatchStatus.WITHDRAWN, match.strength, match.evidence, match.rule, match.pair)
        else:
            told = (held.status, held.finding.by.strength, held.finding.evidence, held.finding.by.rule, held.pair)
        change = _change(match.id, key, told[1], told[0], match.turn, match.division)
        if (*told, change.turn) == (match.status, match.strength, match.evidence, match.rule, match.pair, match.turn):
            continue
        status, strength, evidence, rule, pair = told
        rows.append((match.id, status.value, strength.value, json.dumps(evidence), rule, pair, change.turn))
        if change.turn != match.turn:
            changes.append(change)
    if rows:
        connection = await driver(session)
        await connection.execute(_CHANGE, *(list(column) for column in zip(*rows, strict=True)), now)
    return changes


def _change(match_id: UUID, key: Key, strength: Strength, status: MatchStatus, turn: int, division: str) -> Change:
    """Return a match as it now stands; its turn goes on by one if it begins or ceases to count."""
    registration_id, case_id, role = key
    turn += (status in COUNTING) != (turn % 2 == 1)
    return Change(match_id, registration_id, case_id, role, strength, status, turn, division)
