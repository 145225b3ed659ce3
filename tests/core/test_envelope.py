"""Around every request: its id, its line in the log, its measurement; and what a fault leaves behind."""

import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core import metrics
from app.core.http import Transaction
from app.core.log import JsonLines, configure
from app.core.middleware import ShortWay
from tests.conftest import Clients
from tests.factories.world import World, a_purchase

IDENTITIES = ("王小样", "11010519491231002", "13800138000", "合成花园")


class Lines(logging.Handler):
    """Log lines as they would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text.append(self.format(record))

    def of(self, name: str) -> list[dict[str, object]]:
        return [line for line in map(json.loads, self.text) if line["logger"] == name]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, root, ours = Lines(), logging.getLogger(), logging.getLogger("sentinel")
    before = ours.level
    root.addHandler(handler)
    ours.setLevel("INFO")
    yield handler
    root.removeHandler(handler)
    ours.setLevel(before)


class TestARequest:
    async def test_has_an_id_of_its_own_or_the_one_that_it_came_with(self, anonymous: httpx.AsyncClient) -> None:
        ids = [(await anonymous.get("/healthz")).headers["x-request-id"] for _ in range(2)]
        assert ids[0] != ids[1]
        given = await anonymous.get("/healthz", headers={"x-request-id": "01a20968-ebd0-7ac0-8095-b613b10a513f"})
        assert given.headers["x-request-id"] == "01a20968-ebd0-7ac0-8095-b613b10a513f"
        for bad in ("short", "x" * 65, "with space in it", 'quote"quote', "王小样王小样王小样"):
            answer = await anonymous.get("/healthz", headers=[(b"x-request-id", bad.encode())])
            assert answer.headers["x-request-id"] != bad
            assert len(answer.headers.get_list("x-request-id")) == 1

    async def test_is_one_line_without_path_query_body_or_identity(
        self, world: World, client_for: Clients, lines: Lines
    ) -> None:
        till = client_for(world.tills[0])
        told = (await till.post("/v1/registrations", json=a_purchase())).json()
        await till.get(f"/v1/registrations/{told['id']}?name=王小样")
        await till.get("/v1/registrations", params={"phone": "13800138000"})
        await till.get("/v1/王小样/13800138000")
        await till.post("/v1/registrations", json=a_purchase("BAD", buyer={"name": "王小样", "phone": "138"}))
        access = lines.of("sentinel.access")
        assert [(line["method"], line["route"], line["status"]) for line in access] == [
            ("POST", "/v1/registrations", 201),
            ("GET", "/v1/registrations/{registration_id}", 200),
            ("GET", "/v1/registrations", 422),
            ("GET", "unmatched", 404),
            ("POST", "/v1/registrations", 422),
        ]
        assert all(line["actor"] for line in access if line["route"] != "unmatched")
        assert {"request_id", "ms", "at", "level"} <= set(access[0])
        written = "".join(lines.text)
        assert not [identity for identity in (*IDENTITIES, told["id"], "name=") if identity in written]

    async def test_is_measured_under_its_template(self, world: World, client_for: Clients) -> None:
        till = client_for(world.tills[0])
        told = (await till.post("/v1/registrations", json=a_purchase())).json()
        await till.get(f"/v1/registrations/{told['id']}")
        await till.request("BREW", "/v1/registrations")
        await till.get("/v1/王小样")
        text = (await till.get("/metrics")).text
        for label in (
            'method="GET",route="/v1/registrations/{registration_id}",status="200"',
            'method="OTHER",route="/v1/registrations",status="405"',
            'route="unmatched",status="404"',
        ):
            assert label in text
        assert 'sentinel_jobs{kind="registrations.recorded",state="ready"} 1.0' in text
        assert not [identity for identity in (*IDENTITIES, told["id"], "王") if identity in text]

    async def test_without_a_key_reaches_health_alone(self, anonymous: httpx.AsyncClient) -> None:
        for path in ("/healthz", "/readyz"):
            assert (await anonymous.get(path)).json() == {"status": "ok"}


class TestAFault:
    @pytest.fixture
    async def answer(self, app: FastAPI, client_for: Clients, lines: Lines) -> httpx.Response:
        @app.get("/fault")
        async def fault(session: Transaction) -> None:
            try:
                raise KeyError("王小样")
            except KeyError as error:
                raise RuntimeError("Key (name)=(王小样) already exists") from error

        return await client_for(None).get("/fault", headers={"x-request-id": "01a20968-ebd0-7ac0-8095-b613b10a5140"})

    async def test_is_a_problem_that_says_nothing_but_its_id(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"] == "01a20968-ebd0-7ac0-8095-b613b10a5140"
        assert answer.json() == {
            "type": "about:blank",
            "title": "Something went wrong on our side",
            "status": 500,
            "code": "internal_error",
            "request_id": "01a20968-ebd0-7ac0-8095-b613b10a5140",
        }

    async def test_is_logged_once_with_its_place_and_without_its_message(
        self, answer: httpx.Response, lines: Lines
    ) -> None:
        [line] = lines.of("sentinel.http")
        assert (line["exception"], line["cause"], line["request_id"]) == (
            "RuntimeError",
            "KeyError",
            "01a20968-ebd0-7ac0-8095-b613b10a5140",
        )
        assert any("test_envelope.py" in place and place.endswith(" fault") for place in line["stack"])  # type: ignore[attr-defined]
        assert not any("王小样" in text for text in lines.text)
        assert lines.of("sentinel.access")[0]["status"] == 500

    async def test_is_measured(self, answer: httpx.Response) -> None:
        assert b'route="/fault",status="500"' in metrics.exposition(())


class TestALogLine:
    def test_of_others_ends_with_their_first_line(self, lines: Lines) -> None:
        logging.getLogger("asyncio").error(
            "Task exception was never retrieved\nfuture: <Task finished exception=IntegrityError('王小样')>"
        )
        assert [line["message"] for line in lines.of("asyncio")] == ["Task exception was never retrieved"]
        assert "王小样" not in "".join(lines.text)

    def test_is_one_line_whatever_it_holds(self, lines: Lines) -> None:
        logging.getLogger("sentinel.x").info("done", extra={"note": "a\nb\u2028", "thing": object()})
        assert [text.count("\n") for text in lines.text] == [0]

    def test_of_the_server_itself_never_holds_a_path(self) -> None:
        root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
        before = (root.handlers[:], root.level, access.disabled)
        try:
            configure("INFO")
            assert access.disabled
            assert isinstance(root.handlers[0].formatter, JsonLines)
        finally:
            root.handlers[:], root.level, access.disabled = before[0], before[1], before[2]


class TestTheShortWay:
    async def test_is_for_its_own_doors_and_nothing_else(self) -> None:
        taken: list[str] = []

        def noting(name: str) -> ASGIApp:
            async def application(scope: Scope, receive: Receive, send: Send) -> None:
                taken.append(name)

            return application

        app = ShortWay(noting("framework"), {("POST", "/here"): noting("door")})
        for scope in (
            {"type": "http", "method": "POST", "path": "/here"},
            {"type": "http", "method": "GET", "path": "/here"},
            {"type": "http", "method": "POST", "path": "/here/"},
            {"type": "lifespan"},
        ):
            await app(scope, None, None)  # type: ignore[arg-type]  # nobody reads and nobody answers
        assert taken == ["door", "framework", "framework", "framework"]

    def test_leads_to_the_two_posts_of_tills(self, app: FastAPI) -> None:
        stack = app.build_middleware_stack()
        assert isinstance(stack, ShortWay)
        assert stack.doors.keys() == {("POST", "/v1/registrations"), ("POST", "/v1/registrations/batch")}

    async def test_has_the_same_envelope(self, world: World, client_for: Clients, lines: Lines) -> None:
        till = client_for(world.tills[0])
        given = {"x-request-id": "01a20968-ebd0-7ac0-8095-b613b10a513f"}
        answers = [
            await till.post("/v1/registrations", json=world.purchase(), headers=given),
            await till.post("/v1/registrations", content=b"{", headers=given | {"content-type": "application/json"}),
            await till.post("/v1/registrations", content=b"x" * 300_000, headers=given),
            await client_for("nobody").post("/v1/registrations", json={}, headers=given),
            await till.put("/v1/registrations", json={}, headers=given),
        ]
        assert [answer.status_code for answer in answers] == [201, 400, 413, 401, 405]
        assert {answer.headers["x-request-id"] for answer in answers} == set(given.values())
        assert all(answer.json()["request_id"] == given["x-request-id"] for answer in answers[1:])
        assert [(line["route"], line["status"]) for line in lines.of("sentinel.access")][:2] == [
            ("/v1/registrations", 201),
            ("/v1/registrations", 400),
        ]
