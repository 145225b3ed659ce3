"""Rows in and out, set-based: one statement for a thousand rows.

Registrations go through the driver with one array per column (`unnest`). A list inside a row travels as text with a
separator, because PostgreSQL's arrays of arrays must be rectangular.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.catalogue.rules import CodeInvalid, normal_approval, normal_gtin
from app.core.database import driver
from app.core.errors import FieldError
from app.registrations.drafts import Draft
from app.registrations.schemas import Flag

_FIND = """
SELECT r.pharmacy_id, r.client_reference, r.id, r.content_digest, r.received_at, r.revision, r.flags, r.warnings::text
FROM unnest($1::uuid[], $2::text[]) AS wanted (pharmacy_id, client_reference)
JOIN registrations r USING (pharmacy_id, client_reference)
"""

_FIND_FORMER = """
SELECT registration_id, revision, content_digest, flags, warnings::text, items::text
FROM registration_revisions WHERE registration_id = ANY($1::uuid[])
"""

_INSERT = """
INSERT INTO registrations (
    id, pharmacy_id, client_reference, content_digest, revision, division, regime, buyer_id, patient_id,
    purchased_at, received_at, temperature_c, patient_temperature_c, symptoms, answers, checks, flags, warnings, sent_by, sandbox
)
SELECT id, pharmacy_id, client_reference, content_digest, 1, division, regime, buyer_id, patient_id,
       purchased_at, $18, temperature_c, patient_temperature_c, string_to_array(symptoms, ','), answers::jsonb,
       checks::jsonb, string_to_array(flags, ','), warnings::jsonb, sent_by, sandbox
