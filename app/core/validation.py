"""What pydantic found wrong, told as field errors: never with the value, which may be somebody's identity."""

from typing import Any, Protocol

from pydantic import ValidationError

from app.core.errors import FieldError, InvalidRequest, MalformedBody

BODY = ("body",)
MOST_ERRORS = 100

_CODES = {"extra_forbidden": "unknown_field", "missing": "required"}
# Pydantic's messages do not repeat what was sent, but for a few kinds; and one names our class.
_MESSAGES = dict.fromkeys(("value_error", "assertion_error", "uuid_parsing", "union_tag_invalid"), "Not valid") | {
    "model_type": "Input should be an object"
}
_OF_A_KEY = "[key]"  # what pydantic appends where the name of a member is wrong, not its value


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


def field_errors(error: Findings, *, within: tuple[str, ...] = ()) -> list[FieldError]:
    """Return pydantic's findings as field errors, without the values that were sent; at most 100 of them.

    FastAPI's locations say where a value came from ("body", "query"); for those of a model that was read by hand, `within`
    says it.
    """
    items = error.errors()
    # "A value or null" may be a union to pydantic: it then tells of both members, each under a tag of its own.
    nullable = {tuple(item["loc"][:-1]) for item in items if item["type"] == "none_required"}
    found: list[FieldError] = []
    for item in items:
        kind, location = str(item["type"]), tuple(item["loc"])
        if kind == "none_required":
            continue
        for at in range(len(location)):
            if location[:at] in nullable:
                location = location[:at] + location[at + 1 :]
                break
        if location and location[-1] == _OF_A_KEY and kind != "extra_forbidden":
            location = location[:-1]
        message = _MESSAGES.get(kind) or str(item["msg"])
        found.append(FieldError(pointer((*within, *location)), _CODES.get(kind, kind), message))
        if len(found) == MOST_ERRORS:
            break
    return found


def refusal(error: ValidationError) -> MalformedBody | InvalidRequest:
    """Return how a body that pydantic could not read is refused."""
    if error.errors()[0]["type"] == "json_invalid":
        return MalformedBody("The body is not valid JSON in UTF-8")
    return InvalidRequest(errors=field_errors(error, within=BODY))
