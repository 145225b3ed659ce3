"""Questionnaires through their doors, and what they make of a purchase. Everybody here is synthetic."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.questionnaires.service import load_shipped
from tests.conftest import MOMENT, SettableClock
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU
from tests.factories.world import DISEASE, World
from tests.questionnaires.test_rules import choice, number, yes_no


def a_questionnaire(*questions: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "division": FUTIAN,
        "disease": DISEASE,
        "zh": "合成问询",
        "en": "Synthetic questions",
        "valid_from": "2026-02-15",
        "questions": list(questions),
    } | members


async def declare(official: httpx.AsyncClient, *questions: dict[str, Any], **members: Any) -> dict[str, Any]:
    answer = await official.post("/v1/questionnaires", json=a_questionnaire(*questions, **members))
    assert answer.status_code == 201, answer.text
    declared: dict[str, Any] = answer.json()
    return declared


async def asked(till: httpx.AsyncClient, division: str = SHATOU, **parameters: str) -> list[dict[str, Any]]:
    answer = await till.get("/v1/questionnaires", params={"division": division} | parameters)
    assert answer.status_code == 200, answer.text
    shown: list[dict[str, Any]] = answer.json()["questionnaires"]
    return shown


class TestWhatIsAsked:
    async def test_is_nothing_where_nothing_is_declared(self, till: httpx.AsyncClient) -> None:
        assert await asked(till) == []

    async def test_is_what_an_official_declared_from_its_first_day_on(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient
    ) -> None:
        first = await declare(official, yes_no(), number(), choice())
        second = await declare(official, yes_no(), valid_from="2026-02-20", source="A synthetic notice")
        assert (first["version"], second["version"]) == (1, 2)
        assert [one["id"] for one in await asked(till)] == [first["id"]]
        assert [one["id"] for one in await asked(till, on="2026-02-20")] == [second["id"]]
        assert await asked(till, on="2026-02-14") == []
        assert (await asked(till))[0]["questions"] == [yes_no(), number(), choice()]

    async def test_is_nothing_where_nobody_is_registered(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient
    ) -> None:
        await declare(official, yes_no())
        quiet = {"division": SHATOU, "disease": DISEASE, "state": "counts", "valid_from": "2026-02-15"}
        assert (await official.post("/v1/regimes", json=quiet)).status_code == 201
        assert await asked(till) == []
        assert await asked(till, FUTIAN) != []

    async def test_need_not_be_sent_again_while_it_holds(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient
    ) -> None:
        await declare(official, yes_no())
        first = await till.get("/v1/questionnaires", params={"division": SHATOU})
        held = {"If-None-Match": first.headers["etag"]}
        again = await till.get("/v1/questionnaires", params={"division": SHATOU}, headers=held)
        assert (again.status_code, again.content) == (304, b"")
        await declare(official, number())
        third = await till.get("/v1/questionnaires", params={"division": SHATOU}, headers=held)
        assert third.status_code == 200

    async def test_is_asked_of_a_place_that_exists(self, till: httpx.AsyncClient) -> None:
        answer = await till.get("/v1/questionnaires", params={"division": "990000"})
        assert (answer.status_code, answer.json()["code"]) == (422, "division_unknown")
        assert answer.json()["errors"][0]["pointer"] == "?division"


class TestDeclaring:
    async def test_keeps_what_was_declared_before(self, official: httpx.AsyncClient, till: httpx.AsyncClient) -> None:
        ids = [(await declare(official, number(maximum=maximum)))["id"] for maximum in (20, 30, 40)]
        page = (await till.get("/v1/questionnaires/versions", params={"disease": DISEASE, "limit": 2})).json()
        rest = await till.get("/v1/questionnaires/versions", params={"limit": 2, "cursor": page["next_cursor"]})
        assert [one["id"] for one in page["items"] + rest.json()["items"]] == ids[::-1]
        nowhere = await till.get("/v1/questionnaires/versions", params={"division": LUOHU})
        assert nowhere.json()["items"] == []

    async def test_the_same_again_makes_no_new_version(self, official: httpx.AsyncClient) -> None:
        first = await declare(official, choice(kind="multiple_choice"))
        again = await official.post("/v1/questionnaires", json=a_questionnaire(choice(kind="multiple_choice")))
        assert (again.status_code, again.json()) == (200, first)

    async def test_is_written_down(self, official: httpx.AsyncClient, database: Database) -> None:
        declared = await declare(official, yes_no())
        async with database.transaction() as session:
            rows = await session.execute(
                text("SELECT subject_id::text, detail FROM audit_entries WHERE action = 'questionnaire.declared'")
            )
            [(subject, detail)] = rows.all()
        assert subject == declared["id"]
        assert detail == {"disease": DISEASE, "version": 1, "questions": 1, "valid_from": "2026-02-15"}

    @pytest.mark.parametrize(
        ("members", "status", "finding"),
        [
            ({"valid_from": "2026-02-14"}, 422, ("/valid_from", "begins_in_past")),
            ({"valid_to": "2026-02-15"}, 422, ("", "period_empty")),
            ({"division": "990000"}, 403, ("/division", "out_of_division")),
            ({"division": LUOHU}, 403, ("/division", "out_of_division")),
            ({"questions": [yes_no(), yes_no()]}, 422, ("", "question_twice")),
            ({"questions": [number(minimum=61)]}, 422, ("/questions/0/number", "bounds_invalid")),
            ({"questions": [yes_no(type="free_text")]}, 422, ("/questions/0", "union_tag_invalid")),
        ],
    )
    async def test_what_cannot_hold_is_refused(
        self, official: httpx.AsyncClient, members: dict[str, Any], status: int, finding: tuple[str, str]
    ) -> None:
        refused = await official.post("/v1/questionnaires", json=a_questionnaire(yes_no(), **members))
        assert refused.status_code == status, refused.text
        assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == [finding]

    async def test_is_an_official_s_act(self, till: httpx.AsyncClient) -> None:
        assert (await till.post("/v1/questionnaires", json=a_questionnaire(yes_no()))).status_code == 403


class TestAPurchase:
    async def test_is_a_clue_by_the_questionnaire_in_force_on_its_day(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, world: World, clock: SettableClock
    ) -> None:
        await declare(official, number(clue_from=14), choice("contact_with_case_14d", clue=["work"]))
        answers = {"days_ill": 14}
        told = (await till.post("/v1/registrations", json=world.purchase(answers=answers))).json()
        assert told["flags"] == ["exposure"]
        assert [one["code"] for one in told["advice"]] == ["refer_to_fever_clinic"]
        clock.moment += timedelta(hours=23)
        await declare(official, number(clue_from=None), valid_from="2026-02-16")
        late = world.purchase(answers=answers)
        assert (await till.post("/v1/registrations", json=late)).json()["flags"] == ["exposure"]
        today = world.purchase(answers=answers, purchased_at="2026-02-16T08:00:00+08:00")
        assert (await till.post("/v1/registrations", json=today)).json()["flags"] == []

    async def test_with_an_answer_that_nobody_asked_for_is_refused_with_pointers(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        await declare(official, yes_no(), number())
        wrong = world.purchase(answers={"bitten": "maybe", "days_ill": 61, "bited": True})
        refused = await till.post("/v1/registrations", json=wrong)
        assert refused.status_code == 422
        assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == [
            ("/answers/bited", "question_unknown"),
            ("/answers/bitten", "answer_type_wrong"),
            ("/answers/days_ill", "answer_out_of_range"),
        ]
        rows = [world.purchase(answers={"bitten": True}), wrong]
        batch = (await till.post("/v1/registrations/batch", json=rows)).json()
        assert [one["status"] for one in batch["results"]] == ["created", "invalid"]
        async with database.transaction() as session:
            assert (await session.execute(text("SELECT answers FROM registrations"))).scalars().all() == [
                {"bitten": True}
            ]

    async def test_without_a_required_answer_is_kept_and_incomplete(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, world: World
    ) -> None:
        await declare(official, yes_no(required=True))
        body = world.purchase()
        first = await till.post("/v1/registrations", json=body)
        assert first.status_code == 201
        assert first.json()["flags"] == ["incomplete"]
        assert [(one["pointer"], one["code"]) for one in first.json()["warnings"]] == [
            ("/answers/bitten", "required_by_questionnaire")
        ]
        assert (await till.post("/v1/registrations", json=body)).json() == first.json()
        whole = {"reason": "Asked on the phone (synthetic)", "registration": body | {"answers": {"bitten": False}}}
        mended = await till.post(f"/v1/registrations/{first.json()['id']}/corrections", json=whole)
        assert (mended.status_code, mended.json()["flags"]) == (201, [])

    async def test_of_a_till_that_was_offline_since_an_earlier_version_is_kept_with_a_warning(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, world: World, clock: SettableClock
    ) -> None:
        await declare(official, yes_no(), yes_no("travelled"))
        clock.moment += timedelta(days=1)
        await declare(official, choice("bitten", "multiple_choice"), valid_from="2026-02-16")
        bought = world.purchase(purchased_at="2026-02-16T09:00:00+08:00", answers={"bitten": True, "travelled": False})
        clock.moment += timedelta(days=1)
        told = (await till.post("/v1/registrations", json=bought)).json()
        assert told["flags"] == ["exposure", "late"]
        assert [(one["pointer"], one["code"]) for one in told["warnings"]] == [
            ("/answers/bitten", "answer_outdated"),
            ("/answers/travelled", "question_not_asked"),
        ]
        modern = world.purchase(purchased_at="2026-02-16T09:00:00+08:00", answers={"bitten": ["work", "home", "work"]})
        assert (await till.post("/v1/registrations", json=modern)).json()["warnings"] == []
        again = modern | {"answers": {"bitten": ["home", "work"]}}  # in another order it is the same answer
        assert (await till.post("/v1/registrations", json=again)).status_code == 200


class TestWhatShips:
    async def test_is_asked_at_once_and_changes_nothing_for_tills_that_do_not_ask(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        for expected in (2, 0):
            async with database.transaction() as session:
                assert len(await load_shipped(session, actor=SYSTEM, now=MOMENT)) == expected
        [form] = await asked(till)
        assert (form["disease"], form["shipped"]) == (DISEASE, True)
        assert "choice" in form["source"]
        assert (await till.post("/v1/registrations", json=world.purchase())).json()["warnings"] == []
        exposed = world.purchase(answers={"stay_in_affected_area_14d": True, "contact_with_case_14d": False})
        told = (await till.post("/v1/registrations", json=exposed)).json()
        assert (told["flags"], told["warnings"]) == (["exposure"], [])

    async def test_gives_way_to_what_an_authority_declares(
        self, official: httpx.AsyncClient, till: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as session:
            await load_shipped(session, actor=SYSTEM, now=MOMENT)
        declared = await declare(official, yes_no())
        assert [one["id"] for one in await asked(till)] == [declared["id"]]
        stopped = await official.post("/v1/questionnaires", json=a_questionnaire())
        assert stopped.status_code == 201
        assert [one["questions"] for one in await asked(till)] == [[]]
