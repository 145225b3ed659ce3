"""Reading the trail."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry, AuditLink
from app.audit.rules import GENESIS, Integrity, Link, verify
from app.audit.schemas import AuditFilter
from app.core.sealing import Keyring

COLUMNS = tuple(AuditEntry.__table__.columns)
_VERIFY_BATCH = 10_000


def content_of(row: Row[Any]) -> dict[str, Any]:
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


async def verify_chain(session: AsyncSession, *, keyring: Keyring) -> Integrity:
    """Check every link of the chain against its entry, in batches."""

    def mac(key_id: int, message: bytes) -> bytes:
        return keyring.mac("audit", message, key_id=key_id)

    position, previous = 0, GENESIS
    while True:
        rows = (
            await session.execute(
                select(AuditLink.position, AuditLink.key_id.label("mac_key"), AuditLink.hash, *COLUMNS)
                .join(AuditEntry, AuditEntry.id == AuditLink.entry_id, isouter=True)
                .where(AuditLink.position > position)
                .order_by(AuditLink.position)
                .limit(_VERIFY_BATCH)
            )
        ).all()
        if not rows:
            return Integrity(whole=True, links=position, broken_at=None)
        links = [
            Link(row.position, row.mac_key, row.hash, content_of(row) if row.id is not None else {}) for row in rows
        ]
        found = verify(mac, links, previous, position + 1)
        if not found.whole:
            return found
        position, previous = found.links, links[-1].hash
