"""The OpenAPI document: what holds for all routes is said once here, and what FastAPI cannot know is added."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.core import errors
from app.core.http import PROBLEM_JSON
from app.core.idempotency import IdempotencyKeyInUse, IdempotencyKeyMalformed, IdempotencyKeyReused
from app.core.ratelimit import RateLimited

ABOUT = """
Registrations from the tills, case lists, matches, rewards and alerts.

Send `Authorization: Bearer <token>`. Errors are `application/problem+json` with a stable `code`, and with a pointer to each
field of a bad request. Every operation heeds `Accept-Language`: `title`, `detail` and the messages of an error are in Chinese
where it prefers that, in English otherwise; where more is told in two languages, the operation has the header among its
parameters. Unknown members are refused. Times are RFC 3339 with an offset. Lists take `?limit=&cursor=` and answer with `items`
and `next_cursor`. Every answer has `X-Request-Id`.
"""

TAGS = {
    "health": "Is the service alive and ready, and what has it done. These need no token.",
    "catalogue": "Listed drugs: what must be registered, where and when.",
    "pharmacies": "Reporting sites, their standing, keys and staff.",
    "webhooks": "Subscriptions, deliveries, and the same events by polling.",
    "imports": "Files of rows: how they are getting on, and what was refused.",
    "regimes": "What a division requires today.",
    "questionnaires": "What is asked at the counter: dated questions for a division and a disease.",
    "registrations": "Purchases registered at the counter.",
    "sales": "Anonymous daily counts, and what of them was registered.",
    "cases": "The health authority's list.",
    "matches": "Registrations and cases that concern the same person.",
    "rewards": "What a pharmacy earned, criterion by criterion, and the report.",
    "alerts": "What somebody must know now, and what came of it.",
    "surveillance": "The net: what slipped through it, how soon registrations come, and how whole they are.",
    "buyers": "One person's past; every look is written down.",
    "audit": "Who did what, and whether the trail is whole.",
}
"""What each group of operations is about, in the order of the chapters."""

PARAMETERS = {
    "accept-language": "In which language the clerk shall be told, `zh` or `en`; Chinese if left out (of refusals: English)",
    "alert_id": "Id of an alert",
    "buyer_id": "Any `buyer_id`, `patient_id` or `person_id` of the person",
    "case": "Only what concerns this case (its id)",
    "case_id": "Id of a case",
    "classification": "Only cases of this classification",
    "decision_id": "Id of a reward decision",
    "delivery_id": "Id of a delivery",
    "detail": "How much to show; identities are never among it",
    "disease": "Only what concerns this disease (its code)",
    "division": "Only what lies in this division or below it",
    "drug_id": "Id of a listed drug",
    "flag": "Only registrations with this flag",
    "group_by": "What a line of the report stands for",
    "import_id": "Id of an import",
    "if-none-match": "The ETag of the answer that you keep",
    "key_id": "Id of a key",
    "kind": "Only alerts of this kind",
    "limit": "Rows on a page",
    "match_id": "Id of a match",
    "onset_from": "Only cases whose onset was on this day or later",
    "pharmacy": "Only what concerns this pharmacy (its id)",
    "pharmacy_id": "Id of a pharmacy",
    "purchased_from": "Only purchases at this instant or later",
    "received_from": "Only what was received at this instant or later",
    "purchase_id": "Id of a declared purchase",
    "registration": "Only what concerns this registration (its id)",
    "registration_id": "Id of a registration",
    "severity": "Only alerts of this severity",
    "state": "Only what is in this state",
    "status": "Only what has this status",
    "strength": "Only matches of this strength",
    "subscription_id": "Id of a subscription",
}
"""What a parameter means wherever it stands, unless the route says more."""

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457). `code` is stable; `errors` point to the fields of a bad request.",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "description": "Always `about:blank`: the code says which problem it is"},
        "title": {
            "type": "string",
            "description": "The problem in a few words, for people; in each language the same for each code",
        },
        "status": {"type": "integer", "description": "The status of the answer"},
        "code": {"type": "string", "description": "Stable; what a program decides by"},
        "detail": {"type": "string", "description": "For people"},
        "request_id": {"type": "string", "description": "Under this id the request stands in the service's log"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer into the body, or `?name` for a parameter",
                    },
                    "code": {"type": "string", "description": "Stable"},
                    "detail": {"type": "string", "description": "For people; never repeats the value"},
                },
            },
        },
    },
}

_REQUEST_ID = {
    "description": "Names the request in the service's log; one that you send (8 to 64 of A-Z a-z 0-9 . _ -) is kept",
    "schema": {"type": "string"},
}
_LANGUAGE = {
    "description": "The language of what is told to people, as `Accept-Language` prefers it",
    "schema": {"type": "string", "enum": ["zh", "en"]},
}
_VARY = {"description": "Always `Accept-Language`, by which the answer was chosen", "schema": {"type": "string"}}
_WAIT = {"description": "Seconds to wait before sending the request again", "schema": {"type": "string"}}
_POLICY = {
    "description": 'What a key may ask for, as `"name";q=units;w=seconds` (draft-ietf-httpapi-ratelimit-headers-10)',
    "schema": {"type": "string"},
}
_LEFT = {
    "description": 'What is left of it, as `"name";r=units;t=seconds until it is full again`',
    "schema": {"type": "string"},
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Names this request for 24 hours (draft-ietf-httpapi-idempotency-key-header-07), best a UUID: sent again, the same "
        "request gets the same answer, with `Idempotency-Replayed: true`, and does nothing. A refused request is not "
        "remembered. Where rows have names of their own – single and batched registrations, imports, batches of cases – the "
        "name does this for ever, and the key is only checked for its form."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9._~:/+=-]+$"},
}
_SPOKEN: dict[str, Any] = {
    "Content-Language": {"$ref": "#/components/headers/ContentLanguage"},
    "Vary": {"$ref": "#/components/headers/Vary"},
}
_NEXT = {"description": 'The next page, as `<…>; rel="next"` (RFC 8288)', "schema": {"type": "string"}}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the application, built once."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary="A city's pharmacies are the first to notice an outbreak.",
        description=ABOUT.strip(),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=app.routes,
        tags=[{"name": name, "description": meaning} for name, meaning in TAGS.items()],
    )
    components = schema["components"]
    components["schemas"]["Problem"] = _PROBLEM
    components["headers"] = {"RequestId": _REQUEST_ID, "RetryAfter": _WAIT, "Link": _NEXT}
    components["headers"] |= {"RateLimitPolicy": _POLICY, "RateLimit": _LEFT}
    components["headers"] |= {"ContentLanguage": _LANGUAGE, "Vary": _VARY}
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["responses"] = {}
    for posted in (methods["post"] for methods in schema["paths"].values() if "post" in methods):
        posted["parameters"] = [*posted.get("parameters", ()), dict(_KEY)]
    for path, operation in _operations(schema):
        for given in operation.get("parameters", ()):
            given.setdefault("description", PARAMETERS.get(given["name"], ""))
        _hoist(operation.get("requestBody", {}), components["schemas"])
        _answer(path, operation, components["responses"])
    for part in ("schemas", "responses"):
        components[part] = dict(sorted(components[part].items()))
    app.openapi_schema = schema
    return schema


def as_text(schema: dict[str, Any]) -> str:
    """Return the document as it is committed: `docs/openapi.json`."""
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            yield path, operation


def _answer(path: str, operation: dict[str, Any], shared: dict[str, Any]) -> None:
    """Add every status that can occur, the form of errors, and the headers that all answers have."""
    answers = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422")):
        del answers["422"]
    for error in _errors_of(path, operation):
        if str(error.status) not in answers:
            shared[error.__name__] = _refusal(error.title, error.status)
            answers[str(error.status)] = {"$ref": f"#/components/responses/{error.__name__}"}
    names = {given["name"] for given in operation.get("parameters", ())}
    for status, answer in answers.items():
        if "$ref" in answer:
            continue
        if int(status) >= 400:
            answers[status] = _refusal(answer["description"], int(status))
        else:
            answer["headers"] = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
            if "accept-language" in names:
                answer["headers"] |= _SPOKEN
            if operation.get("security"):
                answer["headers"]["RateLimit-Policy"] = {"$ref": "#/components/headers/RateLimitPolicy"}
                answer["headers"]["RateLimit"] = {"$ref": "#/components/headers/RateLimit"}
            if names & {"cursor", "after"}:
                answer["headers"]["Link"] = {"$ref": "#/components/headers/Link"}
    operation["responses"] = dict(sorted(answers.items()))


def _refusal(title: str, status: int) -> dict[str, Any]:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}, **_SPOKEN}
    if status in (errors.DatabaseUnavailable.status, RateLimited.status):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": title, "headers": headers, "content": {PROBLEM_JSON: {"schema": schema}}}


def _errors_of(path: str, operation: dict[str, Any]) -> list[type[errors.AppError]]:
    """Return the errors that follow from the form of an operation; a route names its own conflicts."""
    if path == "/healthz":
        return []
    found: list[type[errors.AppError]] = [errors.InternalError, errors.DatabaseUnavailable]
    if operation.get("security"):
        found += [errors.Unauthenticated, errors.Forbidden, RateLimited]
    if "{" in path:
        found.append(errors.NotFound)
    if operation.get("parameters") or "requestBody" in operation:
        found.append(errors.InvalidRequest)
    if "requestBody" in operation:
        found += [errors.MalformedBody, errors.BodyTooLarge, errors.UnsupportedMediaType]
    if any(given["name"] == _KEY["name"] for given in operation.get("parameters", ())):
        found += [IdempotencyKeyMalformed, IdempotencyKeyInUse, IdempotencyKeyReused]
    return found


def _hoist(node: Any, schemas: dict[str, Any]) -> None:
    """Move the definitions of bodies that are read by hand to where all others are.

    Such a schema carries its `$defs` with it (`core.batches.RowReader.documented`) and a title, which becomes its name.
    """
    if isinstance(node, list):
        for item in node:
            _hoist(item, schemas)
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, dict) and "$defs" in value:
                own = {name: part for name, part in value.items() if name != "$defs"}
                for name, definition in {**value["$defs"], own["title"]: own}.items():
                    if schemas.setdefault(name, definition) != definition:
                        raise ValueError(f"two schemas are named {name}")
                node[key] = {"$ref": f"#/components/schemas/{own['title']}"}
            else:
                _hoist(value, schemas)
