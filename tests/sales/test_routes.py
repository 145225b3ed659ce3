from datetime import date, timedelta
from random import Random
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry
from app.auth.rules import SYSTEM
from app.core.database import Database
from app.pharmacies.schemas import PharmacyPatch
from app.pharmacies.service import change_pharmacy
from app.sales.models import SalesItem
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import LUOHU
from tests.factories.pharmacies import enrolled
from tests.factories.world import World
from tests.sales.conftest import IBUPROFEN, LIANHUA, PATH, sales, shown, state


class TestAStatement:
    async def test_is_answered_line_by_line_and_keeps_only_what_is_listed(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        told = await state(till, sales((IBUPROFEN, 12), ("合成牙膏", 3), ("布洛芬乳膏", 1)))
        assert [(item["status"], item["drug"]) for item in told["items"]] == [
            ("listed", "布洛芬"),
            ("unlisted", None),
            ("unlisted", None),
        ]
        assert (told["revision"], told["in_force"], told["unlisted"]) == (1, True, 2)
        assert told["pharmacy_id"] == str(world.pharmacies[0])
        assert [(one["pointer"], one["code"]) for one in told["warnings"]] == [("/items/2", "resembles_listed")]
        async with database.transaction() as session:
            assert (await session.scalars(select(SalesItem.quantity))).all() == [12]

    async def test_sent_again_gets_the_same_answer_and_changes_nothing(self, till: httpx.AsyncClient) -> None:
        body = sales((IBUPROFEN, 12), ("合成牙膏", 3), ("布洛芬乳膏", 1))
        first = await state(till, body)
        assert await state(till, body, 200) == first
        assert await state(till, {**body, "pharmacy_id": first["pharmacy_id"]}, 200) == first
        assert len(await shown(till, revisions=True)) == 1

    async def test_is_replaced_as_a_whole_by_a_later_one_and_stays_as_a_revision(self, till: httpx.AsyncClient) -> None:
        await state(till, sales((IBUPROFEN, 12), (LIANHUA, 2)))
        await state(till, sales((IBUPROFEN, 5)))
        [now] = await shown(till)
        assert [(item["drug"], item["quantity"]) for item in now["items"]] == [("布洛芬", 5)]
        before = (await shown(till, revisions=True))[1]
        assert (before["in_force"], before["revision"], len(before["items"])) == (False, 1, 2)

    async def test_that_is_late_does_not_replace_one_stated_after_it(self, till: httpx.AsyncClient) -> None:
        evening, night = "2026-02-15T09:30:00+08:00", "2026-02-15T09:50:00+08:00"
        assert (await state(till, sales((IBUPROFEN, 9), stated_at=night)))["in_force"]
        assert not (await state(till, sales((IBUPROFEN, 7), stated_at=evening)))["in_force"]
        again = sales((IBUPROFEN, 7), stated_at="2026-02-15T01:30:00Z")
        assert not (await state(till, again, 200))["in_force"]
        [now] = await shown(till)
        assert [item["quantity"] for item in now["items"]] == [9]

    async def test_of_one_time_cannot_say_two_things(self, till: httpx.AsyncClient) -> None:
        moment = "2026-02-15T09:30:00+08:00"
        await state(till, sales((IBUPROFEN, 9), stated_at=moment))
        assert (await state(till, sales((IBUPROFEN, 8), stated_at=moment), 409))["code"] == "sales_statement_conflict"

    async def test_without_items_says_that_nothing_was_sold(self, till: httpx.AsyncClient) -> None:
        told = await state(till, sales())
        assert (told["items"], told["in_force"]) == ([], True)
        [now] = await shown(till)
        assert (now["items"], now["lines"]) == ([], 0)

    async def test_adds_up_lines_that_mean_one_drug(self, till: httpx.AsyncClient) -> None:
        await state(till, sales((IBUPROFEN, 4), ("芬必得 布洛芬缓释胶囊", 0), ("布洛芬片", 3)))
        [now] = await shown(till)
        assert [item["quantity"] for item in now["items"]] == [7]

    @pytest.mark.parametrize("regime", ["counts", "suspended", "register_all"])
    async def test_is_taken_in_every_regime(
        self, official: httpx.AsyncClient, till: httpx.AsyncClient, regime: str
    ) -> None:
        declared = {"division": "440304", "disease": "covid-19", "state": regime, "valid_from": "2026-02-15"}
        assert (await official.post("/v1/regimes", json=declared)).status_code == 201
        await state(till, sales((IBUPROFEN, 1)))

    @pytest.mark.parametrize(
        ("members", "pointer", "code"),
        [
            ({"day": "2026-02-16"}, "/day", "day_in_future"),
            ({"day": "2026-01-15"}, "/day", "day_too_long_ago"),
            ({"day": 20260215}, "/day", "date_format"),
            ({"stated_at": "2026-02-15T12:00:00+08:00"}, "/stated_at", "stated_in_future"),
            ({"items": [{"name": "x", "quantity": -1}]}, "/items/0/quantity", "greater_than_equal"),
            ({"items": [{"name": "x", "quantity": "1"}]}, "/items/0/quantity", "int_type"),
            ({"items": [{"quantity": 1}]}, "/items/0", "product_unnamed"),
            ({"items": [{"name": "x", "quantity": 1}] * 2001}, "/items", "too_long"),
            ({"buyer": {"name": "王小样"}}, "/buyer", "unknown_field"),
        ],
    )
    async def test_that_makes_no_sense_is_refused_with_a_pointer(
        self, till: httpx.AsyncClient, members: dict[str, Any], pointer: str, code: str
    ) -> None:
        told = await state(till, sales((IBUPROFEN, 1)) | members, 422)
        assert [(error["pointer"], error["code"]) for error in told["errors"]] == [(pointer, code)]
        assert await shown(till) == []

    async def test_of_a_closed_pharmacy_is_refused_from_that_day_on(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        patch = PharmacyPatch.model_validate({"standing": "closed", "standing_from": "2026-02-15", "reason": "Closed"})
        async with database.transaction() as session:
            await change_pharmacy(session, world.pharmacies[0], patch, actor=SYSTEM, now=MOMENT)
        assert (await state(till, sales((IBUPROFEN, 1)), 410))["code"] == "pharmacy_closed"
        await state(till, sales((IBUPROFEN, 1), day="2026-02-14"))

    async def test_is_written_to_the_trail_once(self, till: httpx.AsyncClient, database: Database) -> None:
        for _ in range(2):
            await till.post(PATH, json=sales((IBUPROFEN, 12), ("合成牙膏", 3)))
        async with database.transaction() as session:
            [entry] = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "sales.reported"))).all()
        assert entry.detail | {"pharmacy_id": ""} == {
            "pharmacy_id": "",
            "day": "2026-02-15",
            "revision": 1,
            "in_force": True,
            "lines": 2,
            "listed": 1,
        }


