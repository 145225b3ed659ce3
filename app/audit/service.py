"""Writing the trail and chaining it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry, AuditLink
from app.audit.queries import COLUMNS, content_of
from app.audit.rules import GENESIS, Doer, link_message
from app.core.database import driver
from app.core.sealing import Keyring

# Made once: `json.dumps` with arguments makes an encoder for each value.
_as_json = json.JSONEncoder(ensure_ascii=False).encode

_CHAIN_LOCK = 0x5E17_0001
_CHAIN_BATCH = 5_000


def entry(
    *,
    actor: Doer,
    now: datetime,
    action: str,
    subject: tuple[str, UUID | str | None],
    division: str | None = None,
    purpose: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return one entry as `record_all` takes it. `purpose` and `detail` must not hold an identity."""
    return {
        "at": now,
        "account_id": actor.account_id,
        "account_name": actor.name,
        "role": str(actor.role),
        "key_id": actor.key_id,
        "action": action,
        "subject_type": subject[0],
        "subject_id": None if subject[1] is None else str(subject[1]),
        "division": division,
        "purpose": purpose,
        "detail": dict(detail or {}),
    }


async def record(
    session: AsyncSession,
    *,
    actor: Doer,
    now: datetime,
    action: str,
    subject: tuple[str, UUID | str | None],
    division: str | None = None,
    purpose: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one entry in the transaction of the act that it describes."""
    await record_all(
        session,
        [
            entry(
                actor=actor,
                now=now,
                action=action,
                subject=subject,
                division=division,
                purpose=purpose,
                detail=detail,
            )
        ],
    )


_COLUMNS = (
    *("at", "account_id", "account_name", "role", "key_id", "action", "subject_type", "subject_id", "division"),
    *("purpose", "detail"),
)
_INSERT = f"""
INSERT INTO audit_entries ({", ".join(_COLUMNS)})
SELECT row.*
FROM unnest(
    $1::timestamptz[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::jsonb[]
) AS row
"""


async def record_all(session: AsyncSession, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write many entries in one statement; a till's every request writes one."""
    if entries:
        connection = await driver(session)
        columns = [[row[name] for row in entries] for name in _COLUMNS[:-1]]
        details = [_as_json(row["detail"]) for row in entries]
        await connection.execute(_INSERT, *columns, details)


async def chain_entries(session: AsyncSession, *, keyring: Keyring) -> int:
    """Append entries that are not yet chained; return how many.

    An entry gets its id before its transaction commits, so one with a lower id may become visible later. Such a latecomer
    is chained when it is seen: the chain's order is that of the links, not of the ids. One chain: whoever holds the lock
    appends, others return at once.
    """
    if not (await session.execute(select(func.pg_try_advisory_xact_lock(_CHAIN_LOCK)))).scalar_one():
        return 0
    last = (
        await session.execute(select(AuditLink.position, AuditLink.hash).order_by(AuditLink.position.desc()).limit(1))
    ).one_or_none()
    position, previous = (last.position, last.hash) if last else (0, GENESIS)
    rows = await session.execute(
        select(*COLUMNS)
        .where(~select(AuditLink.entry_id).where(AuditLink.entry_id == AuditEntry.id).exists())
        .order_by(AuditEntry.id)
        .limit(_CHAIN_BATCH)
    )
    links = []
    for row in rows:
        position += 1
        previous = keyring.mac("audit", link_message(previous, position, content_of(row)))
        links.append({"position": position, "entry_id": row.id, "key_id": keyring.key_id, "hash": previous})
    if links:
        await session.execute(insert(AuditLink), links)
    return len(links)
