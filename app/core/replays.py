"""The door of `Idempotency-Key`: holds a POST's transaction open until its answer is known, and keeps both or neither.

Stands between the envelope and the routes. A request without the header costs one look at its headers.
"""

from collections.abc import Awaitable, Callable, Collection
from types import SimpleNamespace
from uuid import UUID

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http import Services, services
from app.core.idempotency import Answer, Use, find_answer, keep_answer, read_key

_HEADER = b"idempotency-key"
_NOT_KEPT = {"content-length", "x-request-id", "ratelimit", "ratelimit-policy"}

WhoAsks = Callable[[Request], Awaitable[UUID | None]]


class Replays:
    """Answers the repeat of a creating POST as the first time.

    `natural` are the paths whose rows have names of their own, by which a repeat is known for ever: there a key is checked for
    its form, and nothing is written for it.
    """

    def __init__(self, app: ASGIApp, who_asks: WhoAsks, natural: Collection[str]) -> None:
        self.app = app
        self.who_asks = who_asks
        self.natural = frozenset(natural)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        values = [value for name, value in scope["headers"] if name == _HEADER]
        if not values:
            await self.app(scope, receive, send)
            return
        key = read_key([value.decode("latin-1") for value in values])
        request = Request(scope, receive)
        account = None if scope["path"] in self.natural else await self.who_asks(request)
        if account is None:  # nobody, which the route's guard says better
            await self.app(scope, receive, send)
            return
        built = services(request)
        use = Use.of(account, key, _told(scope, await request.body()), built.keyring)
        answer, given = await self._answer(scope, await request.body(), built, use)
        if given is not None:
            for message in given:
                await send(message)
            return
        scope["route"] = SimpleNamespace(path=answer.route)
        headers = [(name.encode(), value.encode()) for name, value in answer.headers]
        headers += [(b"content-length", str(len(answer.body)).encode()), (b"idempotency-replayed", b"true")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(
        self, scope: Scope, body: bytes, built: Services, use: Use
    ) -> tuple[Answer, list[Message] | None]:
        """Return the answer that is kept; or the one that is given now, with its messages, its effects committed."""
        try:
            async with built.database.transaction() as session:
                now = built.clock.now()
                earlier = await find_answer(session, use, now=now, keyring=built.keyring)
                if earlier is not None:
                    return earlier, None
                scope["transaction"] = session
                answer, messages = await self._ask(scope, body)
                if answer.status >= 400:
                    raise _Refused(answer, messages)
                await keep_answer(session, use, answer, now=now, keyring=built.keyring)
        except _Refused as refused:
            return refused.answer, refused.messages
        finally:
            scope.pop("transaction", None)
        return answer, messages

    async def _ask(self, scope: Scope, body: bytes) -> tuple[Answer, list[Message]]:
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def collect(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, collect)
        start = messages[0]
        headers = Headers(raw=list(start.get("headers", ())))
        answer = Answer(
            status=start["status"],
            headers=[(name, value) for name, value in headers.items() if name not in _NOT_KEPT],
            body=b"".join(message.get("body", b"") for message in messages[1:]),
            route=getattr(scope.get("route"), "path", None),
        )
        return answer, messages


class _Refused(Exception):
    """Takes the transaction back: nothing was done, so nothing is to be repeated."""

    def __init__(self, answer: Answer, messages: list[Message]) -> None:
        super().__init__()
        self.answer = answer
        self.messages = messages


def _told(scope: Scope, body: bytes) -> bytes:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], kind, body)
    # Each with its length: without that, two requests could be written alike.
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
