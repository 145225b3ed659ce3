"""Sending purchases, and reading what was wrong with one."""

from typing import Any

import httpx


def errors_of(answer: httpx.Response) -> list[tuple[str, str]]:
    """Pointer and code of each error of a problem."""
    return [(one["pointer"], one["code"]) for one in answer.json().get("errors", [])]


async def send(till: httpx.AsyncClient, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
    """Send a purchase; return the answer."""
    answer = await till.post("/v1/registrations", json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told
