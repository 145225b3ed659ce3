"""Errors as facts, rendered in one place as problem details (RFC 9457).

Every error that a caller can meet is a subclass of `AppError` with a status, a stable code and a title; its docstring is
the sentence that `docs/errors.md` shows. `HTTPException` is written nowhere in this project.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field.

    `pointer` is a JSON pointer (RFC 6901) into the request body, or `?name` for a query parameter; `code` is stable;
    `detail` is for people and never repeats the value, which may be somebody's identity.
    """

    pointer: str
    code: str
    detail: str

    def as_json(self) -> dict[str, str]:
        """Return the member of a problem's `errors` list."""
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail}


class AppError(Exception):
    """Base of all errors that a caller can meet."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(self.code)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def as_problem(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the problem details document."""
        problem: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status, "code": self.code}
        if self.detail:
            problem["detail"] = self.detail
        if self.errors:
            problem["errors"] = [error.as_json() for error in self.errors]
        if request_id:
            problem["request_id"] = request_id
        problem.update(self.extra)
        return problem


class InternalError(AppError):
    """A fault of this service. It has been logged under the request id; sending the same request again is safe."""


class NotFound(AppError):
    """There is no such thing, or it lies outside the caller's division."""

    status, code, title = 404, "not_found", "Not found"


class InvalidRequest(AppError):
    """The request does not have the form that the OpenAPI document describes; `errors` points to each field."""

    status, code, title = 422, "invalid_request", "The request is not valid"


class MalformedBody(AppError):
    """The body is not JSON in UTF-8 (or not the media type that the route takes)."""

    status, code, title = 400, "malformed_body", "The body cannot be read"


class UnsupportedMediaType(AppError):
    """The body's media type or content encoding is not one that this route takes."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class BodyTooLarge(AppError):
    """The body is larger than this route takes; send fewer rows at once."""

    status, code, title = 413, "body_too_large", "The body is too large"


class Conflict(AppError):
    """The request contradicts what is stored."""

    status, code, title = 409, "conflict", "Conflict"


class Gone(AppError):
    """The thing existed, and does not any more."""

    status, code, title = 410, "gone", "Gone"


class MethodNotAllowed(AppError):
    """The path exists, but not with this method; `Allow` lists those it has."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class Unauthenticated(AppError):
    """No bearer token came with the request, or it is unknown, expired or revoked."""

    status, code, title = 401, "unauthenticated", "A valid bearer token is needed"


class Forbidden(AppError):
    """The token is valid, but its role may not do this."""

    status, code, title = 403, "forbidden", "This role may not do that"


class OutOfDivision(AppError):
    """The request names a division outside the caller's own."""

    status, code, title = 403, "out_of_division", "Outside your division"


class DatabaseUnavailable(AppError):
    """The database does not answer. Nothing was stored; send the request again after `Retry-After` seconds."""

    status, code, title = 503, "database_unavailable", "The database does not answer"


class TryAgain(AppError):
    """Another request was changing the same rows at this moment. Nothing was stored; send the request again."""

    status, code, title = 503, "try_again", "Something else was changing the same rows"


def all_errors(root: type[AppError] = AppError) -> Iterator[type[AppError]]:
    """Yield every error type that has been defined, for the documentation and its test."""
    for kind in root.__subclasses__():
        yield kind
        yield from all_errors(kind)
