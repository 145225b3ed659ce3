"""What every route is handed: its transaction, the time, the keyring; and how errors are told."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException as StarletteError
from starlette.routing import Match
from starlette.types import Scope

from app.core import errors
from app.core.clock import Clock
from app.core.database import Database, trouble
from app.core.languages import Language, Phrasebook, preferred, said_in
from app.core.log import logger
from app.core.metrics import METHODS
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.core.validation import field_errors

PROBLEM_JSON = "application/problem+json"
_BY_STATUS: Mapping[int, type[errors.AppError]] = {
    400: errors.MalformedBody,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMediaType,
}


@dataclass
class Services:
    """What the application was built with; chapters add their own long-lived parts under `parts`."""

    settings: Settings
    database: Database
    clock: Clock
    keyring: Keyring
    parts: dict[type[Any], Any] = field(default_factory=dict)


def services(request: Request) -> Services:
    """Return what the application was built with."""
    return cast("Services", request.app.state.services)


def fields_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the fields of a request by their names in lower case; of one that came twice the first. Read once for each request."""
    fields: dict[bytes, bytes] | None = scope.get("fields")
    if fields is None:
        fields = scope["fields"] = dict(reversed(scope["headers"]))
    return fields


def header(request: Request, name: bytes, otherwise: str = "") -> str:
    """Return a field of the request, named in lower case. The framework would search all of them anew for each."""
    value = fields_of(request.scope).get(name)
    return otherwise if value is None else value.decode("latin-1")


async def begin(request: Request) -> AsyncIterator[AsyncSession]:
    """Open the request's transaction; it is committed before the answer is sent.

    A request with an `Idempotency-Key` has one already, in which its answer is kept as well (`core.replays`).
    """
    held = request.scope.get("transaction")
    if held is not None:
        yield held
        return
    async with services(request).database.transaction() as session:
        yield session


# A dependency that is not `async` would be sent to a thread and back, which costs more than most of what a route does.
async def services_of(request: Request) -> Services:
    """Return what the application was built with, as a dependency."""
    return services(request)


async def read_clock(request: Request) -> datetime:
    """Return the time at which the request is handled."""
    return services(request).clock.now()


async def keyring_of(request: Request) -> Keyring:
    """Return the keys that seal and find identities."""
    return services(request).keyring


# scope="function": the dependency ends (and commits) before the answer leaves. With the default scope the caller is told
# 201 first, and a commit that fails afterwards loses what was acknowledged.
Transaction = Annotated[AsyncSession, Depends(begin, scope="function")]
Now = Annotated[datetime, Depends(read_clock)]
Keys = Annotated[Keyring, Depends(keyring_of)]
Built = Annotated[Services, Depends(services_of)]


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's operation in the OpenAPI document: that of its function."""
    return route.name


class Router(APIRouter):
    """A chapter's doors. They become the application's own: what FastAPI includes it matches twice for each request.

    It would also build what is included once more for each application, at its first request.
    """

    def __init__(
        self, *, prefix: str = "", tags: list[str | Enum] | None = None, route_class: type[APIRoute] = APIRoute
    ) -> None:
        """Name what its routes have in common.

        Args:
            prefix: with what their paths begin.
            tags: their group in the OpenAPI document.
            route_class: what they are made as.
        """
        super().__init__(
            prefix=prefix,
            tags=tags,
            route_class=route_class,
            generate_unique_id_function=operation_id,
            strict_content_type=True,
        )


def problem(request: Request, error: errors.AppError) -> Response:
    """Render an error as problem details, in Chinese for a caller who prefers it."""
    told = error.as_problem(request_id_of(request))
    language = preferred(header(request, b"accept-language"), Language.EN)
    if language is Language.ZH:
        told = services(request).parts[Phrasebook].problem(told)
    body = json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, error.status, {**error.headers, **said_in(language)}, PROBLEM_JSON)


def unless_held(if_none_match: str | None, fingerprint: str, body: Callable[[], bytes]) -> Response:
    """Answer with the body, or with 304 if the caller holds it: its ETags, compared weakly (RFC 9110, 13.1.2)."""
    headers = {"ETag": f'W/"{fingerprint}"', "Cache-Control": "private, no-cache"}
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    if "*" in tags or f'"{fingerprint}"' in tags:
        return Response(status_code=304, headers=headers)
    return Response(body(), headers=headers, media_type="application/json")


def request_id_of(request: Request) -> str | None:
    """Return the id that the middleware gave this request."""
    return cast("str | None", request.scope.get("request_id"))


def translate(error: BaseException) -> errors.AppError:
    """Return the application error for whatever was raised below a route."""
    match error:
        case errors.AppError():
            return error
        case RequestValidationError():
            if any(item["type"] == "json_invalid" for item in error.errors()):
                return errors.MalformedBody("The body is not valid JSON in UTF-8")
            return errors.InvalidRequest(errors=field_errors(error))
        case StarletteError():
            if isinstance(error.__cause__, errors.AppError):
                return error.__cause__  # raised while FastAPI read the body, which it wraps
            return _BY_STATUS.get(error.status_code, errors.InternalError)(headers=error.headers)
        case _:
            return trouble(error) or errors.InternalError()


async def render(request: Request, error: Exception) -> Response:
    """Answer with problem details; log what is our fault, without its message (it may quote a row)."""
    translated = translate(error)
    if isinstance(error, StarletteError) and error.status_code == 405:
        translated.headers["Allow"] = ", ".join(_methods_of(request))
    if _is_about_body(error) and not _is_json(request):
        translated = errors.UnsupportedMediaType("Send application/json, not compressed")
    if translated.status >= 500:
        logger("http").error(
            "request failed",
            extra={"request_id": request_id_of(request), "error": type(error).__name__, "code": translated.code},
            exc_info=error if isinstance(translated, errors.InternalError) else None,
        )
    return problem(request, translated)


def _is_about_body(error: Exception) -> bool:
    if isinstance(error, RequestValidationError):
        return any(item["loc"][:1] == ("body",) for item in error.errors())
    return isinstance(error, StarletteError) and error.status_code == 400


def _is_json(request: Request) -> bool:
    # FastAPI hands a body of another media type to the model as bytes, which then finds everything wrong with it.
    kind = header(request, b"content-type", "application/json").partition(";")[0].strip().lower()
    is_plain = header(request, b"content-encoding", "identity") == "identity"
    return is_plain and (kind == "application/json" or kind.endswith("+json"))


def _methods_of(request: Request) -> list[str]:
    # The router knows of the first route with this path only; others may share it.
    return [
        method
        for method in sorted(METHODS)
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
