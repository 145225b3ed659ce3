"""Reading the trail, and whether it is whole."""

import hmac
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.audit.models import AuditEntry, AuditLink, AuditPatrol
from app.audit.rules import GENESIS, Integrity, Link, Mac, Patrol, patrol_message, verify
from app.audit.schemas import AuditFilter
from app.core.sealing import Keyring

COLUMNS = tuple(AuditEntry.__table__.columns)
PATROL = "audit patrol"
"""For what the keyed hash of the patrol's row is made."""


def content_of(row: Row[Any] | AuditEntry) -> dict[str, Any]:
    """Return what a link's hash covers: every column of the entry, in a form that does not depend on the driver."""
    content = {column.name: getattr(row, column.name) for column in COLUMNS}
    content["at"] = content["at"].timestamp()
    return content


async def list_entries(
    session: AsyncSession, *, scope: str | None, filters: AuditFilter, limit: int, before: int | None
) -> Sequence[AuditEntry]:
    """Return entries, newest first; an auditor of a division sees those acts that concern it, and those of no division."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    if scope:
        query = query.where(AuditEntry.division.startswith(scope) | AuditEntry.division.is_(None))
    if filters.action is not None:
        query = query.where(AuditEntry.action == filters.action)
    if filters.subject_id is not None:
        query = query.where(AuditEntry.subject_id == filters.subject_id)
    if filters.account_id is not None:
        query = query.where(AuditEntry.account_id == filters.account_id)
    return (await session.execute(query)).scalars().all()


def mac_of(keyring: Keyring) -> Mac:
    """Return the keyed hash of links. Under a key that nobody holds there is none: such a link counts as broken."""

    def mac(key_id: int, message: bytes) -> bytes:
        return keyring.mac("audit", message, key_id=key_id) if key_id in keyring.key_ids else b""

    return mac


async def links_behind(session: AsyncSession, position: int, limit: int) -> list[Link]:
    """Return the next links of the chain with their entries."""
    rows = await session.execute(
        select(AuditLink.position, AuditLink.key_id.label("mac_key"), AuditLink.hash, *COLUMNS)
        .join(AuditEntry, AuditEntry.id == AuditLink.entry_id, isouter=True)
        .where(AuditLink.position > position)
        .order_by(AuditLink.position)
        .limit(limit)
    )
    return [Link(row.position, row.mac_key, row.hash, content_of(row) if row.id is not None else {}) for row in rows]


async def find_patrol(session: AsyncSession, *, keyring: Keyring, lock: bool = False) -> Patrol:
    """Return where the patrol stands: at the beginning if there was none, or if somebody wrote into its row."""
    row = await session.get(AuditPatrol, 1, with_for_update=lock, populate_existing=True)
    if row is None:
        return Patrol()
    patrol = Patrol(row.position, row.hash, row.verified_up_to, row.verified_at, row.broken_at)
    sealed = row.key_id in keyring.key_ids and hmac.compare_digest(
        row.seal, keyring.mac(PATROL, patrol_message(patrol), key_id=row.key_id)
    )
    return patrol if sealed else Patrol()


async def read_integrity(session: AsyncSession, shown: Sequence[AuditEntry], *, keyring: Keyring) -> Integrity:
    """Return what is known of the trail: by the patrol along the whole chain, and by looking now at what is shown.

    Of each entry that is shown its link is verified, and how that joins the link before; this takes as long for a page of a
    long trail as of a short one.
    """
    patrol = await find_patrol(session, keyring=keyring)
    last = await session.scalar(select(func.max(AuditLink.position))) or 0
    breaks = [patrol.broken_at, await _break_among(session, shown, keyring)]
    if last < patrol.verified_up_to:
        breaks.append(last + 1)
    broken_at = min((one for one in breaks if one is not None), default=None)
    return Integrity(
        whole=broken_at is None,
        links=last if broken_at is None else broken_at - 1,
        broken_at=broken_at,
        verified_up_to=patrol.verified_up_to,
        verified_at=patrol.verified_at,
    )


async def _break_among(session: AsyncSession, shown: Sequence[AuditEntry], keyring: Keyring) -> int | None:
    before, mac = aliased(AuditLink), mac_of(keyring)
    rows = await session.execute(
        select(*(AuditLink.entry_id, AuditLink.position, AuditLink.key_id, AuditLink.hash), before.hash.label("joint"))
        .join(before, before.position == AuditLink.position - 1, isouter=True)
        .where(AuditLink.entry_id.in_([entry.id for entry in shown]))
        .order_by(AuditLink.position)
    )
    entries = {entry.id: entry for entry in shown}
    for entry_id, position, key_id, found, joint in rows:
        if joint is None and position > 1:
            return int(position) - 1
        link = Link(position, key_id, found, content_of(entries[entry_id]))
        verdict = verify(mac, [link], GENESIS if joint is None else joint, position)
        if not verdict.whole:
            return verdict.broken_at
    return None
