"""Writing the trail, chaining it, and the patrol along the chain."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry, AuditLink, AuditPatrol
from app.audit.queries import COLUMNS, PATROL, content_of, find_patrol, links_behind, mac_of
from app.audit.rules import GENESIS, Doer, Patrol, go_on, link_message, patrol_message
from app.core.database import copy_in
from app.core.log import logger
from app.core.sealing import Keyring

# Made once: `json.dumps` with arguments makes an encoder for each value.
_as_json = json.JSONEncoder(ensure_ascii=False).encode

_CHAIN_LOCK = 0x5E17_0001
_CHAIN_BATCH = 5_000
_PATROL_BATCH = 2_000
_PATROL_BATCHES = 10


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


async def record_all(session: AsyncSession, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write many entries at once; a till's every request writes one."""
    rows = [(*(row[name] for name in _COLUMNS[:-1]), _as_json(row["detail"])) for row in entries]
    await copy_in(session, "audit_entries", _COLUMNS, rows)


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


async def patrol_chain(session: AsyncSession, *, keyring: Keyring, now: datetime) -> Patrol:
    """Verify the next stretch of the chain, and return where the patrol stands then.

    At most 20,000 links at a time, so that a trail of any length hinders nobody. A break is logged as an error each time the
    patrol stands before it.
    """
    await session.execute(upsert(AuditPatrol).values(_row_of(Patrol(), keyring)).on_conflict_do_nothing())
    patrol, mac = await find_patrol(session, keyring=keyring, lock=True), mac_of(keyring)
    for _ in range(_PATROL_BATCHES):
        links = await links_behind(session, patrol.position, _PATROL_BATCH)
        patrol = go_on(patrol, mac, links, ended=len(links) < _PATROL_BATCH, now=now)
        if patrol.position == 0 or patrol.broken_at is not None:
            break
    if patrol.broken_at is not None:
        logger("audit").error("the audit trail is broken", extra={"broken_at": patrol.broken_at})
    await session.execute(update(AuditPatrol).values(_row_of(patrol, keyring)))
    return patrol


def _row_of(patrol: Patrol, keyring: Keyring) -> dict[str, Any]:
    return {"id": 1, **asdict(patrol), "key_id": keyring.key_id, "seal": keyring.mac(PATROL, patrol_message(patrol))}
