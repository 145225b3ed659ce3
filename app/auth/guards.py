"""From a bearer token to an actor; every route names the permission that it needs."""

import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from app.auth.queries import find_actor, token_hash
from app.auth.rules import Actor, Permission
from app.core.errors import Forbidden, Unauthenticated
from app.core.http import Services, services

KNOWN_FOR_SECONDS = 2.0
_MOST_KNOWN = 50_000



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


class Guard(HTTPBearer):
    """The guard of a route: gives the actor, or refuses. `permission` is what it asks for."""

    def __init__(self, permission: Permission) -> None:
        super().__init__(
            auto_error=False,
            scheme_name="HTTPBearer",
            description="A key made by `sentinel keys create` or by an official",
        )
        self.permission = permission

    async def __call__(self, request: Request) -> Actor:  # type: ignore[override]  # gives who it is, not what was sent
        """Return who asks.

        Raises:
            Unauthenticated: no valid token.
            Forbidden: the actor's role lacks the permission.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(headers={"WWW-Authenticate": "Bearer"})
        built = services(request)
        known: KnownActors = built.parts.setdefault(KnownActors, KnownActors())
        actor = await known.resolve(built, token)
        request.scope["actor_id"] = str(actor.account_id)
        if not actor.may(self.permission):
            raise Forbidden(f"Needs the permission {self.permission.value}")
        return actor


def requires(permission: Permission) -> Guard:
    """Return the guard of a route that needs a permission."""
    return Guard(permission)


class TillRoute(APIRoute):
    """A route at which a till waits: its endpoint takes the request and the guard's actor, and answers by itself.

    Solving dependencies and serialising by response model cost more than everything that the endpoint does. Here the guard is
    called and then the endpoint; the document still learns of both from their declarations.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that the router calls."""
        guards = [one.call for one in self.dependant.dependencies if isinstance(one.call, Guard)]
        assert len(guards) == 1, "a TillRoute has one guard and takes nothing else"
        guard, endpoint = guards[0], self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(request, await guard(request))
            return response

        return handle
