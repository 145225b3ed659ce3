"""Making and revoking keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.models import Account, ApiKey
from app.auth.queries import find_account, token_hash
from app.auth.rules import Actor, Role
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id, new_token


class KeyNotActive(Conflict):
    """The key has been revoked or has expired; make a new one instead."""

    code, title = "key_not_active", "The key is not valid any more"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its token, which is shown this once."""

    id: UUID
    account_id: UUID
    token: str


async def create_key(
    session: AsyncSession,
    *,
    actor: Actor,
    now: datetime,
    role: Role,
    name: str,
    key_name: str | None = None,
    division: str | None = None,
    pharmacy_ids: Iterable[UUID] = (),
) -> NewKey:
    """Make a key for the account of this role, division and name; make the account if there is none.

    The same name in the same role and division is the same person, whatever number of keys it has: that is what keeps one
    official from approving with one key and paying with another.
    """
    pharmacies = sorted(pharmacy_ids)
    account = await find_account(session, role, division, name, pharmacies)
    if account is None:
        account = Account(id=new_id(), name=name, role=role, division=division, pharmacy_ids=pharmacies, created_at=now)
        session.add(account)
        await session.flush()
    token = new_token("sentinel")
    key = ApiKey(
        id=new_id(), account_id=account.id, name=key_name or name, token_hash=token_hash(token), created_at=now
    )
    session.add(key)
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="key.created",
        subject=("key", key.id),
        division=division,
        detail={"role": role.value, "account_id": str(account.id)},
    )
    await session.flush()
    return NewKey(key.id, account.id, token)


async def rotate_key(
    session: AsyncSession, key_id: UUID, *, overlap: timedelta, actor: Actor, now: datetime
) -> tuple[NewKey, datetime]:
    """Make a key that takes another's place; return it, and when the old one ends.

    Both are the same account. Rotating a key again makes one more, and never prolongs the old one's life.

    Raises:
        NotFound: there is no such key.
        KeyNotActive: it is revoked or has expired.
    """
    key = await session.get(ApiKey, key_id, with_for_update=True)
    if key is None:
        raise NotFound
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise KeyNotActive
    ends = now + overlap
    key.expires_at = ends = ends if key.expires_at is None else min(key.expires_at, ends)
    token = new_token("sentinel")
    new = ApiKey(id=new_id(), account_id=key.account_id, name=key.name, token_hash=token_hash(token), created_at=now)
    session.add(new)
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="key.rotated",
        subject=("key", key.id),
        detail={"new_key_id": str(new.id), "old_ends_at": ends.isoformat()},
    )
    await session.flush()
    return NewKey(new.id, key.account_id, token), ends


async def revoke_key(session: AsyncSession, key_id: UUID, *, actor: Actor, now: datetime) -> None:
    """Make a key useless from now on; revoking it again changes nothing.

    Raises:
        NotFound: there is no such key.
    """
    key = await session.get(ApiKey, key_id)
    if key is None:
        raise NotFound
    if key.revoked_at is None:
        key.revoked_at = now
        await audit.record(session, actor=actor, now=now, action="key.revoked", subject=("key", key.id))
        await session.flush()
