"""The doors of the application, with who may enter by which."""

from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app.auth.rules import Permission
from app.main import ROUTERS

PUBLIC = {
    ("GET", "/healthz"): "a load balancer has no key",
    ("GET", "/readyz"): "a load balancer has no key",
    ("GET", "/metrics"): "figures without a business word about anybody; kept inside by the network",
    ("GET", "/v1/receipts/keys"): "whoever checks a receipt needs the public key, and may have no token",
    ("GET", "/openapi.json"): "whoever builds a till reads it before having a key",
    ("GET", "/docs"): "the same, for people",
    ("GET", "/docs/oauth2-redirect"): "part of /docs",
    ("GET", "/redoc"): "the same, for people",
}
"""Doors without a guard, and why."""


def routes() -> Iterator[APIRoute]:
    """Yield every route with a handler of ours."""
    for router in ROUTERS:
        yield from (route for route in router.routes if isinstance(route, APIRoute))


def permission_of(route: APIRoute) -> Permission | None:
    """Return the permission that a route's guard asks for; None if it has no guard."""
    for dependant in _with_sub_dependants(route.dependant):
        permission = getattr(dependant.call, "permission", None)
        if isinstance(permission, Permission):
            return permission
    return None


def _with_sub_dependants(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for sub in dependant.dependencies:
        yield from _with_sub_dependants(sub)
