"""Looking up keys and accounts."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BindParameter, ColumnElement, LargeBinary, any_, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import Account, ApiKey
from app.auth.rules import Actor, Role


def is_valid(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Return the condition under which a key is accepted."""
    return ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now))


# Written once, and executed without the ORM: tills' keys are looked up every two seconds, and building the question anew took several
# times as long as the answer.
_FIND = (
    select(
        *(ApiKey.token_hash, ApiKey.id.label("key_id"), ApiKey.last_seen_at, Account.id, Account.name, Account.role),
        *(Account.division, Account.pharmacy_ids),
    )
    .join_from(ApiKey, Account)
    .where(ApiKey.token_hash == any_(bindparam("hashed", type_=ARRAY(LargeBinary))), is_valid(bindparam("now")))
)


def token_hash(token: str) -> bytes:
    """Return the form in which a token is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def find_actors(session: AsyncSession, hashed_tokens: Collection[bytes], *, now: datetime) -> dict[bytes, Actor]:
    """Return who presents these tokens, by their hashes; those that are unknown, expired or revoked are left out.

    Notes on a key in which hour it was used: one small write an hour.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    found = await (await session.connection()).execute(_FIND, {"hashed": list(hashed_tokens), "now": now})
    actors: dict[bytes, Actor] = {}
    unnoted: list[UUID] = []
    for hashed, key_id, last_seen_at, account_id, name, role, division, pharmacy_ids in found:
        actors[hashed] = Actor(account_id, name, role, key_id, division, frozenset(pharmacy_ids))
        if last_seen_at is None or last_seen_at < hour:
            unnoted.append(key_id)
    if unnoted:
        # A key that somebody is changing at this moment is not waited for: the next request will note it.
        held = select(ApiKey.id).where(ApiKey.id.in_(unnoted)).with_for_update(skip_locked=True)
        await session.execute(update(ApiKey).where(ApiKey.id.in_(held)).values(last_seen_at=hour))
    return actors


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
