"""What nobody should send: always a problem that says so, never a fault, never kept, never repeated."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.middleware import DEFAULT_BODY_LIMIT
from app.core.pagination import encode_cursor
from tests.conftest import Clients
from tests.factories.pharmacies import pharmacy_body
from tests.factories.world import World, a_case, a_purchase

JSON = {"content-type": "application/json"}
SECRET = "王秘密"  # noqa: S105 - a name that nobody has

ROUTES = {
    "registration": ("till", "/v1/registrations", a_purchase()),
    "batch": ("till", "/v1/registrations/batch", [a_purchase()]),
    "case": ("health_authority", "/v1/cases", a_case(confirmed_at="2026-02-15T09:00:00+08:00")),
    "pharmacy": ("official", "/v1/pharmacies", pharmacy_body(9)),
    "regime": (
        "official",
        "/v1/regimes",
        {"division": "440304", "disease": "dengue", "state": "register", "valid_from": "2026-01-01"},
    ),
}
"""Role, path and a good body of routes that read their body by hand and of some that the framework reads for."""


class Sender:
    """Sends to a route as one who may; knows how many rows there are."""

    def __init__(self, world: World, client_for: Clients) -> None:
        self.world, self.client_for = world, client_for

    def client(self, route: str) -> httpx.AsyncClient:
        role = ROUTES[route][0]
        return self.client_for(self.world.tills[0] if role == "till" else self.world.tokens[role])

    async def send(self, route: str, content: Any, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client(route).post(ROUTES[route][1], content=content, headers=JSON | given)

    async def rows(self) -> int:
        tables = ("registrations", "people", "cases", "pharmacies", "regime_states", "jobs")
        counted = " + ".join(f"(SELECT count(*) FROM {table})" for table in tables)
        async with self.world.database.transaction() as session:
            return int((await session.execute(text(f"SELECT {counted}"))).scalar_one())


@pytest.fixture
def sender(world: World, client_for: Clients) -> Sender:
    return Sender(world, client_for)


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that an answer is, if it is the expected one and has what every problem has."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"], told["type"]) == (status, code, "about:blank")
    assert answer.headers["x-request-id"] == told["request_id"]
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    return told


every_route = pytest.mark.parametrize("route", ROUTES)


NOT_JSON = (
    *(b"{", b"\x00", b'"\xff\xfe"', b"{'name': 1}", b"{} {}", b"-", b"9" * 5_000),
    *(b"[" * 10_000, b'{"a":' * 10_000, b'{"a":' + b"[" * 10_000, '{"name": "王秘密"'.encode()),
)


def with_secret(route: str, encoding: str) -> bytes:
    body = json.dumps(ROUTES[route][2], ensure_ascii=False)
    return re.sub(r"[\u4e00-\u9fff]+", SECRET, body, count=1).encode(encoding)


class TestABodyThatIsNotJson:
    @every_route
    async def test_cannot_be_read(self, sender: Sender, route: str) -> None:
        before = await sender.rows()
        for content in NOT_JSON:
            problem(await sender.send(route, content), 400, "malformed_body")
        assert await sender.rows() == before

    @every_route
    async def test_by_its_own_word_is_of_another_type(self, sender: Sender, route: str) -> None:
        before = await sender.rows()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
            answer = await sender.send(route, with_secret(route, "utf-8"), content_type=kind)
            problem(answer, 415, "unsupported_media_type")
        for coding in ("gzip", "br"):
            answer = await sender.send(route, b"\x1f\x8b\x08" + with_secret(route, "utf-8"), content_encoding=coding)
            problem(answer, 415, "unsupported_media_type")
        assert await sender.rows() == before

    @every_route
    async def test_but_says_its_charset_is_read(self, sender: Sender, route: str) -> None:
        content = json.dumps(ROUTES[route][2]).encode()
        answer = await sender.send(route, content, content_type='Application/JSON; charset="utf-8"')
        assert answer.status_code in (200, 201), answer.text

    @pytest.mark.parametrize("route", [name for name in ROUTES if name != "regime"])
    async def test_for_its_encoding_cannot_be_read(self, sender: Sender, route: str) -> None:
        problem(await sender.send(route, with_secret(route, "gb18030")), 400, "malformed_body")


class TestABodyThatIsTooLarge:
    @every_route
    async def test_is_refused_before_it_is_read(self, sender: Sender, route: str) -> None:
        problem(await sender.send(route, b"[]", content_length=str(64 * 1024 * 1024)), 413, "body_too_large")

    @every_route
    async def test_is_refused_while_it_comes_in_chunks(self, sender: Sender, route: str) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 64 << 20:
                sent += 1 << 20
                yield b" " * (1 << 20)

        problem(await sender.send(route, endless()), 413, "body_too_large")
        assert sent <= 34 * 1024 * 1024

    async def test_is_one_byte_too_large(self, sender: Sender) -> None:
        good = json.dumps(ROUTES["registration"][2]).encode()
        padded = good + b" " * (DEFAULT_BODY_LIMIT - len(good))
        problem(await sender.send("registration", padded + b" "), 413, "body_too_large")
        assert (await sender.send("registration", padded)).status_code == 201


class TestABodyOfAnotherForm:
    @every_route
    async def test_points_to_what_is_wrong(self, sender: Sender, route: str) -> None:
        before = await sender.rows()
        for content in (b"null", b"17", b'"x"', b"true", b"NaN", b"[[]]", b"[null]", b"{}"):
            answer = await sender.send(route, content)
            if route == "batch" and content.startswith(b"["):
                assert answer.json()["invalid"] == 1
                continue
            told = problem(answer, 422, "invalid_request")
            assert told["errors"], content
            assert {error["pointer"] for error in told["errors"]} <= {"", *("/" + one for one in _members(route))}
        assert await sender.rows() == before

    @pytest.mark.parametrize("route", [name for name in ROUTES if name != "batch"])
    async def test_has_a_member_that_nobody_knows(self, sender: Sender, route: str) -> None:
        for name in ("unknown", "query", "path", "a/b~c", "\x00", "[key]", "x" * 300):
            answer = await sender.send(route, json.dumps(ROUTES[route][2] | {name: SECRET}))
            told = problem(answer, 422, "invalid_request")
            expected = "/" + name.replace("~", "~0").replace("/", "~1")
            assert [(one["pointer"], one["code"]) for one in told["errors"]] == [(expected, "unknown_field")]

    @pytest.mark.parametrize("route", [name for name in ROUTES if name != "batch"])
    async def test_has_a_text_that_is_none(self, sender: Sender, route: str) -> None:
        before = await sender.rows()
        body = json.dumps(ROUTES[route][2] | _texts(route), ensure_ascii=False)
        for written in (r"\u0000", r"\ud800", r"\udc00x", r"\u009b", r"a\nb"):
            answer = await sender.send(route, body.replace("@", written).encode())
            if "ud" in written and answer.status_code == 400:  # a reader of JSON may itself refuse half a character
                problem(answer, 400, "malformed_body")
                continue
            told = problem(answer, 422, "invalid_request")
            assert told["errors"][0]["pointer"].startswith("/")
        assert await sender.rows() == before


def _members(route: str) -> list[str]:
    body = ROUTES[route][2]
    return list(body if isinstance(body, dict) else body[0])


def _texts(route: str) -> dict[str, Any]:
    return {
        "registration": {"buyer": {"name": f"{SECRET}@"}},
        "case": {"case_number": f"{SECRET}@"},
        "pharmacy": {"name": f"{SECRET}@"},
        "regime": {"disease": f"{SECRET}@"},
    }[route]


PURCHASE: list[tuple[dict[str, Any], str, str]] = [
    ({"client_reference": ""}, "/client_reference", "string_pattern_mismatch"),
    ({"client_reference": "x" * 65}, "/client_reference", "string_pattern_mismatch"),
    ({"client_reference": "x\n"}, "/client_reference", "string_pattern_mismatch"),
    ({"client_reference": "王"}, "/client_reference", "string_pattern_mismatch"),
    ({"client_reference": 7}, "/client_reference", "string_type"),
    ({"purchased_at": "2026-02-15T09:41:07"}, "/purchased_at", "time_format"),
    ({"purchased_at": "2026-02-30T09:41:07Z"}, "/purchased_at", "datetime_from_date_parsing"),
    ({"purchased_at": "2026-02-15T25:41:07Z"}, "/purchased_at", "datetime_from_date_parsing"),
    ({"purchased_at": "2026-02-15"}, "/purchased_at", "time_format"),
    ({"purchased_at": 1771119667}, "/purchased_at", "time_format"),
    ({"purchased_at": "0001-01-01T00:00:00+14:00"}, "/purchased_at", "time_out_of_range"),
    ({"purchased_at": "9999-12-31T23:59:59-12:00"}, "/purchased_at", "time_out_of_range"),
    ({"temperature_c": 1e400}, "/temperature_c", "finite_number"),
    ({"temperature_c": float("nan")}, "/temperature_c", "finite_number"),
    ({"temperature_c": "Infinity"}, "/temperature_c", "finite_number"),
    ({"temperature_c": 1e308}, "/temperature_c", "decimal_max_digits"),
    ({"temperature_c": 37.123}, "/temperature_c", "decimal_max_digits"),
    ({"temperature_c": "hot"}, "/temperature_c", "decimal_parsing"),
    ({"temperature_c": True}, "/temperature_c", "decimal_type"),
    ({"temperature_c": 29.99}, "/temperature_c", "greater_than_equal"),
    ({"symptoms": ["fever", "flu"]}, "/symptoms/1", "enum"),
    ({"symptoms": ["fever"] * 21}, "/symptoms", "too_long"),
    ({"answers": {"key": {"deep": 1}}}, "/answers/key", "answer_invalid"),
    ({"answers": {"key": 1.5}}, "/answers/key", "answer_invalid"),
    ({"answers": {"key": 10**30}}, "/answers/key", "answer_invalid"),
    ({"answers": {"key": "Free text"}}, "/answers/key", "answer_invalid"),
    ({"answers": {"key": None}}, "/answers/key", "answer_invalid"),
    ({"answers": {"Free text": True}}, "/answers/Free text", "string_pattern_mismatch"),
    ({"answers": {f"k{number}": 1 for number in range(51)}}, "/answers", "too_long"),
    ({"checks": {"code": "blue"}}, "/checks/code", "enum"),
    ({"checks": {"mask": 1}}, "/checks/mask", "bool_type"),
    ({"items": []}, "/items", "too_short"),
    ({"items": [{"name": "x"}] * 101}, "/items", "too_long"),
    ({"items": [{"name": "x", "quantity": 0}]}, "/items/0/quantity", "greater_than_equal"),
    ({"items": [{"name": "x", "quantity": 1001}]}, "/items/0/quantity", "less_than_equal"),
    ({"items": [{"name": "x", "quantity": True}]}, "/items/0/quantity", "int_type"),
    ({"items": [{"name": "x", "quantity": "1"}]}, "/items/0/quantity", "int_type"),
    ({"items": [{"name": "x", "quantity": 1.5}]}, "/items/0/quantity", "int_type"),
    ({"items": [{"gtin": "６９２２０９７７０１５１３"}]}, "/items/0/gtin", "string_pattern_mismatch"),
    ({"items": [{"trace_codes": ["1" * 19]}]}, "/items/0/trace_codes/0", "string_pattern_mismatch"),
    ({"items": [{"name": "x" * 101}]}, "/items/0/name", "string_too_long"),
    ({"items": [{"name": "x", "batch": "free text"}]}, "/items/0/batch", "string_pattern_mismatch"),
    ({"pharmacy_id": "x"}, "/pharmacy_id", "uuid_parsing"),
    ({"buyer": None}, "/buyer", "model_type"),
    ({"buyer": {"name": "x" * 101}}, "/buyer/name", "string_too_long"),
    (
        {"buyer": {"document": {"type": "resident_id", "number": "1"}}},
        "/buyer/document/number",
        "document_number_invalid",
    ),
    ({"buyer": {"document": {"type": "licence", "number": "1"}}}, "/buyer/document/type", "enum"),
    ({"buyer": {"document": {"type": "passport"}}}, "/buyer/document/number", "required"),
    ({"buyer": {"phone": "110"}}, "/buyer/phone", "phone_invalid"),
    ({"buyer": {"temperature_c": 37}}, "/buyer/temperature_c", "unknown_field"),
    ({"buyer": {"name": "王", "address": {"division": "四四"}}}, "/buyer/address/division", "string_pattern_mismatch"),
    ({"patient": {"name": "王", "temperature_c": 99}}, "/patient/temperature_c", "less_than_equal"),
]


class TestAPurchase:
    async def test_points_to_the_field_that_is_wrong(self, sender: Sender) -> None:
        before = await sender.rows()
        bodies = [a_purchase(f"BAD-{at}") | members for at, (members, _, _) in enumerate(PURCHASE)]
        batch = (await sender.send("batch", json.dumps(bodies))).json()
        assert batch["invalid"] == len(PURCHASE)
        for body, (members, pointer, code), row in zip(bodies, PURCHASE, batch["results"], strict=True):
            told = problem(await sender.send("registration", json.dumps(body)), 422, "invalid_request")
            found = [(error["pointer"], error["code"]) for error in told["errors"]]
            assert found == [(pointer, code)], members
            assert row["errors"] == told["errors"]
        assert await sender.rows() == before

    async def test_with_a_member_named_twice_is_read_as_its_last(self, sender: Sender, world: World) -> None:
        content = json.dumps(a_purchase()).replace('{"client', '{"client_reference": "FIRST", "client', 1)
        answer = await sender.send("registration", content)
        assert answer.status_code == 201
        shown = await sender.client("registration").get(f"/v1/registrations/{answer.json()['id']}")
        assert shown.json()["client_reference"] == "SYN-000001"


class TestACallerWithoutAKey:
    @every_route
    async def test_is_refused(self, sender: Sender, anonymous: httpx.AsyncClient, route: str) -> None:
        before = await sender.rows()
        _, path, body = ROUTES[route]
        for value in (
            *(b"", b"Bearer", b"Bearer ", b"Bearer x", b"Basic dXNlcjpwYXNz", "Bearer 王秘密".encode()),
            *(b"Bearer \xff\xfe\x80", b"Bearer " + b"x" * 10_000, b"bearer sentinel_x y z"),
        ):
            headers = [(b"authorization", value)] if value else []
            answer = await anonymous.post(path, json=body, headers=headers)
            problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert await sender.rows() == before

    async def test_with_two_keys_is_the_last_one_or_nobody(self, sender: Sender, anonymous: httpx.AsyncClient) -> None:
        good = f"Bearer {sender.world.tills[0]}".encode()
        both = [(b"authorization", b"Bearer x"), (b"authorization", good)]
        answer = await anonymous.get("/v1/registrations", headers=both)
        assert answer.status_code in (200, 401)


LISTS = (
    ("official", "/v1/registrations"),
    ("official", "/v1/pharmacies"),
    ("official", "/v1/regimes"),
    ("health_authority", "/v1/cases"),
    ("epidemiologist", "/v1/matches"),
    ("epidemiologist", "/v1/alerts"),
    ("official", "/v1/rewards/decisions"),
    ("auditor", "/v1/audit"),
    ("official", "/v1/subscriptions"),
)


def cursors() -> list[str]:
    uuid, number = "01a2098b-958c-7250-a964-814f36c33736", str(2**63)
    keys = [
        *([], [""], ["x"], ["-1"], [number], ["9" * 400], [uuid, uuid], ["２"], [uuid, uuid, uuid]),
        *(["2026-02-15", uuid], ["2026-02-15T00:00:00", uuid], ["0001-01-01T00:00:00+14:00", uuid]),
        *(["9999-12-31T23:59:59-12:00", uuid], ["2026-02-15T00:00:00+00:00", "x"], ["NaN", uuid]),
    ]
    return ["", "x", "=", "王", "%00", "a" * 501, *(encode_cursor(*key) for key in keys)]


class TestAPage:
    async def test_behind_a_cursor_that_somebody_made_up_is_refused(self, world: World, client_for: Clients) -> None:
        for role, path in LISTS:
            client = client_for(world.tokens[role])
            for cursor in cursors():
                answer = await client.get(path, params={"cursor": cursor})
                if answer.status_code != 200:  # what looks like a key of this list is one
                    told = problem(answer, 422, "invalid_request")
                    assert [error["pointer"] for error in told["errors"]] == ["?cursor"], (path, cursor)

    async def test_of_an_absurd_length_is_refused(self, world: World, client_for: Clients) -> None:
        for role, path in LISTS:
            client = client_for(world.tokens[role])
            for limit in ("0", "-1", "501", "1e3", "9" * 400, "", "x", "１x", "1.5", "NaN", "%00"):
                told = problem(await client.get(path, params={"limit": limit}), 422, "invalid_request")
                assert [error["pointer"] for error in told["errors"]] == ["?limit"], (path, limit)


class TestAPath:
    @pytest.mark.parametrize(
        ("role", "path"),
        [
            ("official", "/v1/registrations/{}"),
            ("official", "/v1/pharmacies/{}"),
            ("health_authority", "/v1/cases/{}"),
            ("official", "/v1/rewards/decisions/{}"),
        ],
    )
    async def test_with_an_id_that_is_none_is_refused(
        self, world: World, client_for: Clients, role: str, path: str
    ) -> None:
        client = client_for(world.tokens[role])
        for part in ("x", "1", "王秘密", "%00", "'", "01a2098b-958c-7250-a964-814f36c3373", "x" * 5000):
            told = problem(await client.get(path.format(part)), 422, "invalid_request")
            assert len(told["errors"]) == 1

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/v1/registrations", {"GET", "POST"}),
            ("/v1/registrations/batch", {"GET", "POST"}),
            ("/v1/pharmacies", {"GET", "POST"}),
            ("/v1/pharmacies/01a2098b-958c-7250-a964-814f36c33736", {"GET", "PATCH"}),
            ("/v1/audit", {"GET"}),
            ("/healthz", {"GET"}),
        ],
    )
    async def test_that_exists_says_which_methods_it_takes(
        self, anonymous: httpx.AsyncClient, path: str, allowed: set[str]
    ) -> None:
        for method in {"PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "FROB"} - allowed:
            answer = await anonymous.request(method, path)
            assert set(answer.headers["allow"].split(", ")) == allowed, method
            if method != "HEAD":
                problem(answer, 405, "method_not_allowed")

    @pytest.mark.parametrize(
        "path", ["/", "/v1", "/v1/registrations/", "/v1/nothing", "/v1/registrations//x", "/王秘密"]
    )
    async def test_that_does_not_exist_is_not_found_nor_redirected(
        self, anonymous: httpx.AsyncClient, path: str
    ) -> None:
        for method in ("GET", "POST"):
            problem(await anonymous.request(method, path), 404, "not_found")


BAD = {**a_purchase(), "client_reference": "x" * 200, "temperature_c": 99, "symptoms": 1}


class TestTheLanguageOfAProblem:
    @pytest.mark.parametrize("language", [None, "en", "en;q=0.9, zh;q=0.8", "fr", "*", "zh;q=0"])
    async def test_is_english_unless_chinese_is_preferred(self, sender: Sender, language: str | None) -> None:
        answer = await sender.send("registration", b"{", **({"accept_language": language} if language else {}))
        told = problem(answer, 400, "malformed_body")
        assert (told["title"], told["detail"]) == ("The body cannot be read", "The body is not valid JSON in UTF-8")
        assert (answer.headers["content-language"], answer.headers["vary"]) == ("en", "Accept-Language")

    @pytest.mark.parametrize("route", ["registration", "pharmacy"])
    async def test_is_chinese_for_who_prefers_it_and_programs_read_the_same(self, sender: Sender, route: str) -> None:
        body = json.dumps(BAD if route == "registration" else {"name": "", "uscc": 7, "x": 1}).encode()
        english = await sender.send(route, body)
        chinese = await sender.send(route, body, accept_language="zh-CN,zh;q=0.9,en;q=0.8")
        told, said = (problem(answer, 422, "invalid_request") for answer in (english, chinese))
        assert (chinese.headers["content-language"], chinese.headers["vary"]) == ("zh", "Accept-Language")
        assert said["title"] == "请求无效"
        assert len(said["errors"]) > 2
        assert all(re.search("[\u4e00-\u9fff]", error["detail"]) for error in said["errors"])
        for problem_of in (told, said):
            problem_of.pop("title"), problem_of.pop("request_id")
            for error in problem_of["errors"]:
                error.pop("detail")
        assert told == said

    async def test_carries_figures_over(self, sender: Sender) -> None:
        answer = await sender.send("registration", json.dumps(BAD).encode(), accept_language="zh")
        messages = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
        assert messages["/temperature_c"] == "不得大于 45"
        assert messages["/client_reference"] == "格式不符,须符合 ^[A-Za-z0-9._:/-]{1,64}$"

    async def test_is_chinese_wherever_a_request_is_refused(self, sender: Sender, anonymous: httpx.AsyncClient) -> None:
        chinese = {"accept-language": "zh"}
        limit = str(64 * 1024 * 1024)
        till = sender.client("registration")
        answers = [
            await till.post("/v1/registrations", content=b"{}", headers=chinese | {"content-length": limit}),
            await till.post("/v1/registrations", json={}, headers=chinese | {"idempotency-key": "a b"}),
            await till.post("/v1/registrations", content=b"a", headers=chinese | {"content-type": "text/plain"}),
            await till.post("/v1/cases", json={}, headers=chinese),
            await anonymous.get("/v1/nothing", headers=chinese),
            await anonymous.delete("/v1/catalogue", headers=chinese),
            await anonymous.get("/v1/catalogue", headers=chinese),
        ]
        assert [answer.status_code for answer in answers] == [413, 400, 415, 403, 404, 405, 401]
        for answer in answers:
            assert re.search("[\u4e00-\u9fff]", answer.json()["title"])
            assert re.search("[\u4e00-\u9fff]", answer.json().get("detail", "中"))
            assert answer.headers["content-language"] == "zh"
