"""A till on the bench: its folder, a service made of a dictionary, and time that passes only when it is told to."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from app.client.client import Client, Patience
from app.till.folder import Folder, Watch
from app.till.rounds import Keeping, Till
from app.till.sender import Sender
from app.till.spool import Spool

NOW = datetime(2026, 2, 15, 2, 0, tzinfo=UTC)
Answer = Callable[[httpx.Request], httpx.Response]


class Time:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return 1000.0 + self.seconds

    def pause(self, seconds: float) -> None:
        self.seconds += max(seconds, 0.01)


class Service:
    """Keeps each reference once, as the real one does; refuses what has a quantity below one; says what it is told to say."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.requests: list[int] = []
        """Rows of each request that arrived."""
        self.plan: list[Answer] = []
        """What to answer next instead."""
        self.not_required: set[str] = set()
        self.poison: set[str] = set()
        """References that make the service fail."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        rows = [json.loads(line) for line in request.content.split(b"\n")]
        self.requests.append(len(rows))
        if self.plan:
            return self.plan.pop(0)(request)
        if any(row["client_reference"] in self.poison for row in rows):
            return problem(500, "internal_error")
        return httpx.Response(200, json={"results": [self._result(at, row) for at, row in enumerate(rows)]})

    def _result(self, index: int, row: dict[str, Any]) -> dict[str, Any]:
        reference = row["client_reference"]
        if reference in self.not_required:
            return self._refusal(index, "not_required", "registration_not_required")
        known = self.kept.get(reference)
        if known is not None:
            if known != row:
                return self._refusal(index, "conflict", "client_reference_conflict")
            return {"index": index, "status": "duplicate", "id": reference, "errors": []}
        if row.get("quantity", 1) < 1:
            return self._refusal(index, "invalid", "greater_than_equal", "/quantity")
        self.kept[reference] = row
        return {"index": index, "status": "created", "id": reference, "errors": []}

    def _refusal(self, index: int, status: str, code: str, pointer: str = "") -> dict[str, Any]:
        errors = [{"pointer": pointer, "code": code, "detail": "Synthetic"}]
        return {"index": index, "status": status, "id": None, "errors": errors}


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    """An error as the service tells it."""
    return httpx.Response(
        status,
        headers={"content-type": "application/problem+json", **headers},
        content=json.dumps({"title": "Synthetic", "status": status, "code": code}),
    )


class Bench:
    """A folder, and tills that work in it one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = Folder(root)
        self.service = Service()
        self.time = Time()

    @contextmanager
    def till(self, settle_seconds: float = 1.0, keeping: Keeping | None = None) -> Iterator[Till]:
        """A till from its start to its end."""
        self.folder.prepare()
        client = Client(
            "https://sentinel.test",
            "synthetic-token",
            patience=Patience(attempts=1),
            transport=httpx.MockTransport(self.service),
        )
        spool = Spool(self.folder.spool)
        try:
            sender = Sender(client, spool, self.time.now, self.time.monotonic)
            watch = Watch(settle_seconds)
            yield Till(self.folder, spool, sender, watch, keeping or Keeping(), self.time.now, self.time.monotonic)
        finally:
            spool.close()
            client.close()

    def once(self) -> bool:
        """Start a till, let it do what it can, end it."""
        with self.till() as till:
            till.recover()
            return till.until_done(self.time.pause)

    def drop(self, name: str, *rows: object, text: str | None = None) -> None:
        """Drop a file as a POS should: under another name first, then renamed."""
        unfinished = self.root / f"{name}.part"
        unfinished.write_text(text if text is not None else "".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        unfinished.rename(self.root / name)

    def refused(self) -> list[dict[str, Any]]:
        """Return all that is listed as refused."""
        lists = sorted(self.folder.refused.glob("*.jsonl"))
        return [json.loads(line) for path in lists for line in path.read_text("utf-8").splitlines()]

    def sent(self) -> list[str]:
        """Return the names of the files that were put away as sent."""
        return sorted(path.name for path in self.folder.sent.glob("*/*"))


def purchase(number: int | str, **members: Any) -> dict[str, Any]:
    """A row by a synthetic buyer."""
    return {"client_reference": f"POS-{number}", "buyer": {"name": "合成顾客"}, "quantity": 1} | members


def unnumbered(**members: Any) -> dict[str, Any]:
    """A row without a reference of its own."""
    return {"buyer": {"name": "合成顾客"}, "purchased_at": "2026-02-15T09:41:07+08:00", "quantity": 1} | members
