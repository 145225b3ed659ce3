"""Case lists through the authority's door."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.audit.models import AuditEntry
from app.cases.models import Case
from app.core.database import Database
from app.core.jobs import JobRow
from app.people.models import Person
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, load_divisions
from tests.factories.world import a_case, a_person

CONFIRMED_AT = "2026-02-17T12:10:00Z"


@pytest.fixture
async def authority(database: Database, client_for: Clients, clock: SettableClock) -> httpx.AsyncClient:
    clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
    await load_divisions(database)
    return client_for(await keys.token(database, "health_authority", FUTIAN))


def a_person_with(**members: Any) -> dict[str, Any]:
    """The synthetic person as a case list tells of one: without an address."""
    return {key: value for key, value in a_person().items() if key != "address"} | members


def suspected(number: str = "SYN-001", **members: Any) -> dict[str, Any]:
    return a_case(number, **{"classification": "suspected", "confirmed_at": None} | members)


async def case_jobs(database: Database) -> list[list[str]]:
    async with database.transaction() as session:
        rows = await session.scalars(select(JobRow.payload).where(JobRow.kind == "cases.changed").order_by(JobRow.id))
        return [payload["case_ids"] for payload in rows]


async def count(database: Database, table: type[Any]) -> int:
    async with database.transaction() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


def history(case: dict[str, Any]) -> list[str]:
    return [entry["classification"] for entry in case["history"]]


class TestACase:
    async def test_is_recorded_without_showing_its_identity(self, authority: httpx.AsyncClient) -> None:
        created = await authority.post("/v1/cases", json=a_case())
        assert created.status_code == 201, created.text
        case = created.json()
        assert (case["case_number"], case["confirmed_at"], history(case)) == ("SYN-001", CONFIRMED_AT, ["confirmed"])
        shown = await authority.get(f"/v1/cases/{case['id']}")
        listed = await authority.get("/v1/cases")
        assert shown.json() == case
        assert listed.json()["items"] == [case]
        for told in ("王小样", "11010519491231002X", "13800138000"):
            assert told not in created.text + shown.text + listed.text

    async def test_told_again_changes_nothing(self, authority: httpx.AsyncClient, database: Database) -> None:
        first = (await authority.post("/v1/cases", json=a_case())).json()
        again = await authority.post("/v1/cases", json=a_case())
        assert (again.status_code, again.json()) == (200, first)
        assert await case_jobs(database) == [[first["id"]]]
        assert await count(database, Person) == 1

    async def test_rises_from_suspected_to_probable_to_confirmed(
        self, authority: httpx.AsyncClient, database: Database
    ) -> None:
        for body in (suspected(), suspected(classification="probable"), a_case()):
            answer = await authority.post("/v1/cases", json=body)
            assert answer.status_code in (200, 201), answer.text
        case = answer.json()
        assert history(case) == ["suspected", "probable", "confirmed"]
        assert case["confirmed_at"] == CONFIRMED_AT
        assert [entry["reason"] for entry in case["history"]] == [None] * 3
        assert await case_jobs(database) == [[case["id"]]] * 3

    async def test_is_never_lowered_by_an_older_list(self, authority: httpx.AsyncClient, database: Database) -> None:
        newer = (await authority.post("/v1/cases", json=a_case())).json()
        older = await authority.post("/v1/cases", json=suspected())
        assert (older.status_code, older.json()["code"]) == (409, "case_would_downgrade")
        assert (await authority.get(f"/v1/cases/{newer['id']}")).json() == newer
        assert len(await case_jobs(database)) == 1

    @pytest.mark.parametrize("classification", ["discarded", "probable"])
    async def test_is_not_discarded_or_lowered_by_a_list(
        self, authority: httpx.AsyncClient, classification: str
    ) -> None:
        await authority.post("/v1/cases", json=a_case())
        answer = await authority.post("/v1/cases", json=suspected(classification=classification))
        assert (answer.status_code, answer.json()["code"]) == (409, "case_would_downgrade")

    async def test_gains_what_was_missing(self, authority: httpx.AsyncClient, database: Database) -> None:
        thin = suspected(onset_on=None, person={"name": "王小样", "document": a_person()["document"]})
        before = (await authority.post("/v1/cases", json=thin)).json()
        after = await authority.post("/v1/cases", json=suspected())
        assert after.status_code == 200
        assert after.json()["onset_on"] == "2026-02-14"
        assert after.json()["person_id"] != before["person_id"]
        assert history(after.json()) == ["suspected"]
        again = await authority.post("/v1/cases", json=thin)
        assert again.json() == after.json()
        assert await case_jobs(database) == [[before["id"]]] * 2

    @pytest.mark.parametrize(
        "members",
        [
            {"disease": "dengue"},
            {"onset_on": "2026-02-10"},
            {"division": "440304006"},
            {"confirmed_at": "2026-02-17T20:11:00+08:00"},
            {"person": a_person_with(phone="13800138001")},
            {"person": a_person_with(name="李小样")},
        ],
    )
    async def test_is_not_contradicted(self, authority: httpx.AsyncClient, members: dict[str, Any]) -> None:
        before = (await authority.post("/v1/cases", json=a_case())).json()
        answer = await authority.post("/v1/cases", json=a_case(**members))
        assert (answer.status_code, answer.json()["code"]) == (409, "case_conflict")
        assert (await authority.get(f"/v1/cases/{before['id']}")).json() == before

    @pytest.mark.parametrize(
        ("members", "pointer", "code"),
        [
            ({"confirmed_at": None}, "/confirmed_at", "confirmed_at_required"),
            ({"classification": "probable"}, "/confirmed_at", "confirmed_at_not_allowed"),
            ({"confirmed_at": "2026-02-19T00:00:00+08:00"}, "/confirmed_at", "in_future"),
            ({"onset_on": "2026-02-19"}, "/onset_on", "onset_out_of_range"),
            ({"division": LUOHU}, "/division", "out_of_division"),
            ({"division": "999999"}, "/division", "division_unknown"),
            ({"person": {"name": "?"}}, "/person", "identity_missing"),
            ({"person": a_person_with(phone="1")}, "/person/phone", "phone_invalid"),
            ({"case_number": "X-13800138000"}, "/case_number", "case_number_contains_identity"),
            ({"case_number": "11010519491231002x"}, "/case_number", "case_number_contains_identity"),
        ],
    )
    async def test_is_refused_with_a_pointer(
        self, authority: httpx.AsyncClient, database: Database, members: dict[str, Any], pointer: str, code: str
    ) -> None:
        answer = await authority.post("/v1/cases", json=a_case() | members)
        assert answer.status_code == 422, answer.text
        assert (pointer, code) in [(error["pointer"], error["code"]) for error in answer.json()["errors"]]
        assert await count(database, Case) == 0


class TestACaseList:
    async def test_answers_for_each_row_in_order(self, authority: httpx.AsyncClient) -> None:
        await authority.post("/v1/cases/batch", json=[suspected("SYN-001"), a_case("SYN-002")])
        rows = [
            a_case("SYN-001"),
            a_case("SYN-002"),
            suspected("SYN-002"),
            a_case("SYN-003"),
            {"authority": "440304-CDC"},
            suspected("SYN-004", division=LUOHU),
            a_case("SYN-003"),
        ]
        answer = await authority.post("/v1/cases/batch", json=rows)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert [result["status"] for result in body["results"]] == [
            *("updated", "duplicate", "conflict", "created", "invalid", "invalid", "duplicate"),
        ]
        assert [result["index"] for result in body["results"]] == list(range(7))
        assert body["results"][3]["id"] == body["results"][6]["id"]
        counts = {"created": 1, "updated": 1, "duplicate": 2, "conflict": 1, "invalid": 2}
        assert {name: body[name] for name in counts} == counts

    async def test_may_hold_a_case_more_than_once(self, authority: httpx.AsyncClient, database: Database) -> None:
        rows = [suspected(onset_on=None), suspected(classification="probable"), a_case(), suspected(), a_case()]
        body = "\n".join(json.dumps(row) for row in rows)
        headers = {"content-type": "application/x-ndjson"}
        results = (await authority.post("/v1/cases/batch", content=body, headers=headers)).json()["results"]
        assert [row["status"] for row in results] == ["created", "updated", "updated", "conflict", "duplicate"]
        case = (await authority.get(f"/v1/cases/{results[0]['id']}")).json()
        assert history(case) == ["suspected", "probable", "confirmed"]
        assert case["onset_on"] == "2026-02-14"
        assert await case_jobs(database) == [[case["id"]]]
        assert await count(database, Person) == 1

    async def test_repeats_the_row_that_alone_differs(self, authority: httpx.AsyncClient) -> None:
        rows = [suspected(f"SYN-{number:03d}") for number in range(30)]
        await authority.post("/v1/cases/batch", json=rows)
        rows[7] = a_case("SYN-007")
        answer = (await authority.post("/v1/cases/batch", json=rows)).json()
        assert (answer["updated"], answer["duplicate"]) == (1, 29)

    async def test_is_one_act_in_the_trail(self, authority: httpx.AsyncClient, database: Database) -> None:
        await authority.post("/v1/cases/batch", json=[a_case("SYN-001"), a_case("SYN-002"), a_case("SYN-002")])
        async with database.transaction() as session:
            rows = await session.execute(
                select(AuditEntry.detail, AuditEntry.division).where(AuditEntry.action == "cases.recorded")
            )
            assert [tuple(row) for row in rows] == [({"created": 2, "duplicate": 1}, FUTIAN)]


class TestReclassification:
    async def test_goes_up_and_down_and_keeps_its_history(
        self, authority: httpx.AsyncClient, database: Database
    ) -> None:
        case = (await authority.post("/v1/cases", json=suspected())).json()
        path = f"/v1/cases/{case['id']}/classification"
        for number in range(2):
            for classification, confirmed_at in (("confirmed", CONFIRMED_AT), ("discarded", None), ("probable", None)):
                change = {"classification": classification, "reason": f"第 {number} 次", "confirmed_at": confirmed_at}
                answer = await authority.post(path, json=change)
                assert answer.status_code == 200, answer.text
                assert (answer.json()["classification"], answer.json()["confirmed_at"]) == (
                    classification,
                    confirmed_at,
                )
        assert history(answer.json()) == ["suspected", *["confirmed", "discarded", "probable"] * 2]
        assert [entry["number"] for entry in answer.json()["history"]] == list(range(1, 8))
        assert await case_jobs(database) == [[case["id"]]] * 7
        async with database.transaction() as session:
            trail = await session.scalars(
                select(AuditEntry.detail).where(AuditEntry.action == "case.reclassified").order_by(AuditEntry.id)
            )
            assert trail.first() == {"from": "suspected", "to": "confirmed"}

    async def test_to_the_same_changes_nothing(self, authority: httpx.AsyncClient, database: Database) -> None:
        case = (await authority.post("/v1/cases", json=a_case())).json()
        same = {"classification": "confirmed", "reason": "again", "confirmed_at": "2026-02-17T20:10:00+08:00"}
        answer = await authority.post(f"/v1/cases/{case['id']}/classification", json=same)
        assert (answer.status_code, answer.json()) == (200, case)
        assert len(await case_jobs(database)) == 1

    @pytest.mark.parametrize(
        ("change", "pointer", "code"),
        [
            ({"classification": "confirmed"}, "/confirmed_at", "confirmed_at_required"),
            (
                {"classification": "discarded", "confirmed_at": CONFIRMED_AT},
                "/confirmed_at",
                "confirmed_at_not_allowed",
            ),
            ({"classification": "discarded", "reason": "不是王小样"}, "/reason", "reason_contains_identity"),
            ({"classification": "discarded", "reason": "138 0013 8000"}, "/reason", "reason_contains_identity"),
            ({"classification": "discarded", "reason": " "}, "/reason", "string_too_short"),
        ],
    )
    async def test_is_refused_with_a_pointer(
        self, authority: httpx.AsyncClient, change: dict[str, Any], pointer: str, code: str
    ) -> None:
        case = (await authority.post("/v1/cases", json=a_case())).json()
        answer = await authority.post(f"/v1/cases/{case['id']}/classification", json={"reason": "-", **change})
        assert answer.status_code == 422
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
        assert (await authority.get(f"/v1/cases/{case['id']}")).json() == case


class TestOtherDivisions:
    async def test_neither_see_nor_touch_a_case(
        self, authority: httpx.AsyncClient, client_for: Clients, database: Database
    ) -> None:
        case = (await authority.post("/v1/cases", json=a_case())).json()
        other = client_for(await keys.token(database, "health_authority", LUOHU, name="Synthetic Luohu authority"))
        change = {"classification": "discarded", "reason": "Not ours", "confirmed_at": None}
        for answer in (
            await other.get(f"/v1/cases/{case['id']}"),
            await other.post(f"/v1/cases/{case['id']}/classification", json=change),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await other.get("/v1/cases")).json()["items"] == []
        taken = await other.post("/v1/cases", json=a_case(division=LUOHU))
        assert (taken.status_code, taken.json()["code"]) == (409, "case_conflict")

    async def test_and_other_roles_are_refused(self, client_for: Clients, database: Database) -> None:
        await load_divisions(database)
        for role in ("epidemiologist", "official", "auditor"):
            client = client_for(await keys.token(database, role, FUTIAN))
            assert (await client.post("/v1/cases", json=a_case())).status_code == 403


class TestTheListOfCases:
    async def test_is_filtered_and_paged(self, authority: httpx.AsyncClient, clock: SettableClock) -> None:
        for number in range(5):
            clock.moment += timedelta(minutes=1)
            onset = f"2026-02-1{number}"
            await authority.post("/v1/cases", json=suspected(f"SYN-{number}", onset_on=onset))
        await authority.post("/v1/cases", json=a_case("SYN-5", disease="dengue", division="440304006"))

        async def numbers(**params: Any) -> list[str]:
            answer = await authority.get("/v1/cases", params=params)
            assert answer.status_code == 200, answer.text
            return [case["case_number"] for case in answer.json()["items"]]

        assert await numbers() == ["SYN-5", "SYN-4", "SYN-3", "SYN-2", "SYN-1", "SYN-0"]
        assert await numbers(disease="dengue") == ["SYN-5"]
        assert await numbers(classification="suspected", onset_from="2026-02-12", onset_to="2026-02-14") == [
            *("SYN-3", "SYN-2"),
        ]
        assert await numbers(division="440304006") == ["SYN-5"]
        seen, cursor = [], None
        while True:
            page = (
                await authority.get("/v1/cases", params={"limit": 4} | ({"cursor": cursor} if cursor else {}))
            ).json()
            seen += [case["case_number"] for case in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert seen == await numbers()
