"""Every operation of the OpenAPI document under generated requests, good and bad: it answers only what it says it answers."""

import asyncio
import queue
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks as conforms
from sqlalchemy.engine import make_url

from app.auth.rules import MAY, Role
from app.core.database import Database
from app.core.handlers import Registry
from app.core.http import Services
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.flow import Flow
from app.main import create_app
from app.serving import blueprint
from tests.architecture.doors import permission_of, routes
from tests.conftest import SettableClock, fresh_database
from tests.factories.divisions import SHATOU
from tests.factories.world import DISEASE, World, a_case, a_person, build_world
from tests.imports.tables import HEADER, a_row, as_csv, import_worker

EXAMPLES = 30
CHECKS = [
    not_a_server_error,
    conforms.status_code_conformance,
    conforms.content_type_conformance,
    conforms.response_headers_conformance,
    conforms.response_schema_conformance,
]

SCHEMA = schemathesis.openapi.from_dict(blueprint().openapi())
OPERATIONS = {
    f"{method} {route.path_format}": permission_of(route)
    for route in routes()
    if route.include_in_schema
    for method in sorted(route.methods or ())
}
"""Every operation with its permission."""
LABELS = sorted(OPERATIONS, key=lambda label: label.startswith("DELETE"))
"""What deletes comes last: the others need what is there."""
# The first of these roles that has the permission calls; two officials would be one too many for a till.
CALLERS = (Role.PHARMACY, Role.OFFICIAL, Role.EPIDEMIOLOGIST, Role.HEALTH_AUTHORITY, Role.AUDITOR, Role.ADMIN)

PLAUSIBLE: dict[str, Any] = {
    "authority": "440304-CDC",
    "buyer": a_person(),
    "disease": DISEASE,
    "division": SHATOU,
    "divisions": [SHATOU],
    "enrolled_on": "2026-01-01",
    "items": [{"name": "布洛芬缓释胶囊", "quantity": 1}],
    "kinds": ["case.matched"],
    "patient": None,
    "person": {key: value for key, value in a_person().items() if key != "address"},
    "pharmacy_id": None,
    "purchased_at": "2026-02-15T09:41:07+08:00",
    "valid_from": "2027-01-01",
    "valid_to": None,
    "url": "https://subscriber.example/hook",
}
"""What generated requests would hardly ever hit, by member: half of the requests get it, and reach the verbs."""


@dataclass(frozen=True, slots=True)
class Service:
    """The service under test: where it listens, a token per role, an existing id for each path parameter."""

    url: str
    tokens: dict[Role, str]
    ids: dict[str, str]


async def play(world: World, clock: SettableClock, keyring: Keyring, client: httpx.AsyncClient) -> dict[str, str]:
    """Let a story happen; return an id of each thing that came of it."""
    as_role = {role: {"Authorization": f"Bearer {token}"} for role, token in world.tokens.items()}
    as_role["pharmacy"] = {"Authorization": f"Bearer {world.tills[0]}"}

    async def post(role: str, path: str, body: Any) -> dict[str, Any]:
        answer = await client.post(path, json=body, headers=as_role[role])
        assert answer.status_code in (201, 202), answer.text
        return dict(answer.json())

    async def first(role: str, path: str) -> dict[str, Any]:
        return dict((await client.get(path, headers=as_role[role])).json()["items"][0])

    pharmacy = str(world.pharmacies[0])
    hook = {"url": PLAUSIBLE["url"], "kinds": ["case.matched"], "divisions": [], "diseases": [], "detail": "thin"}
    subscription = (await post("official", "/v1/subscriptions", hook))["id"]
    registration = await post("pharmacy", "/v1/registrations", world.purchase(temperature_c=37.8))
    table = as_csv([HEADER, a_row(2), a_row(3, 体温="hot")])
    csv = as_role["pharmacy"] | {"Content-Type": "text/csv"}
    handed_in = await client.post("/v1/registrations/import", content=table, headers=csv)
    clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
    case = await post("health_authority", "/v1/cases", a_case())
    told = {"items": [{"pharmacy_id": pharmacy, "purchased_on": "2026-02-12"}]}
    declared = await post("epidemiologist", f"/v1/cases/{case['id']}/declared-purchases", told)
    registry = Registry()
    Flow(keyring).register(registry)
    await Runner(world.database, registry, clock=clock).drain()
    await import_worker(world.database, keyring, clock).drain()
    return {
        "pharmacy_id": pharmacy,
        "key_id": (await post("official", f"/v1/pharmacies/{pharmacy}/keys", {"name": "till"}))["id"],
        "subscription_id": subscription,
        "delivery_id": (await first("official", f"/v1/subscriptions/{subscription}/deliveries"))["id"],
        "registration_id": registration["id"],
        "drug_id": registration["items"][0]["drug_id"],
        "import_id": handed_in.json()["id"],
        "case_id": case["id"],
        "purchase_id": declared["items"][0]["id"],
        "match_id": (await first("epidemiologist", "/v1/matches"))["id"],
        "decision_id": (await first("official", "/v1/rewards/decisions"))["id"],
        "alert_id": (await first("official", "/v1/alerts"))["id"],
        "buyer_id": (await first("epidemiologist", "/v1/registrations"))["buyer_id"],
    }


