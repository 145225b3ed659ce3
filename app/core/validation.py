"""What pydantic found wrong, told as field errors: never with the value, which may be somebody's identity."""

from typing import Any, Protocol

from pydantic import ValidationError

from app.core.errors import FieldError, InvalidRequest, MalformedBody


class Findings(Protocol):
    """What pydantic, and FastAPI in its name, raise."""

    def errors(self) -> Any:
        """Return what was found, a mapping for each."""


def pointer(location: tuple[int | str, ...]) -> str:
    """Return a JSON pointer (RFC 6901) for a location inside a body, or `?name` for a parameter.

    >>> pointer(("body", "buyer", "document", "number"))
    '/buyer/document/number'
    >>> pointer(("query", "limit"))
    '?limit'
    """
    head, *rest = location or ("body",)
    if head in ("query", "path", "header", "cookie"):
        return f"?{'.'.join(str(part) for part in rest)}"
    parts = rest if head == "body" else list(location)
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def field_errors(error: Findings, prefix: tuple[int | str, ...] = ()) -> list[FieldError]:
    """Return pydantic's findings as field errors, without the values that were sent."""
    found: list[FieldError] = []
    for item in error.errors():
        kind = str(item["type"])
        code = {"extra_forbidden": "unknown_field", "missing": "required", "json_invalid": "json_invalid"}.get(
            kind, kind
        )
        # The message of a custom validator or of a union may repeat input; pydantic's own messages do not,
        # except for these two kinds, which quote what was sent.
        message = "Not valid" if kind in ("value_error", "assertion_error") else str(item["msg"])
        location = tuple(part for part in item["loc"] if not (isinstance(part, str) and "[" in part))
        found.append(FieldError(pointer(("body", *prefix, *location) if prefix else location), code, message))
        if len(found) == 100:
            break
    return found


def refusal(error: ValidationError) -> MalformedBody | InvalidRequest:
    """Return how a body that pydantic could not read is refused."""
    if error.errors()[0]["type"] == "json_invalid":
        return MalformedBody("The body is not valid JSON in UTF-8")
    return InvalidRequest(errors=field_errors(error))
