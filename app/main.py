"""The application: the chapters' routers around the services that it was built with."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app import openapi
from app.catalogue import routes as catalogue
from app.core import health
from app.core.errors import AppError
from app.core.http import Services, render
from app.core.middleware import RequestEnvelope
from app.pharmacies import routes as pharmacies
from app.regimes import routes as regimes
from app.reports import audit_routes

ROUTERS = (
    health.router,
    catalogue.router,
    pharmacies.router,
    regimes.router,
    audit_routes.router,
)
"""Every door, in the order of the chapters."""

BODY_LIMITS: dict[str, int] = {}
"""Bytes that a path takes where the default does not fit."""

VERSION = "0.1.0"


def create_app(services: Services) -> FastAPI:
    """Build the application around a database, a clock and a keyring.

    The clock is an argument and nothing else can replace it: no setting, header or route reaches it.
    """
    app = FastAPI(
        title="Pharmacy Sentinel",
        version=VERSION,
        generate_unique_id_function=_operation_id,
        strict_content_type=True,
    )
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router)
    for kind in (AppError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, render)
    app.add_middleware(RequestEnvelope, body_limits=BODY_LIMITS)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
