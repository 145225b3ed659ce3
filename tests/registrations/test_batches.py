"""Many purchases in one body. Everybody here is synthetic."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.database import Database
from app.registrations.models import Registration
from app.registrations.schemas import BatchAnswer
from tests.conftest import Clients
from tests.factories import keys
from tests.factories.pharmacies import enrolled
from tests.factories.world import World, a_person
from tests.registrations.conftest import errors_of, send
from tests.registrations.test_routes import stored

BATCH = "/v1/registrations/batch"
NDJSON = {"content-type": "application/x-ndjson"}


def results(answer: httpx.Response) -> list[tuple[str, list[tuple[str, str]]]]:
    """Status and errors of each row; indexes and form are checked on the way."""
    assert answer.status_code == 200, answer.text
    assert answer.content == BatchAnswer.model_validate_json(answer.content).model_dump_json().encode()
    told = answer.json()
    assert [row["index"] for row in told["results"]] == list(range(len(told["results"])))
    for status in ("created", "duplicate", "conflict", "invalid", "not_required"):
        assert told[status] == sum(row["status"] == status for row in told["results"])
    return [(row["status"], [(one["pointer"], one["code"]) for one in row["errors"]]) for row in told["results"]]


def mixed(world: World) -> list[Any]:
    """Rows of every kind, and what becomes of each if the first one was sent before."""
    known, fresh = world.purchase(client_reference="KNOWN-1"), world.purchase(client_reference="FRESH-1")
    return [
        known,
        fresh,
        fresh,
        fresh | {"temperature_c": 38},
        known | {"temperature_c": 38},
        world.purchase(items=[{"name": "合成维生素C片"}]),
        world.purchase(temperature_c=99, unknown=1),
        world.purchase(buyer=a_person(phone="1")),
        world.purchase(purchased_at="2026-03-15T09:41:07+08:00"),
        17,
        world.purchase(client_reference="FRESH-2"),
    ]


EXPECTED = [
    ("duplicate", []),
    ("created", []),
    ("duplicate", []),
    ("conflict", [("", "client_reference_conflict")]),
    ("conflict", [("", "client_reference_conflict")]),
    ("not_required", [("", "registration_not_required")]),
    ("invalid", [("/temperature_c", "less_than_equal"), ("/unknown", "unknown_field")]),
    ("invalid", [("/buyer/phone", "phone_invalid")]),
    ("invalid", [("/purchased_at", "purchased_in_future")]),
    ("invalid", [("", "model_type")]),
    ("created", []),
]


class TestABatch:
    async def test_in_json_has_one_result_per_row_in_order(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        rows = mixed(world)
        known = await send(till, rows[0])
        answer = await till.post(BATCH, json=rows)
        assert results(answer) == EXPECTED
        ids = [row["id"] for row in answer.json()["results"]]
        assert ids[0] == known["id"]
        assert ids[1] == ids[2] != ids[10]
        assert [row_id for row_id in ids[3:10] if row_id is not None] == []
        assert await stored(database) == 3

    async def test_in_ndjson_has_the_same_results_and_bad_lines_are_rows(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        rows = mixed(world)
        await send(till, rows[0])
        lines = [json.dumps(row).encode() for row in rows]
        lines += [b'{"client_reference": ', b'{"client_reference": "\xff"}', b"  \t", b"", b"[]\r"]
        answer = await till.post(BATCH, content=b"\n".join(lines), headers=NDJSON)
        bad = ("invalid", [("", "json_invalid")])
        assert results(answer) == [*EXPECTED, bad, bad, ("invalid", [("", "model_type")])]
        assert await stored(database) == 3

    async def test_sent_again_creates_nothing(self, till: httpx.AsyncClient, world: World, database: Database) -> None:
        rows = [world.purchase() for _ in range(30)]
        first = (await till.post(BATCH, json=rows)).json()
        again = (await till.post(BATCH, json=rows[::-1])).json()
        assert (first["created"], again["duplicate"]) == (30, 30)
        assert [row["id"] for row in again["results"]] == [row["id"] for row in first["results"]][::-1]
        assert await stored(database) == 30

    async def test_leaves_jobs_for_the_created_rows_alone(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        rows = [world.purchase() for _ in range(501)]
        told = (await till.post(BATCH, json=[*rows, rows[0], rows[0] | {"temperature_c": 40}])).json()
        async with database.transaction() as session:
            payloads = (await session.execute(text("SELECT payload FROM jobs ORDER BY id"))).scalars().all()
        queued = [one for payload in payloads for one in payload["registration_ids"]]
        assert sorted(queued) == sorted(row["id"] for row in told["results"] if row["status"] == "created")
        assert (len(queued), max(len(payload["registration_ids"]) for payload in payloads)) == (501, 500)

    async def test_may_be_of_several_pharmacies_of_a_chain(
        self, database: Database, world: World, client_for: Clients
    ) -> None:
        second = await enrolled(database, 9)
        chain = client_for(await keys.token(database, "pharmacy", pharmacy_ids=[*world.pharmacies, second]))
        row = world.purchase()
        answer = await chain.post(
            BATCH,
            json=[row | {"pharmacy_id": str(one)} for one in (*world.pharmacies, second)]
            + [row, row | {"pharmacy_id": 1}],
        )
        assert results(answer) == [
            ("created", []),
            ("created", []),
            ("invalid", [("/pharmacy_id", "required")]),
            ("invalid", [("/pharmacy_id", "uuid_type")]),
        ]

    @pytest.mark.parametrize(
        ("content", "headers", "code"),
        [
            (b"[]", {}, "too_short"),
            (b"", NDJSON, "row_count"),
            (b"\n \n", NDJSON, "row_count"),
            (b"[" + b"1," * 10_000 + b"1]", {}, "too_long"),
            (b"1\n" * 10_001, NDJSON, "row_count"),
            (b"\n" * 20_001 + b"1", NDJSON, "row_count"),
            (b"{}", {}, "list_type"),
        ],
    )
    async def test_has_one_to_ten_thousand_rows(
        self, till: httpx.AsyncClient, content: bytes, headers: dict[str, str], code: str
    ) -> None:
        answer = await till.post(BATCH, content=content, headers={"content-type": "application/json"} | headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert errors_of(answer) == [("", code)]

    @pytest.mark.parametrize("headers", [{}, NDJSON])
    async def test_of_ten_thousand_rows_is_read(self, till: httpx.AsyncClient, headers: dict[str, str]) -> None:
        lines = b"\n".join([b"1"] * 10_000) if headers else b"[" + b",".join([b"1"] * 10_000) + b"]"
        answer = await till.post(BATCH, content=lines, headers={"content-type": "application/json"} | headers)
        assert answer.json()["invalid"] == 10_000

    async def test_keeps_the_good_rows_of_every_thousand(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        rows = [world.purchase() for _ in range(2)]
        answer = await till.post(BATCH, json=[rows[0], *([1] * 1999), rows[1], rows[0]])
        told = answer.json()
        assert (told["created"], told["duplicate"], told["invalid"]) == (2, 1, 1999)
        assert [told["results"][at]["index"] for at in (0, 1999, 2000, 2001)] == [0, 1999, 2000, 2001]
        assert await stored(database, Registration) == 2
