"""From a bearer token to an actor; every route names the permission that it needs."""

import asyncio
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any, cast
from uuid import UUID

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.types import Receive, Scope, Send

from app.auth.queries import find_actors, token_hash
from app.auth.rules import BUDGETS, Actor, Permission
from app.core.errors import Forbidden, Unauthenticated
from app.core.http import Services, header, services
from app.core.ratelimit import Budget, Meter, RateLimited

KNOWN_FOR_SECONDS = 2.0
_MOST_KNOWN = 50_000
_MOST_AT_ONCE = 1_000


class KnownActors:
    """Actors by token, remembered for two seconds, so that a till's hundredth request costs no look-up.

    Whoever must look up asks for all who have come since the last look-up as well: a city's tills cost one statement in two seconds,
    and not one each.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, Actor]] = {}
        self._lately: set[bytes] = set()
        self._asked: dict[bytes, asyncio.Task[dict[bytes, Actor]]] = {}

    async def resolve(self, built: Services, token: str) -> Actor:
        """Return who presents the token.

        Raises:
            Unauthenticated: nobody does.
        """
        hashed = token_hash(token)
        known = self._known.get(hashed)
        if known is not None and known[0] > time.monotonic():
            self._lately.add(hashed)
            return known[1]
        asked = self._asked.get(hashed)
        if asked is None:
            wanted = [hashed, *islice(self._lately - {hashed} - self._asked.keys(), _MOST_AT_ONCE)]
            self._lately.clear()
            asked = asyncio.create_task(self._look_up(built, wanted))
            self._asked.update(dict.fromkeys(wanted, asked))
        actor = (await asyncio.shield(asked)).get(hashed)  # others may wait for it, too
        if actor is None:
            raise Unauthenticated(headers={"WWW-Authenticate": "Bearer"})
        return actor

    async def _look_up(self, built: Services, wanted: Sequence[bytes]) -> dict[bytes, Actor]:
        try:
            moment = time.monotonic()
            async with built.database.transaction() as session:
                found = await find_actors(session, wanted, now=built.clock.now())
            for hashed in wanted:
                self._known.pop(hashed, None)
            if len(self._known) + len(found) > _MOST_KNOWN:
                self._known.clear()
            self._known.update((hashed, (moment + KNOWN_FOR_SECONDS, actor)) for hashed, actor in found.items())
            return found
        finally:
            for hashed in wanted:
                del self._asked[hashed]


class Meters:
    """What each key has used of each budget, in this process."""

    def __init__(self) -> None:
        self._by_budget: dict[Budget, Meter] = {}

    def spend(self, request: Request, actor: Actor, budget: Budget, units: int = 1) -> None:
        """Take units from the actor's key, and let the answer tell what is left.

        Raises:
            RateLimited: nothing is left.
        """
        if actor.key_id is None:
            return
        meter = self._by_budget.get(budget)
        if meter is None:
            meter = self._by_budget[budget] = Meter(budget)
        standing = meter.spend(actor.key_id, time.monotonic(), units)
        request.scope["rate_limit"] = meter.fields(standing)
        if not standing.allowed:
            raise RateLimited(headers={"Retry-After": str(standing.wait_seconds)})


def meters_of(built: Services) -> Meters:
    """Return the application's meters."""
    meters = built.parts.get(Meters)
    if meters is None:
        meters = built.parts[Meters] = Meters()
    return cast("Meters", meters)


def spend(request: Request, actor: Actor, budget: Budget, units: int) -> None:
    """Charge a request for what it turned out to hold, beside the one unit that its guard has taken."""
    meters_of(services(request)).spend(request, actor, budget, units)


async def actor_of(request: Request) -> Actor:
    """Return who asks, whatever it may do.

    Raises:
        Unauthenticated: no valid token.
    """
    scheme, _, token = header(request, b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(headers={"WWW-Authenticate": "Bearer"})
    built = services(request)
    known = built.parts.get(KnownActors)
    if known is None:
        known = built.parts[KnownActors] = KnownActors()
    return await cast("KnownActors", known).resolve(built, token)


async def account_of(request: Request) -> UUID | None:
    """Return whose request it is, and charge it; None if nobody's.

    Raises:
        RateLimited: its key has asked for too much.
    """
    try:
        actor = await actor_of(request)
    except Unauthenticated:
        return None
    meters_of(services(request)).spend(request, actor, BUDGETS[actor.role])
    return actor.account_id


class Guard(HTTPBearer):
    """The guard of a route: gives the actor, or refuses.

    `permission` is what it asks for, `budget` what a request is charged to; the role's own unless a route has another.
    """

    def __init__(self, permission: Permission, budget: Budget | None = None) -> None:
        super().__init__(
            auto_error=False,
            scheme_name="HTTPBearer",
            description="A key made by `sentinel keys create` or by an official",
        )
        self.permission = permission
        self.budget = budget

    async def __call__(self, request: Request) -> Actor:  # type: ignore[override]  # gives who it is, not what was sent
        """Return who asks.

        Raises:
            Unauthenticated: no valid token.
            RateLimited: its key has asked for too much.
            Forbidden: the actor's role lacks the permission.
        """
        actor = await actor_of(request)
        request.scope["actor_id"] = str(actor.account_id)
        if "rate_limit" not in request.scope:
            meters_of(services(request)).spend(request, actor, self.budget or BUDGETS[actor.role])
        if not actor.may(self.permission):
            raise Forbidden(f"Needs the permission {self.permission.value}")
        return actor


def requires(permission: Permission, *, budget: Budget | None = None) -> Guard:
    """Return the guard of a route that needs a permission and is charged to a budget."""
    return Guard(permission, budget)


class TillRoute(APIRoute):
    """A route at which a till waits: its endpoint takes the request and the guard's actor, and answers by itself.

    Solving dependencies, keeping stacks of what is to be closed after them and serialising by response model cost more than
    everything that the endpoint does. Here the guard is called and then the endpoint; the document still learns of both from
    their declarations.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what every route takes."""
        super().__init__(*args, **options)
        guards = [one.call for one in self.dependant.dependencies if isinstance(one.call, Guard)]
        assert len(guards) == 1, "a TillRoute has one guard and takes nothing else"
        self._guard = guards[0]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path is this route's; errors are told where all of the application's are."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # refuses
            return
        scope["route"] = self  # for the log, also of a request that came here without the table of routes
        request = Request(scope, receive, send)
        response: Response = await self.endpoint(request, await self._guard(request))
        await response(scope, receive, send)
