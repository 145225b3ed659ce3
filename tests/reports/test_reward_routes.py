"""The reward report over HTTP, against the decisions that it counts."""

import csv
import io
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from app.auth.rules import Role
from app.core.database import Database
from app.core.sealing import Keyring
from app.rewards import service
from tests.conftest import MOMENT, Clients
from tests.factories import divisions, keys
from tests.factories.rewards import CONFIRMED, PURCHASED, World

REPORT = "/v1/rewards/report"


@pytest.fixture
async def official(database: Database, keyring: Keyring, client_for: Clients) -> httpx.AsyncClient:
    """An official of Shenzhen; two pharmacies, five cases of two months, one of them not confirmed, one reward paid."""
    await divisions.load_divisions(database)
    approver, payer = [await keys.actor(database, "official", "4403", name=f"Synthetic {n}") for n in "AB"]
    async with database.transaction() as session:
        world = World(session, keyring)
        shatou, luohu = await world.pharmacy(name="=合成药房"), await world.pharmacy(divisions.LUOHU)
        last_month = CONFIRMED - timedelta(days=20)
        cases = [await world.case(at) for at in (CONFIRMED, CONFIRMED, CONFIRMED, last_month, None)]
        for case, pharmacy in zip(cases, (shatou, shatou, luohu, shatou, luohu), strict=True):
            flags = ["incomplete"] if case == cases[1] else []
            bought = last_month - timedelta(days=1) if case == cases[3] else PURCHASED
            await world.match(case, await world.registration(pharmacy, purchased_at=bought, flags=flags))
        decided = await service.evaluate_cases(session, cases, now=MOMENT)
        (paid,) = (one.id for one in decided if one.case_id == cases[0])
        await service.approve_reward(session, paid, actor=approver, now=MOMENT)
        await service.pay_reward(session, paid, actor=payer, now=MOMENT)
    return client_for(await keys.token(database, Role.OFFICIAL, "4403", name="Synthetic A"))


class TestTheReport:
    @pytest.mark.parametrize("group_by", ["pharmacy", "division", "month"])
    async def test_counts_exactly_the_decisions_that_its_lines_lead_to(
        self, official: httpx.AsyncClient, group_by: str
    ) -> None:
        report = (await official.get(REPORT, params={"group_by": group_by})).json()
        assert len(report["lines"]) == 2
        for line in [*report["lines"], report["total"]]:
            items = (await official.get(line["decisions"])).json()["items"]
            assert line["count"] == len(items)
            statuses = Counter(item["status"] for item in items)
            assert line["by_status"] == {status: statuses[status] for status in line["by_status"]}
            unmet = Counter(item["first_unmet"] for item in items)
            assert line["first_unmet"] == {code: unmet[code] for code in line["first_unmet"]}
            worth = sum((Decimal(item["amount"]) for item in items), Decimal(0))
            assert sum(map(Decimal, line["amounts"].values())) == worth
        assert report["total"]["count"] == 5

    async def test_has_the_balance_of_the_ledger(self, official: httpx.AsyncClient) -> None:
        report = (await official.get(REPORT)).json()
        assert report["total"]["balance"] == report["total"]["amounts"]["paid"] == "1000.00"

    async def test_puts_a_decision_into_the_month_of_the_confirmation(self, official: httpx.AsyncClient) -> None:
        report = (await official.get(REPORT, params={"group_by": "month"})).json()
        assert {line["key"]: line["count"] for line in report["lines"]} == {"2026-01": 1, "2026-02": 4}
        period = {"from": "2026-01-01", "to": "2026-02-01"}
        assert (await official.get(REPORT, params=period)).json()["total"]["count"] == 1

    async def test_ends_at_the_border_of_the_division(
        self,
        official: httpx.AsyncClient,
        database: Database,
        client_for: Clients,
    ) -> None:
        client = client_for(await keys.token(database, Role.OFFICIAL, divisions.LUOHU))
        report = (await client.get(REPORT, params={"group_by": "division"})).json()
        assert [(line["key"], line["name"], line["count"]) for line in report["lines"]] == [("440303", "罗湖区", 2)]
        assert report["total"]["balance"] == "0.00"

    @pytest.mark.parametrize(
        ("query", "accept", "kind"),
        [
            ({"format": "csv"}, "application/json", "text/csv"),
            ({}, "text/csv", "text/csv"),
            ({}, "text/csv;q=0.9, */*;q=0.1", "text/csv"),
            ({"format": "json"}, "text/csv", "application/json"),
            ({}, "*/*", "application/json"),
            ({}, "text/html", "application/json"),
        ],
    )
    async def test_comes_as_it_is_asked_for(
        self, official: httpx.AsyncClient, query: dict[str, str], accept: str, kind: str
    ) -> None:
        answer = await official.get(REPORT, params=query, headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].split(";")[0] == kind

    async def test_reads_the_same_as_a_table(self, official: httpx.AsyncClient) -> None:
        report = (await official.get(REPORT)).json()
        table = await official.get(REPORT, params={"format": "csv"})
        assert table.content.startswith(b"\xef\xbb\xbf")
        rows = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"), newline="")))
        assert len(rows) == len(report["lines"]) + 1
        for row, line in zip(rows, [*report["lines"], report["total"]], strict=True):
            assert row["药店编号 Pharmacy id"] == (line["key"] or "")
            assert row["决定数 Decisions"] == str(line["count"])
            assert row["账面余额 CNY ledger balance"] == line["balance"]
            assert row["首个未满足:登记不完整 record_complete"] == str(line["first_unmet"]["record_complete"])
        assert "'=合成药房" in {row["名称 Name"] for row in rows}
