"""Looking up keys and accounts."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import Account, ApiKey
from app.auth.rules import Actor, Role


def is_valid(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Return the condition under which a key is accepted."""
    return ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now))


# Written once, and executed without the ORM: each till's key is looked up every two seconds, and building the question anew took
# several times as long as the answer.
_FIND = (
    select(
        *(ApiKey.id.label("key_id"), ApiKey.last_seen_at, Account.id, Account.name, Account.role),
        *(Account.division, Account.pharmacy_ids),
    )
    .join_from(ApiKey, Account)
    .where(ApiKey.token_hash == bindparam("hashed"), is_valid(bindparam("now")))
)


def token_hash(token: str) -> bytes:
    """Return the form in which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def find_actor(session: AsyncSession, hashed_token: bytes, *, now: datetime) -> Actor | None:
    """Return who presents this token, or None if it is unknown, expired or revoked.

    Notes on the key in which hour it was used: one small write an hour.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    found = await (await session.connection()).execute(_FIND, {"hashed": hashed_token, "now": now})
    row = found.one_or_none()
    if row is None:
        return None
    key_id, last_seen_at, account_id, name, role, division, pharmacy_ids = row
    if last_seen_at is None or last_seen_at < hour:
        # A key that somebody is changing at this moment is not waited for: the next request will note it.
        held = select(ApiKey.id).where(ApiKey.id == key_id).with_for_update(skip_locked=True).scalar_subquery()
        await session.execute(update(ApiKey).where(ApiKey.id == held).values(last_seen_at=hour))
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