FROM unnest(
    $1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::uuid[], $8::uuid[], $9::timestamptz[],
    $10::numeric[], $11::numeric[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::uuid[],
    $19::boolean[]
) AS row (
    id, pharmacy_id, client_reference, content_digest, division, regime, buyer_id, patient_id, purchased_at,
    temperature_c, patient_temperature_c, symptoms, answers, checks, flags, warnings, sent_by, sandbox
)
ON CONFLICT (pharmacy_id, client_reference) DO NOTHING
RETURNING id
"""

_INSERT_ITEMS = """
INSERT INTO registration_items (
    registration_id, line, drug_id, resolved_by, quantity, gtin, approval_number, batch, trace_codes
)
SELECT registration_id, line, drug_id, resolved_by, quantity, gtin, approval_number, batch,
       string_to_array(trace_codes, ',')
FROM unnest(
    $1::uuid[], $2::smallint[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::text[]
) AS row (registration_id, line, drug_id, resolved_by, quantity, gtin, approval_number, batch, trace_codes)
"""

_FIND_LINES = """
SELECT i.registration_id, i.line, i.drug_id, d.wording
FROM registration_items i JOIN listed_drugs d ON d.id = i.drug_id
WHERE i.registration_id = ANY($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A registration that is stored already."""

    id: UUID
    digest: bytes
    received_at: datetime
    revision: int
    flags: list[Flag]
    warnings: list[FieldError]
    former: Mapping[bytes, "Earlier"] = field(default_factory=dict)
    """The earlier revisions by their digests."""
    lines: Mapping[int, tuple[UUID, str]] = field(default_factory=dict)
    """Drug id and name of each kept line; filled for earlier revisions only."""
    is_newest: bool = True


async def find_by_reference(
    session: AsyncSession, names: Collection[tuple[UUID, str]]
) -> dict[tuple[UUID, str], Earlier]:
    """Return the registrations that (pharmacy, client reference) name, as far as they exist."""
    if not names:
        return {}
    connection = await driver(session)
    rows = await connection.fetch(_FIND, [name[0] for name in names], [name[1] for name in names])
    former = await _find_former(connection, {row["id"]: row for row in rows if row["revision"] > 1})
    return {
        (row["pharmacy_id"], row["client_reference"]): Earlier(
            row["id"],
            row["content_digest"],
            row["received_at"],
            row["revision"],
            [Flag(flag) for flag in row["flags"]],
            [FieldError(**warning) for warning in json.loads(row["warnings"] or "[]")],
            former.get(row["id"], {}),
        )
        for row in rows
    }


async def _find_former(connection: Any, corrected: Mapping[UUID, Any]) -> dict[UUID, dict[bytes, Earlier]]:
    """Return the earlier revisions of registrations that were corrected: what was sent then is the same purchase still."""
    found: dict[UUID, dict[bytes, Earlier]] = {}
    if not corrected:
        return found
    for row in await connection.fetch(_FIND_FORMER, list(corrected)):
        now = corrected[row["registration_id"]]
        voided = [Flag.VOIDED] if Flag.VOIDED in now["flags"] else []
        found.setdefault(row["registration_id"], {})[row["content_digest"]] = Earlier(
            row["registration_id"],
            row["content_digest"],
            now["received_at"],
            row["revision"],
            [*(Flag(flag) for flag in row["flags"]), *voided],
            [FieldError(**warning) for warning in json.loads(row["warnings"] or "[]")],
            lines={item["line"]: (UUID(item["drug_id"]), item["drug"]) for item in json.loads(row["items"])},
            is_newest=False,
        )
    return found


async def insert_registrations(session: AsyncSession, drafts: Sequence[Draft], now: datetime) -> set[UUID]:
    """Insert the drafts; return the ids of those whose name nobody had taken.

    In the order of their names, so that two transactions with the same names wait for each other and never in a ring.
    """
    ordered = sorted(drafts, key=lambda draft: (draft.named.pharmacy.id, draft.named.submission.row.client_reference))
    connection = await driver(session)
    kept = await connection.fetch(
        _INSERT,
        [draft.id for draft in ordered],
        [draft.named.pharmacy.id for draft in ordered],
        [draft.named.submission.row.client_reference for draft in ordered],
        [draft.named.digest for draft in ordered],
        [draft.named.pharmacy.division for draft in ordered],
        [draft.regime.state.value for draft in ordered],
        [draft.buyer_id for draft in ordered],
        [draft.patient_id for draft in ordered],
        [draft.named.submission.row.purchased_at for draft in ordered],
        [draft.named.submission.row.temperature_c for draft in ordered],
        [draft.named.submission.row.patient and draft.named.submission.row.patient.temperature_c for draft in ordered],
        [",".join(draft.named.submission.row.symptoms) for draft in ordered],
        [as_json(draft.named.submission.row.answers) for draft in ordered],
        [
            draft.named.submission.row.checks and draft.named.submission.row.checks.model_dump_json()
            for draft in ordered
        ],
        [",".join(draft.flags) for draft in ordered],
        [as_json([warning.as_json() for warning in draft.warnings]) for draft in ordered],
        [draft.named.submission.actor.key_id for draft in ordered],
        now,
        [draft.named.pharmacy.sandbox for draft in ordered],
    )
    return {row["id"] for row in kept}


async def insert_items(session: AsyncSession, drafts: Sequence[Draft]) -> None:
    """Insert the listed lines of registrations that were just inserted."""
    lines: list[tuple[Any, ...]] = []
    for draft in drafts:
        for line, (item, found) in enumerate(zip(draft.named.submission.row.items, draft.resolutions, strict=True)):
            if found.drug_id is not None:
                codes = item.trace_codes
                lines.append(
                    (
                        draft.id,
                        line,
                        found.drug_id,
                        found.by,
                        item.quantity,
                        _kept_code(normal_gtin, item.gtin),
                        _kept_code(normal_approval, item.approval_number),
                        item.batch,
                        ",".join(codes) if codes else None,
                    )
                )
    if lines:
        connection = await driver(session)
        await connection.execute(_INSERT_ITEMS, *(list(column) for column in zip(*lines, strict=True)))


async def find_lines(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, dict[int, tuple[UUID, str]]]:
    """Return drug id and name of each kept line of these registrations."""
    connection = await driver(session)
    lines: dict[UUID, dict[int, tuple[UUID, str]]] = {registration_id: {} for registration_id in ids}
    for row in await connection.fetch(_FIND_LINES, list(ids)):
        lines[row["registration_id"]][row["line"]] = (row["drug_id"], row["wording"])
    return lines


def _kept_code(normal: Callable[[str], str], sent: str | None) -> str | None:
    # What is not a code is not kept: it may be anything, also somebody's phone.
    try:
        return None if sent is None else normal(sent)
    except CodeInvalid:
        return None


def as_json(value: Any) -> str | None:
    """Return a value as a JSON column takes it; nothing where there is nothing to keep."""
    return json.dumps(value, ensure_ascii=False) if value else None