class TestWhoStates:
    async def test_is_a_pharmacy_for_itself(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, anonymous: httpx.AsyncClient, world: World
    ) -> None:
        assert (await anonymous.post(PATH, json=sales())).status_code == 401
        assert (await official.post(PATH, json=sales())).status_code == 403
        other = sales(pharmacy_id=str(world.pharmacies[1]))
        assert (await state(till, other, 403))["code"] == "pharmacy_not_yours"

    async def test_names_the_pharmacy_if_it_is_a_chain(
        self, world: World, client_for: Clients, database: Database
    ) -> None:
        chain = client_for(await keys.token(database, "pharmacy", pharmacy_ids=world.pharmacies))
        assert (await state(chain, sales(), 403))["code"] == "pharmacy_not_yours"
        for pharmacy in world.pharmacies:
            await state(chain, sales((IBUPROFEN, 1), pharmacy_id=str(pharmacy)))
        assert len(await shown(chain)) == 2


class TestTheListOfSales:
    async def test_shows_a_pharmacy_its_own_and_a_division_what_lies_in_it(
        self, world: World, client_for: Clients, database: Database, official: httpx.AsyncClient
    ) -> None:
        for token in world.tills:
            await state(client_for(token), sales((IBUPROFEN, 1)))
        elsewhere = await enrolled(database, 9, division=LUOHU)
        await state(client_for(await keys.token(database, "pharmacy", pharmacy_ids=[elsewhere])), sales())
        assert {one["pharmacy_id"] for one in await shown(client_for(world.tills[1]))} == {str(world.pharmacies[1])}
        assert {one["pharmacy_id"] for one in await shown(official)} == {str(one) for one in world.pharmacies}
        assert await shown(official, division=LUOHU) == []
        assert len(await shown(client_for(world.tokens["epidemiologist"]), pharmacy=str(world.pharmacies[0]))) == 1
        assert (await client_for(world.tokens["health_authority"]).get(PATH)).status_code == 403

    async def test_finds_days(self, till: httpx.AsyncClient) -> None:
        for day in ("2026-02-13", "2026-02-14", "2026-02-15"):
            await state(till, sales((IBUPROFEN, 1), day=day))

        async def days(**query: str) -> list[str]:
            return [one["day"] for one in await shown(till, **query)]

        assert await days() == ["2026-02-15", "2026-02-14", "2026-02-13"]
        assert await days(day="2026-02-14") == ["2026-02-14"]
        assert await days(day_from="2026-02-14") == ["2026-02-15", "2026-02-14"]
        assert await days(day_to="2026-02-14") == ["2026-02-13"]

    async def test_comes_in_pages(self, till: httpx.AsyncClient) -> None:
        for day in ("2026-02-13", "2026-02-14", "2026-02-15"):
            await state(till, sales(day=day))
        first = (await till.get(PATH, params={"limit": 2})).json()
        rest = (await till.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [one["day"] for one in first["items"] + rest["items"]] == ["2026-02-15", "2026-02-14", "2026-02-13"]
        assert rest["next_cursor"] is None


async def reconciled(client: httpx.AsyncClient, status: int = 200, **query: str) -> dict[str, Any]:
    answer = await client.get("/v1/reconciliation", params={"from": "2026-02-13", "to": "2026-02-16"} | query)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


class TestTheReconciliation:
    async def test_sets_registrations_against_counts_day_by_day_in_china(
        self, till: httpx.AsyncClient, world: World
    ) -> None:
        late_evening, next_day = "2026-02-14T23:59:59+08:00", "2026-02-14T16:00:00Z"
        for members in (
            {"purchased_at": late_evening},
            {"purchased_at": "2026-02-13T10:00:00+08:00", "temperature_c": None},
            {"purchased_at": next_day, "items": [{"name": IBUPROFEN, "quantity": 3}]},
        ):
            assert (await till.post("/v1/registrations", json=world.purchase(**members))).status_code == 201
        await state(till, sales((IBUPROFEN, 3), (LIANHUA, 1), day="2026-02-14"))
        await state(till, sales(day="2026-02-15"))
        told = await reconciled(till)
        days = {
            day["day"]: (
                [day[name] for name in ("registrations", "on_time", "late", "incomplete")],
                {drug["drug"]: (drug["registered"], drug["sold"], drug["gap"]) for drug in day["drugs"]},
            )
            for day in told["days"]
        }
        assert days == {
            "2026-02-13": ([1, 0, 1, 1], {"布洛芬": (1, None, None)}),
            "2026-02-14": ([1, 1, 0, 0], {"布洛芬": (1, 3, 2), "连花清瘟胶囊(颗粒)": (0, 1, 1)}),
            "2026-02-15": ([1, 1, 0, 0], {"布洛芬": (3, 0, -3)}),
        }
        totals = ("registrations", "registered", "sold", "unregistered", "days_without_statement")
        assert [told[name] for name in totals] == [3, 5, 4, 3, 1]
        assert [day["statement"] and day["statement"]["revision"] for day in told["days"]] == [None, 1, 1]

    async def test_goes_by_the_statement_in_force(self, till: httpx.AsyncClient) -> None:
        for count in (9, 4):
            await state(till, sales((IBUPROFEN, count)))
        told = await reconciled(till)
        assert (told["sold"], told["days"][-1]["statement"]["revision"]) == (4, 2)

    async def test_shows_the_gap_where_nothing_was_registered(self, till: httpx.AsyncClient) -> None:
        await state(till, sales((IBUPROFEN, 5), day="2026-01-20"))
        [day] = (await reconciled(till, **{"from": "2026-01-20", "to": "2026-01-21"}))["days"]
        assert (day["regime"], day["drugs"][0]["gap"]) == ("register", 5)

    async def test_has_no_gap_where_nothing_had_to_be_registered(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient
    ) -> None:
        declared = {"division": "440304", "disease": "covid-19", "state": "counts", "valid_from": "2026-02-15"}
        assert (await official.post("/v1/regimes", json=declared)).status_code == 201
        await state(till, sales((IBUPROFEN, 5)))
        told = await reconciled(till)
        day = told["days"][-1]
        assert (day["regime"], day["drugs"][0]["sold"], day["drugs"][0]["gap"]) == ("counts", 5, None)
        assert told["unregistered"] == 0

    async def test_agrees_with_counting_every_purchase(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        chance = Random(20260215)
        days = [date(2026, 2, 13) + timedelta(days=number) for number in range(3)]
        bought: dict[tuple[str, str], int] = {}
        rows = []
        for _ in range(60):
            day = chance.choice(days).isoformat()
            items = [
                {"name": name, "quantity": chance.randint(1, 4)}
                for name in chance.choices([IBUPROFEN, LIANHUA, "合成牙膏"], k=3)
            ]
            if all(item["name"] == "合成牙膏" for item in items):
                continue
            for item in items:
                key = (day, str(item["name"]))
                bought[key] = bought.get(key, 0) + int(str(item["quantity"]))
            hour = chance.randint(0, 9)
            rows.append(world.purchase(purchased_at=f"{day}T0{hour}:00:00+08:00", items=items))
        answer = await till.post("/v1/registrations/batch", json=rows)
        assert answer.json()["created"] == len(rows)
        names = {"布洛芬": IBUPROFEN, "连花清瘟胶囊(颗粒)": LIANHUA}
        told = await reconciled(till)
        assert {
            (day["day"], names[drug["drug"]]): drug["registered"] for day in told["days"] for drug in day["drugs"]
        } == {key: quantity for key, quantity in bought.items() if key[1] != "合成牙膏"}
        assert sum(day["registrations"] for day in told["days"]) == len(rows)

    async def test_is_for_the_pharmacy_and_those_over_it(
        self,
        till: httpx.AsyncClient,
        world: World,
        client_for: Clients,
        database: Database,
        official: httpx.AsyncClient,
    ) -> None:
        mine, other = (str(one) for one in world.pharmacies)
        assert (await reconciled(official, 422))["errors"][0]["pointer"] == "?pharmacy"
        assert (await reconciled(official, pharmacy=other))["pharmacy_id"] == other
        assert (await reconciled(till, pharmacy=mine))["pharmacy_id"] == mine
        await reconciled(till, 404, pharmacy=other)
        await reconciled(client_for(await keys.token(database, "official", LUOHU)), 404, pharmacy=mine)
        await reconciled(client_for(world.tokens["auditor"]), 403, pharmacy=mine)

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"to": "2026-02-13"}, "period_empty"),
            ({"to": "2026-05-17"}, "period_too_long"),
            ({"from": "1771119667"}, "date_format"),
            ({"until": "2026-02-16"}, "unknown_field"),
        ],
    )
    async def test_spans_some_days(self, till: httpx.AsyncClient, query: dict[str, str], code: str) -> None:
        assert [error["code"] for error in (await reconciled(till, 422, **query))["errors"]] == [code]
