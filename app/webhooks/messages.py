"""What an event looks like when it is told: the same bytes on every attempt, and the same members when it is polled."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.webhooks.rules import Detail


def data_for(
    detail: Detail, thin: Mapping[str, Any], pseudonymous: Mapping[str, Any], identified: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a subscriber of this level may see: each level adds to the one before.

    The caller opens `identified` only for that level.
    """
    data = dict(thin)
    if detail is not Detail.THIN:
        data.update(pseudonymous)
    if detail is Detail.IDENTIFIED:
        data.update(identified or {})
    return data


def timestamp_of(at: datetime) -> str:
    """Return an instant in RFC 3339, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def body_of(kind: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """Return the body `{"type", "timestamp", "data"}`: members of `data` sorted, so that the bytes depend on the facts alone."""
    document = {"type": kind, "timestamp": timestamp_of(at), "data": _sorted(data)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value
