"""The application: the chapters' routers around the services that it was built with."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from app import openapi
from app.alerts import routes as alerts
from app.auth.guards import TillRoute, account_of
from app.capture import routes as capture
from app.cases import import_routes as case_imports
from app.cases import routes as cases
from app.cases.imports import CaseImporter
from app.catalogue import routes as catalogue
from app.chinese import CHINESE
from app.core import batches, health
from app.core.errors import AppError
from app.core.http import Services, render
from app.core.languages import Phrasebook
from app.core.middleware import RequestEnvelope, ShortWay
from app.core.repeats import Repeats
from app.core.replays import Replays
from app.histories import routes as histories
from app.imports import routes as imports
from app.imports.importers import Importers
from app.imports.receiving import MOST_BYTES as MOST_IMPORTED_BYTES
from app.matching import routes as matching
from app.pharmacies import routes as pharmacies
from app.questionnaires import routes as questionnaires
from app.regimes import routes as regimes
from app.registrations import import_routes as registration_imports
from app.registrations import proof_routes
from app.registrations import routes as registrations
from app.registrations.imports import RegistrationImporter
from app.registrations.intake import Intake
from app.reports import audit_routes, reward_routes
from app.rewards import routes as rewards
from app.sales import routes as sales
from app.webhooks import routes as webhooks

ROUTERS = (
    registrations.tills,  # first, because routes are tried in order and this one is asked a thousand times as often
    health.router,
    catalogue.tills,
    catalogue.router,
    pharmacies.router,
    webhooks.router,
    imports.router,
    regimes.router,
    questionnaires.router,
    registrations.router,
    registration_imports.router,
    proof_routes.router,
    sales.router,
    case_imports.router,
    cases.router,
    matching.router,
    rewards.router,
    alerts.router,
    capture.purchases,
    capture.surveillance,
    histories.router,
    histories.case_router,
    reward_routes.router,
    audit_routes.router,
)
"""Every door, in the order of the chapters."""

BODY_LIMITS = {
    registrations.BATCH_PATH: batches.MAX_BYTES,
    registration_imports.IMPORT_PATH: MOST_IMPORTED_BYTES,
    cases.BATCH_PATH: batches.MAX_BYTES,
    case_imports.IMPORT_PATH: MOST_IMPORTED_BYTES,
}
"""Bytes that a path takes where the default does not fit."""

NATURAL = {
    registrations.SINGLE_PATH,
    registrations.BATCH_PATH,
    registration_imports.IMPORT_PATH,
    cases.BATCH_PATH,
    case_imports.IMPORT_PATH,
}
"""Paths whose rows are named by what they hold, so that a repeat needs no `Idempotency-Key` to be known."""

VERSION = "0.1.0"


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(services: Services, *, lifespan: Lifespan | None = None) -> FastAPI:
    """Build the application around a database, a clock and a keyring.

    The clock is an argument and nothing else can replace it: no setting, header or route reaches it.
    """
    app = FastAPI(
        title="Pharmacy Sentinel",
        version=VERSION,
        # FastAPI's own telemetry records exception messages, and the database's quote rows.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        redirect_slashes=False,  # a till would send its purchase again, to whatever address the redirect names
        lifespan=lifespan,
    )
    services.parts[Phrasebook] = CHINESE
    services.parts[Intake] = Intake(services.database, services.clock, services.keyring)
    services.parts[Repeats] = Repeats()
    services.parts[Importers] = Importers(RegistrationImporter(services.keyring), CaseImporter(services.keyring))
    app.state.services = services
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    for kind in (AppError, RequestValidationError, HTTPException):  # all others: the envelope
        app.add_exception_handler(kind, render)
    app.add_middleware(Replays, who_asks=account_of, natural=NATURAL)
    app.add_middleware(RequestEnvelope, body_limits=BODY_LIMITS)
    whole = app.build_middleware_stack
    app.build_middleware_stack = lambda: ShortWay(whole(), _doors())  # type: ignore[method-assign]
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


def _doors() -> dict[tuple[str, str], ASGIApp]:
    """Return what answers the tills' purchases, within the same envelope as everything else."""
    return {
        (method, route.path): RequestEnvelope(Replays(route.handle, account_of, NATURAL), BODY_LIMITS)
        for route in registrations.tills.routes
        if isinstance(route, TillRoute)
        for method in route.methods or ()
    }
