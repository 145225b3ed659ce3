"""Making and revoking keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.models import Account, ApiKey
from app.auth.queries import find_account, token_hash
from app.auth.rules import Actor, Role
from app.core.errors import NotFound
from app.core.ids import new_id, new_token


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
