"""The client against answers of every kind. Everybody here is synthetic."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from app.client.answers import Problem, Unavailable, UnexpectedAnswer
from app.client.client import Client, Patience

PURCHASE = {
    "client_reference": "POS-1",
    "purchased_at": "2026-02-15T09:41:07+08:00",
    "buyer": {"name": "合成顾客"},
    "items": [{"name": "布洛芬缓释胶囊"}],
}
REGISTERED = {
    "id": "0195",
    "received_at": "2026-02-15T01:41:09Z",
    "revision": 1,
    "items": [{"status": "listed", "drug_id": "7", "drug": "布洛芬"}],
    "flags": ["fever"],
    "advice": [{"code": "refer_to_fever_clinic", "zh": "请", "en": "Please", "text": "请"}],
    "warnings": [{"pointer": "/buyer/phone", "code": "required", "detail": "Missing"}],
    "a_member_of_tomorrow": True,
}
Answer = Callable[[httpx.Request], httpx.Response]


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"title": "T", "status": status, "code": code, "request_id": "r1"}
    body["errors"] = [{"pointer": "/buyer", "code": "identity_missing", "detail": "D"}] if status == 422 else []
    return httpx.Response(
        status, content=json.dumps(body), headers={"content-type": "application/problem+json", **headers}
    )


class Line:
    """What is answered, one after the other; what was asked; how long was waited."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def client(line: Line) -> Iterator[Client]:
    transport = httpx.MockTransport(line)
    with Client("https://sentinel.test", "token-1", transport=transport, sleep=line.waits.append) as made:
        yield made


class TestRegistering:
    def test_returns_what_the_clerk_must_know(self, line: Line, client: Client) -> None:
        line.answers = [httpx.Response(201, json=REGISTERED), httpx.Response(200, json=REGISTERED)]
        first, second = client.register(PURCHASE), client.register(PURCHASE)
        assert (first.is_new, second.is_new) == (True, False)
        assert (first.id, first.flags, first.advice[0].zh, first.items[0].drug) == ("0195", ("fever",), "请", "布洛芬")
        assert (first.received_at.isoformat(), first.warnings[0].code) == ("2026-02-15T01:41:09+00:00", "required")
        assert first.raw["a_member_of_tomorrow"]
        assert json.loads(line.requests[0].content) == PURCHASE
        assert line.requests[0].headers["authorization"] == "Bearer token-1"

    def test_that_is_refused_says_why_and_is_not_sent_again(self, line: Line, client: Client) -> None:
        line.answers = [problem(422, "identity_missing")]
        with pytest.raises(Problem) as refused:
            client.register(PURCHASE)
        error = refused.value
        assert (error.status, error.code, error.request_id) == (422, "identity_missing", "r1")
        assert error.errors[0].pointer == "/buyer"

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(200, text="<html>Log in</html>"),
            httpx.Response(200, json={"id": "0195"}),
            httpx.Response(200, json=[]),
            httpx.Response(200, content=b"\xff"),
            httpx.Response(302, headers={"location": "https://elsewhere.test"}),
            httpx.Response(404, text="Not here"),
            httpx.Response(422, headers={"content-type": "application/problem+json"}, content=b"{}"),
        ],
    )
    def test_answered_by_somebody_else_is_never_taken_for_done(
        self, line: Line, client: Client, answer: httpx.Response
    ) -> None:
        line.answers = [answer]
        with pytest.raises(UnexpectedAnswer):
            client.register(PURCHASE)
        assert len(line.requests) == 1


