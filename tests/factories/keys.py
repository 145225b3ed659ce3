"""Tokens and actors of every role, made by the same verb that makes real ones."""

from collections.abc import Iterable
from uuid import UUID

from app.auth.queries import find_actors, token_hash
from app.auth.rules import SYSTEM, Actor, Role
from app.auth.service import create_key
from app.core.database import Database
from tests.conftest import MOMENT


async def token(
    database: Database,
    role: Role | str,
    division: str | None = None,
    pharmacy_ids: Iterable[UUID] = (),
    *,
    name: str | None = None,
) -> str:
    """Return a bearer token. The same role, division and name is the same account: give two officials two names."""
    async with database.transaction() as session:
        key = await create_key(
            session,
            actor=SYSTEM,
            now=MOMENT,
            role=Role(role),
            name=name or f"Synthetic {Role(role).value}",
            division=division,
            pharmacy_ids=pharmacy_ids,
        )
    return key.token


async def actor(
    database: Database,
    role: Role | str,
    division: str | None = None,
    pharmacy_ids: Iterable[UUID] = (),
    *,
    name: str | None = None,
) -> Actor:
    """Return somebody who may call a verb directly; the account exists."""
    presented = await token(database, role, division, pharmacy_ids, name=name)
    async with database.transaction() as session:
        [found] = (await find_actors(session, [token_hash(presented)], now=MOMENT)).values()
    return found
