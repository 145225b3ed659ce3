"""Around every request: an id, a bound on the body, one log line, one measurement.

Plain ASGI: a wrapper that builds a Request and a Response object for each call costs more than the work it wraps.
"""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import errors, metrics
from app.core.http import fields_of, render
from app.core.ids import new_id
from app.core.log import logger

# A caller's own id is kept if it is a UUID: anything else may hold a phone or a name, and it goes into the log.
_UUID = re.compile(rb"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$")
DEFAULT_BODY_LIMIT = 256 * 1024

_access = logger("access")
# The series of each route and status, found once: there are as many as the figures have lines.
_series: dict[tuple[str, str, int], Any] = {}


class RequestEnvelope:
    """Gives each request its id and its limits, and notes what became of it."""

    def __init__(self, app: ASGIApp, body_limits: dict[str, int] | None = None) -> None:
        self.app = app
        self.body_limits = body_limits or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = fields_of(scope)
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _UUID.match(given) else str(new_id())
        scope["request_id"] = request_id
        limit = self.body_limits.get(scope["path"], DEFAULT_BODY_LIMIT)
        started = time.perf_counter()
        status = 0
        received = 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise errors.BodyTooLarge(f"At most {limit} bytes")
            return message

        async def marked_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    *scope.get("rate_limit", ()),
                ]
            await send(message)

        try:
            declared = headers.get(b"content-length", b"0")
            if declared.isdigit() and int(declared) > limit:
                raise errors.BodyTooLarge(f"At most {limit} bytes")
            await self.app(scope, bounded_receive, marked_send)
        except Exception as error:
            # Rendered here and not by the framework, whose handler stands outside: its answer would bear no request id,
            # and it would raise the error again for the server to log.
            if status:
                raise
            await (await render(Request(scope), error))(scope, receive, marked_send)
        finally:
            _note(scope, status, time.perf_counter() - started, request_id)


class ShortWay:
    """Takes the requests with these methods and paths straight to what answers them, and all others through the framework.

    What the framework has around every route – handlers of errors, stacks of what is to be closed, the table of routes – does
    nothing for an endpoint that answers by itself, and each of these layers is passed once in and twice out.
    """

    def __init__(self, app: ASGIApp, doors: Mapping[tuple[str, str], ASGIApp]) -> None:
        self.app = app
        self.doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        door = self.doors.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        await (door or self.app)(scope, receive, send)


def _note(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    # The route's template, not the path: a path holds ids, and a wrong path may hold anything.
    route = getattr(scope.get("route"), "path", None) or "unmatched"
    method = scope["method"] if scope["method"] in metrics.METHODS else "OTHER"
    series = _series.get((method, route, status))
    if series is None:
        series = _series[method, route, status] = metrics.requests.labels(method, route, str(status))
    series.observe(seconds)
    if _access.isEnabledFor(logging.INFO):
        _access.info(
            "request",
            extra={
                "request_id": request_id,
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "actor": scope.get("actor_id"),
            },
        )
