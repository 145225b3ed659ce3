"""From a bearer token to an actor; every route names the permission that it needs."""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.auth.queries import find_actor, token_hash
from app.auth.rules import Actor, Permission
from app.core.errors import Forbidden, Unauthenticated
from app.core.http import Services, services

KNOWN_FOR_SECONDS = 2.0
_MOST_KNOWN = 50_000

_bearer = HTTPBearer(auto_error=False, description="A key made by `sentinel keys create` or by an official")
Guard = Callable[..., Awaitable[Actor]]


class KnownActors:
    """Actors by token, remembered for two seconds, so that a till's hundredth request costs no look-up."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, Actor]] = {}

    async def resolve(self, built: Services, token: str) -> Actor:
        """Return who presents the token.

        Raises:
            Unauthenticated: nobody does.
        """
        hashed = token_hash(token)
        known = self._known.get(hashed)
        moment = time.monotonic()
        if known is not None and known[0] > moment:
            return known[1]
        async with built.database.transaction() as session:
            actor = await find_actor(session, hashed)
        if actor is None:
            self._known.pop(hashed, None)
            raise Unauthenticated(headers={"WWW-Authenticate": "Bearer"})
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[hashed] = (moment + KNOWN_FOR_SECONDS, actor)
        return actor


def requires(permission: Permission) -> Guard:
    """Return the guard of a route: it gives the actor, or refuses.

    Raises (from the guard):
        Unauthenticated: no valid token.
        Forbidden: the actor's role lacks the permission.
    """

    async def guard(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
    ) -> Actor:
        if credentials is None:
            raise Unauthenticated(headers={"WWW-Authenticate": "Bearer"})
        built = services(request)
        known = built.parts.setdefault(KnownActors, KnownActors())
        actor: Actor = await known.resolve(built, credentials.credentials)
        request.scope["actor_id"] = str(actor.account_id)
        if not actor.may(permission):
            raise Forbidden(f"Needs the permission {permission.value}")
        return actor

    guard.permission = permission  # type: ignore[attr-defined]  # read by the test that looks for unguarded routes
    return guard
