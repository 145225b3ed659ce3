"""The OpenAPI document: what a route may answer is said once here, for all routes."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.core import errors
from app.core.http import PROBLEM_JSON

_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457). `code` is stable; `errors` point to the fields of a bad request.",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body, or `?name`"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

ABOUT = """
Registrations from the tills, case lists, matches, rewards and alerts.

Send `Authorization: Bearer <token>`. Errors are `application/problem+json` with a stable `code`, and with a pointer to each
field of a bad request. Unknown members are refused. Times are RFC 3339 with an offset. Lists take `?limit=&cursor=` and answer
with `items` and `next_cursor`. Every answer has `X-Request-Id`.
"""


def _statuses(route: APIRoute, operation: dict[str, Any]) -> list[type[errors.AppError]]:
    found: list[type[errors.AppError]] = [errors.InternalError, errors.DatabaseUnavailable]
    if operation.get("security"):
        found += [errors.Unauthenticated, errors.Forbidden]
    if "{" in route.path:
        found.append(errors.NotFound)
    if operation.get("parameters") or "requestBody" in operation:
        found.append(errors.InvalidRequest)
    if "requestBody" in operation:
        found += [errors.MalformedBody, errors.BodyTooLarge, errors.UnsupportedMediaType]
    return found


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the application, built once."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(
        title="Pharmacy Sentinel",
        version=app.version,
        description=ABOUT.strip(),
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schema["components"].setdefault("schemas", {})["Problem"] = _PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(unused, None)
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = schema["paths"][route.path_format][method.lower()]
            answers = operation["responses"]
            answers.pop("422", None) if "HTTPValidationError" in str(answers.get("422")) else None
            for error in _statuses(route, operation):
                answers.setdefault(str(error.status), {"description": error.title})
            for status, answer in answers.items():
                if int(status) >= 400:
                    answer["content"] = content
    app.openapi_schema = schema
    return schema