class TestSendingAgain:
    @pytest.mark.parametrize(
        "trouble",
        [
            problem(503, "database_unavailable"),
            problem(429, "too_many_requests"),
            httpx.Response(502, text="Bad gateway"),
            httpx.Response(408),
            httpx.ConnectError("refused"),
            httpx.ReadTimeout("slow"),
            httpx.RemoteProtocolError("reset"),
            httpx.DecodingError("gzip"),
        ],
    )
    def test_helps_against_what_passes(self, line: Line, client: Client, trouble: httpx.Response | Exception) -> None:
        line.answers = [trouble, trouble, httpx.Response(201, json=REGISTERED)]
        assert client.register(PURCHASE).is_new
        assert len({request.content for request in line.requests}) == 1
        assert 0.25 <= line.waits[0] <= 0.5 <= line.waits[1] <= 1.0

    def test_ends_and_says_what_the_last_trouble_was(self, line: Line, client: Client) -> None:
        line.answers = [problem(503, "try_again")] * 5
        with pytest.raises(Unavailable) as gone:
            client.register(PURCHASE)
        assert (gone.value.code, gone.value.status, len(line.requests)) == ("try_again", 503, 5)

    def test_waits_as_long_as_it_is_asked_to(self, line: Line, client: Client) -> None:
        dated = {"date": "Sun, 15 Feb 2026 02:00:00 GMT", "retry-after": "Sun, 15 Feb 2026 02:00:09 GMT"}
        asked = [{"retry-after": "7"}, dated, {"retry-after": "soon"}]
        line.answers = [*(problem(429, "later", **headers) for headers in asked), httpx.Response(201, json=REGISTERED)]
        client.register(PURCHASE)
        assert 7 <= line.waits[0] <= 8
        assert 9 <= line.waits[1] <= 10
        assert line.waits[2] <= 2

    def test_is_left_to_the_caller_where_the_wait_is_long(self, line: Line, client: Client) -> None:
        line.answers = [problem(429, "later", **{"retry-after": "600"})]
        with pytest.raises(Unavailable) as later:
            client.register(PURCHASE)
        assert (later.value.retry_after, line.waits) == (600.0, [])

    def test_comes_ever_later_but_never_beyond_the_bound(self) -> None:
        patience = Patience(attempts=50, first_wait_seconds=0.5, longest_wait_seconds=30)
        waits = [patience.wait(attempt, None, 1.0) or 0 for attempt in range(1, 50)]
        assert waits == sorted(waits)
        assert waits[-1] == 30
        assert patience.wait(50, None, 1.0) is None

    def test_tells_nothing_of_what_was_sent(self, line: Line, client: Client) -> None:
        line.answers = [httpx.ConnectError("合成顾客")] * 5
        with pytest.raises(Unavailable) as gone:
            client.register(PURCHASE)
        told: BaseException | None = gone.value
        while told is not None:
            assert "合成顾客" not in f"{told}{told.args}"
            told = told.__cause__ or told.__context__


class TestABatch:
    def row(self, index: int, status: str = "created") -> dict[str, Any]:
        return {"index": index, "status": status, "id": None if status == "invalid" else "1", "errors": []}

    def test_has_one_result_per_row(self, line: Line, client: Client) -> None:
        line.answers = [httpx.Response(200, json={"results": [self.row(0), self.row(1, "invalid")]})]
        results = client.register_batch([PURCHASE, b'{"a": 1}'])
        assert [(result.index, result.status) for result in results] == [(0, "created"), (1, "invalid")]
        assert line.requests[0].headers["content-type"] == "application/x-ndjson"
        assert [json.loads(one) for one in line.requests[0].content.split(b"\n")] == [PURCHASE, {"a": 1}]

    @pytest.mark.parametrize("indexes", [[], [0], [1, 0], [0, 1, 2], [0, 0]])
    def test_with_results_for_other_rows_is_unknown(self, line: Line, client: Client, indexes: list[int]) -> None:
        line.answers = [httpx.Response(200, json={"results": [self.row(index) for index in indexes]})]
        with pytest.raises(UnexpectedAnswer):
            client.register_batch([PURCHASE, PURCHASE])

    @pytest.mark.parametrize("rows", [[], [b"{}\n{}"], [b" "], [b"{}"] * 10_001])
    def test_that_is_none_is_not_sent(self, line: Line, client: Client, rows: list[bytes]) -> None:
        with pytest.raises(ValueError, match="1 to 10000 rows"):
            client.register_batch(rows)
        assert line.requests == []

    def test_may_hold_what_no_encoding_can(self, line: Line, client: Client) -> None:
        line.answers = [httpx.Response(200, json={"results": [self.row(0)]})]
        client.register_batch([{"name": "\ud800"}])
        assert line.requests[0].content == rb'{"name":"\ud800"}'


class TestTheClient:
    @pytest.mark.parametrize("url", ["http://sentinel.test", "sentinel.test", "ftp://sentinel.test", "https://", ""])
    def test_speaks_over_https_only(self, url: str) -> None:
        with pytest.raises(ValueError, match="https"):
            Client(url, "token")

    def test_may_speak_to_its_own_machine(self) -> None:
        Client("http://127.0.0.1:8000", "token").close()

    def test_asks_for_the_token_each_time(self, line: Line) -> None:
        tokens = iter(["first", "second"])
        line.answers = [httpx.Response(201, json=REGISTERED)] * 2
        with Client("https://sentinel.test", lambda: next(tokens), transport=httpx.MockTransport(line)) as client:
            client.register(PURCHASE)
            client.register(PURCHASE)
        assert [request.headers["authorization"] for request in line.requests] == ["Bearer first", "Bearer second"]

    def test_does_not_read_for_ever(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        def drip() -> Iterator[bytes]:
            while True:
                yield b" " * 1024 * 1024

        line.answers = [httpx.Response(200, content=drip())]
        transport = httpx.MockTransport(line)
        with (
            Client("https://sentinel.test", "t", transport=transport, patience=Patience(attempts=1)) as client,
            pytest.raises(Unavailable, match="ReadTimeout"),
        ):
            client.register(PURCHASE)


class TestTheFolder:
    def test_can_be_copied(self) -> None:
        from pathlib import Path

        import app.client

        for path in Path(app.client.__path__[0]).glob("*.py"):
            text = path.read_text("utf-8")
            assert "from app" not in text
            assert "import app" not in text