async def serve(server_url: str, template: str, ready: "queue.Queue[tuple[uvicorn.Server, Service]]") -> None:
    """Serve the application over a socket, with a database of its own, until told to stop."""
    async with fresh_database(server_url, template) as url:
        database, clock, keyring = Database(url), SettableClock(), Keyring({1: bytes(range(32))})
        world = await build_world(database)
        app = create_app(Services(Settings(database_url=url), database, clock, keyring))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sentinel.test") as client:
            ids = await play(world, clock, keyring, client)
        tokens = {Role(role): token for role, token in world.tokens.items() if role in list(Role)}
        tokens[Role.PHARMACY] = world.tills[0]
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
            ready.put((server, Service(f"http://127.0.0.1:{listening.getsockname()[1]}", tokens, ids)))
            await server.serve(sockets=[listening])
        await database.dispose()


@pytest.fixture(scope="module")
def service(server_url: str, migrated_url: str) -> Iterator[Service]:
    ready: queue.Queue[tuple[uvicorn.Server, Service]] = queue.Queue()
    template = str(make_url(migrated_url).database)
    thread = threading.Thread(target=lambda: asyncio.run(serve(server_url, template, ready)))
    thread.start()
    server, found = ready.get(timeout=60)
    yield found
    server.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


def made_plausible(part: Any) -> Any:
    """Return a part of a generated request with members that exist in the city, where the generator put any."""
    if isinstance(part, list):
        return [made_plausible(item) for item in part]
    if isinstance(part, dict):
        return {key: PLAUSIBLE[key] if key in PLAUSIBLE else made_plausible(value) for key, value in part.items()}
    return part


class TestEveryOperation:
    @pytest.mark.parametrize("label", LABELS)
    def test_answers_only_as_documented(self, service: Service, label: str) -> None:
        operation = SCHEMA.find_operation_by_label(label)
        assert operation is not None
        permission = OPERATIONS[label]
        headers = {}
        if permission is not None:
            role = next(role for role in CALLERS if role in MAY[permission])
            headers["Authorization"] = f"Bearer {service.tokens[role]}"
        good = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        bad = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        requests = st.one_of(good, bad) if operation.body or operation.path_parameters or operation.query else good

        @seed(20260215)
        @settings(
            max_examples=EXAMPLES,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=requests, plausible=st.booleans())
        def ask(case: schemathesis.Case, plausible: bool) -> None:
            if plausible:
                case.path_parameters = {name: service.ids[name] for name in case.path_parameters}
                case.query = made_plausible(case.query)
                case.body = made_plausible(case.body)
            case.call_and_validate(base_url=service.url, headers=headers, checks=CHECKS)

        ask()
