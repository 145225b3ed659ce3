"""What the documents tell people to type is understood by the service."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.auth.rules import MAY, Role
from app.core.database import Database
from app.core.ids import new_id
from tests.architecture.doors import permission_of, routes
from tests.architecture.tree import ROOT, documents
from tests.conftest import MOMENT, Clients
from tests.factories.world import build_world

CURL = re.compile(r"^curl (.+?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
CALLERS = (Role.PHARMACY, Role.OFFICIAL, Role.EPIDEMIOLOGIST, Role.HEALTH_AUTHORITY, Role.AUDITOR)


@dataclass(frozen=True, slots=True)
class Example:
    """A command of a document, as a request."""

    place: str
    method: str
    path: str
    body: str | None
    is_upload: bool


def examples() -> Iterator[Example]:
    """Yield every curl command of every document that goes to the service."""
    for document in documents():
        for block in re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            for command in CURL.findall(block):
                path = re.search(r'"\$URL(/[^"]*)"', command)
                body = re.search(r"-d '(.*)'", command, re.DOTALL)
                method = re.search(r"-X (\w+)", command)
                if path:
                    yield Example(
                        document.relative_to(ROOT).as_posix(),
                        method[1] if method else "GET",
                        path[1],
                        body[1].replace("'\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"'", MOMENT.isoformat()) if body else None,
                        "--data-binary @" in command,
                    )


EXAMPLES = list(examples())


def role_for(example: Example) -> Role:
    """Return a role that may do what an example does."""
    path = re.sub(r"\$\w+", "x", example.path.partition("?")[0])
    for route in routes():
        if example.method in (route.methods or ()) and route.path_regex.match(path):
            permission = permission_of(route)
            if permission is None:
                return CALLERS[0]  # a public door, open to everybody
            return next(role for role in CALLERS if role in MAY[permission])
    raise LookupError(example)


class TestAnExample:
    @pytest.mark.parametrize(
        "example", EXAMPLES, ids=lambda example: f"{example.place}:{example.method} {example.path}"
    )
    async def test_is_understood(self, example: Example, database: Database, client_for: Clients) -> None:
        world = await build_world(database)
        role = role_for(example)
        client = client_for(world.tills[0] if role is Role.PHARMACY else world.tokens[role])
        path = re.sub(r"\$\w+", str(new_id()), example.path)
        content: str | bytes | None = example.body
        if example.is_upload:  # the file of the example: the template with its sample
            content = (await client.get(f"{path.partition('?')[0]}/template?format=csv")).content
        headers = {"Content-Type": "text/csv" if example.is_upload else "application/json"} if content else {}
        answer = await client.request(example.method, path, content=content, headers=headers)
        # Not there, because the ids are made up; what was said is understood all the same.
        assert answer.status_code in ((404,) if "$" in example.path else (200, 201, 202)), answer.text

    def test_stands_in_every_guide_for_callers(self) -> None:
        told = {example.place for example in EXAMPLES}
        assert {"README.md", "docs/how-to/connect-a-till.md", "docs/how-to/receive-alerts.md"} <= told


class TestTheFirstScreen:
    async def test_shows_the_answer_that_comes_back(self, database: Database, client_for: Clients) -> None:
        world = await build_world(database)
        [example] = [example for example in EXAMPLES if example.place == "README.md"]
        answer = await client_for(world.tills[0]).post(
            example.path, content=example.body, headers={"Content-Type": "application/json"}
        )
        [shown] = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        assert varying_left_out(json.loads(shown)) == varying_left_out(answer.json())
        assert json.loads(shown)["receipt"].keys() <= answer.json()["receipt"].keys()


def varying_left_out(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without what is another each time."""
    items = [{**item, "drug_id": bool(item["drug_id"])} for item in answer["items"]]
    return {**answer, "id": True, "received_at": True, "items": items, "receipt": True}
