"""A registration's revisions: holding the row, putting what stood there aside, writing what stands there now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.core.database import driver
from app.registrations.drafts import Draft
from app.registrations.rows import as_json, insert_items

# Not FOR UPDATE: lines and revisions that point to the row do not wait. Matching holds it FOR SHARE while it compares, so a
# correction waits for a match that is being made, and its own job then sees and judges it anew.
_LOCK = """
SELECT id, pharmacy_id, client_reference, content_digest, revision, division, buyer_id, patient_id, received_at, flags,
       voided_at, void_reason
FROM registrations WHERE id = $1 AND pharmacy_id = ANY($2::uuid[]) FOR NO KEY UPDATE
"""
_FORMER = """
SELECT revision, content_digest, reason FROM registration_revisions WHERE registration_id = $1 ORDER BY revision
"""
_PUT_ASIDE = """
INSERT INTO registration_revisions (
    registration_id, revision, content_digest, division, regime, buyer_id, patient_id, purchased_at, received_at,
    temperature_c, patient_temperature_c, symptoms, answers, checks, flags, warnings, sent_by, items,
    identity_changed, reason, replaced_at, replaced_by, replaced_by_id
)
SELECT r.id, r.revision, r.content_digest, r.division, r.regime, r.buyer_id, r.patient_id, r.purchased_at,
    coalesce((
        SELECT replaced_at FROM registration_revisions v WHERE v.registration_id = r.id ORDER BY v.revision DESC LIMIT 1
    ), r.received_at),
    r.temperature_c, r.patient_temperature_c, r.symptoms, r.answers, r.checks, r.flags, r.warnings, r.sent_by,
    coalesce((
        SELECT jsonb_agg(to_jsonb(i) - 'registration_id' || jsonb_build_object('drug', d.wording) ORDER BY i.line)
        FROM registration_items i JOIN listed_drugs d ON d.id = i.drug_id
        WHERE i.registration_id = r.id
    ), '[]'),
    (r.buyer_id, r.patient_id) IS DISTINCT FROM ($2::uuid, $3::uuid), $4, $5, $6, $7
FROM registrations r WHERE r.id = $1
"""
_REPLACE = """
UPDATE registrations SET
    content_digest = $2, revision = $3, regime = $4, buyer_id = $5, patient_id = $6, purchased_at = $7, temperature_c = $8,
    patient_temperature_c = $9, symptoms = $10, answers = $11::jsonb, checks = $12::jsonb, flags = $13,
    warnings = $14::jsonb, sent_by = $15
WHERE id = $1
"""
_VOID = """
UPDATE registrations SET voided_at = $2, void_reason = $3, flags = array_append(flags, 'voided') WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A registration as it stands, locked for the transaction."""

    id: UUID
    pharmacy_id: UUID
    client_reference: str
    content_digest: bytes
    revision: int
    division: str
    buyer_id: UUID
    patient_id: UUID | None
    received_at: datetime
    flags: Sequence[str]
    voided_at: datetime | None
    void_reason: str | None

    @property
    def people(self) -> list[UUID]:
        """Whom it concerns."""
        return [self.buyer_id] if self.patient_id is None else [self.buyer_id, self.patient_id]


@dataclass(frozen=True, slots=True)
class Former:
    """An earlier revision: its digest, and why it was replaced."""

    revision: int
    content_digest: bytes
    reason: str


async def hold(session: AsyncSession, registration_id: UUID, pharmacy_ids: frozenset[UUID]) -> Held | None:
    """Return a registration of one of these pharmacies and lock it; None if there is none."""
    connection = await driver(session)
    row = await connection.fetchrow(_LOCK, registration_id, list(pharmacy_ids))
    return None if row is None else Held(**row)


async def find_former(session: AsyncSession, registration_id: UUID) -> list[Former]:
    """Return the earlier revisions, the first one first."""
    connection = await driver(session)
    return [Former(**row) for row in await connection.fetch(_FORMER, registration_id)]


async def replace(session: AsyncSession, held: Held, draft: Draft, reason: str, *, actor: Actor, now: datetime) -> None:
    """Put the revision that stands there aside, and write the draft in its place as the next one."""
    connection = await driver(session)
    await connection.execute(
        _PUT_ASIDE, held.id, draft.buyer_id, draft.patient_id, reason, now, actor.name, actor.account_id
    )
    row = draft.named.submission.row
    answers: Mapping[str, Any] = row.answers
    await connection.execute(
        _REPLACE,
        held.id,
        draft.named.digest,
        held.revision + 1,
        draft.regime.state.value,
        draft.buyer_id,
        draft.patient_id,
        row.purchased_at,
        row.temperature_c,
        row.patient and row.patient.temperature_c,
        [symptom.value for symptom in row.symptoms],
        as_json(answers),
        row.checks and row.checks.model_dump_json(),
        [flag.value for flag in draft.flags],
        as_json([warning.as_json() for warning in draft.warnings]),
        actor.key_id,
    )
    await connection.execute("DELETE FROM registration_items WHERE registration_id = $1", held.id)
    await insert_items(session, [draft])


async def mark_void(session: AsyncSession, held: Held, reason: str, *, now: datetime) -> None:
    """Mark a registration as one that does not hold."""
    connection = await driver(session)
    await connection.execute(_VOID, held.id, now, reason)
