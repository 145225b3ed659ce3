"""Looking up keys and accounts."""

import hashlib
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import Account, ApiKey
from app.auth.rules import Actor, Role


def token_hash(token: str) -> bytes:
    """Return the form in which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def find_actor(session: AsyncSession, hashed_token: bytes) -> Actor | None:
    """Return who presents this token, or None if it is unknown or revoked."""
    row = (
        await session.execute(
            select(ApiKey.id, Account.id, Account.name, Account.role, Account.division, Account.pharmacy_ids)
            .join(Account)
            .where(ApiKey.token_hash == hashed_token, ApiKey.revoked_at.is_(None))
        )
    ).one_or_none()
    if row is None:
        return None
    key_id, account_id, name, role, division, pharmacy_ids = row
    return Actor(account_id, name, role, key_id, division, frozenset(pharmacy_ids))


async def find_account(
    session: AsyncSession, role: Role, division: str | None, name: str, pharmacy_ids: Iterable[UUID] = ()
) -> Account | None:
    """Return the account with this role: of a pharmacy by its pharmacies, of others by division and name."""
    wanted = sorted(pharmacy_ids)
    query = select(Account).where(Account.role == role)
    if role is Role.PHARMACY:
        query = query.where(Account.pharmacy_ids == wanted)
    else:
        query = query.where(Account.division.is_not_distinct_from(division), Account.name == name)
    return (await session.execute(query)).scalar_one_or_none()
