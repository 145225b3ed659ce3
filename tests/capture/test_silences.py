"""Silent pharmacies: found once, told of once, and ended by the first sign of life."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.auth.rules import SYSTEM
from app.capture.jobs import JUDGE, WATCH, register
from app.capture.models import ReportingDay
from app.core import jobs
from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.flow import Flow
from app.pharmacies.schemas import PharmacyPatch
from app.pharmacies.service import change_pharmacy
from tests.capture.conftest import City
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU
from tests.factories.world import build_world

BEGIN = date(2026, 1, 5)
"""A Monday."""


class Street(City):
    """Two pharmacies, day by day."""

    async def day(self, off: int, *, statements: tuple[int, ...] = (), registrations: tuple[int, ...] = ()) -> None:
        """Let the evening of a day come, with what the pharmacies send; then the workers, early on the next."""
        self.go_to(off, hour=20)
        for till in statements:
            body = {"day": (BEGIN + timedelta(days=off)).isoformat(), "items": []}
            assert (await self.tills[till].post("/v1/sales", json=body)).status_code == 201
        for till in registrations:
            await self.buy(1, till, at=self.clock.moment.isoformat())
        self.go_to(off + 1, hour=1)
        await self.watch()

    def go_to(self, off: int, hour: int) -> None:
        """Set the clock to an hour in China."""
        midnight = datetime.combine(BEGIN + timedelta(days=off), datetime.min.time(), tzinfo=UTC)
        self.clock.moment = midnight + timedelta(hours=hour - 8)

    async def watch(self) -> None:
        """Let the hourly look-out come round."""
        async with self.database.transaction() as session:
            await jobs.enqueue(session, WATCH, [{}])
        await self.drain()

    async def silences(self, client: httpx.AsyncClient | None = None, **query: Any) -> list[dict[str, Any]]:
        """Silences as they are shown."""
        answer = await (client or self.official).get("/v1/surveillance/silences", params=query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])


@pytest.fixture
async def street(database: Database, client_for: Clients, keyring: Keyring, clock: SettableClock) -> Street:
    clock.moment = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
    world = await build_world(database, pharmacies=2)
    registry = Registry()
    Flow(keyring).register(registry)
    register(registry, keyring=keyring)
    return Street(world, client_for, Runner(database, registry, clock=clock), clock)


class TestASilence:
    async def test_is_found_after_two_expected_days_and_told_of_once_and_so_is_its_end(self, street: Street) -> None:
        """Both state their sales daily but for Sundays; the second, which sells nothing, goes on; the first stops after a Friday."""
        for off in range(33):
            if off % 7 != 6:
                await street.day(off, statements=(0, 1))
        assert await street.silences() == []
        await street.day(33, statements=(1,))
        await street.day(34)  # Saturday and Sunday: two days without a word, but only one of work
        assert await street.silences() == []
        await street.day(35, statements=(1,))
        [silence] = await street.silences()
        assert silence["pharmacy_id"] == str(street.world.pharmacies[0])
        assert (silence["last_on"], silence["ended_at"]) == ("2026-02-06", None)
        assert silence["expected"] == pytest.approx(2.0)
        await street.day(36, statements=(1,))
        await street.watch()
        [alert] = await street.alerts("pharmacy.silent")
        assert (alert["state"], alert["pharmacy_id"]) == ("raised", silence["pharmacy_id"])
        assert (alert["division"], alert["case_id"]) == (silence["division"], None)
        # A purchase of three weeks ago that comes now is a sign of life now.
        street.go_to(37, hour=9)
        await street.buy(1, 0, at="2026-01-22T10:00:00+08:00")
        await street.drain()
        await street.watch()
        [ended] = await street.silences()
        assert (ended["ended_by"], ended["ended_at"]) == ("reported", "2026-02-11T01:00:00Z")
        assert [one["id"] for one in await street.silences(open=False)] == [silence["id"]]
        assert await street.silences(open=True) == []
        assert [event.thin["state"] for event in await street.events("pharmacy.silent")] == ["raised", "closed"]
        [alert] = await street.alerts("pharmacy.silent")
        assert [step["account_name"] for step in alert["history"]] == ["system"]

    async def test_is_seen_in_its_division_only(self, street: Street, client_for: Clients) -> None:
        await self.fall_silent(street)
        assert len(await street.silences(division=FUTIAN)) == 1
        assert len(await street.silences(pharmacy=str(street.world.pharmacies[0]))) == 1
        assert await street.silences(pharmacy=str(street.world.pharmacies[1])) == []
        elsewhere = client_for(await keys.token(street.database, "official", LUOHU))
        assert await street.silences(elsewhere) == []

    async def test_ends_when_the_pharmacy_is_closed_and_never_begins_in_one(self, street: Street) -> None:
        await self.fall_silent(street)
        patch = PharmacyPatch.model_validate({"standing": "closed", "standing_from": "2026-02-01", "reason": "Closed"})
        async with street.database.transaction() as session:
            await change_pharmacy(session, street.world.pharmacies[0], patch, actor=SYSTEM, now=street.clock.moment)
        await street.watch()
        await street.watch()
        assert [one["ended_by"] for one in await street.silences()] == ["closed"]
        assert [event.pseudonymous.get("ended_by") for event in await street.events("pharmacy.silent")] == [
            None,
            "closed",
        ]

    async def test_is_of_statements_alone_where_nothing_is_registered(self, street: Street) -> None:
        """One registers and states nothing, the other does both; then registering ends, and both stop."""
        await self.report(street, 30, registered=(0, 1), stated=(1,))
        counts = {"division": FUTIAN, "disease": "covid-19", "state": "counts", "valid_from": "2026-02-04"}
        assert (await street.official.post("/v1/regimes", json=counts)).status_code == 201
        for off in range(30, 33):
            await street.day(off)
        assert [one["pharmacy_id"] for one in await street.silences()] == [str(street.world.pharmacies[1])]

    async def report(self, street: Street, days: int, registered: tuple[int, ...], stated: tuple[int, ...]) -> None:
        """Let pharmacies report on so many days, as rows: nobody looks meanwhile."""
        async with street.database.transaction() as session:
            for till in registered:
                pharmacy = street.world.pharmacies[till]
                session.add_all(
                    ReportingDay(pharmacy_id=pharmacy, day=BEGIN + timedelta(days=off)) for off in range(days)
                )
        for off in range(days) if stated else ():
            street.go_to(off, hour=20)
            for till in stated:
                body = {"day": (BEGIN + timedelta(days=off)).isoformat(), "items": []}
                assert (await street.tills[till].post("/v1/sales", json=body)).status_code == 201

    async def fall_silent(self, street: Street) -> None:
        """Let the first pharmacy report for a month and stop."""
        await self.report(street, 30, registered=(0,), stated=())
        await street.day(31)
        assert len(await street.silences()) == 1


KNOWN = 41
"""The day, from the beginning, on which the pharmacies were enrolled here; their enrolment is dated further back."""


class TestAPharmacyThatNeverReported:
    async def unheard(self, street: Street, client: httpx.AsyncClient | None = None, **query: Any) -> list[str]:
        answer = await (client or street.official).get("/v1/surveillance/never-reported", params=query)
        assert answer.status_code == 200, answer.text
        return [one["pharmacy_id"] for one in answer.json()["items"]]

    async def test_is_told_of_after_two_whole_weeks_of_duty(self, street: Street, client_for: Clients) -> None:
        first, second = map(str, street.world.pharmacies)
        street.go_to(KNOWN + 14, hour=23)
        assert await self.unheard(street) == []
        street.go_to(KNOWN + 15, hour=1)
        assert await self.unheard(street) == [first, second]
        answer = await street.official.get("/v1/surveillance/never-reported", params={"limit": 1})
        [shown] = answer.json()["items"]
        assert (shown["due_since"], shown["days"], shown["enrolled_on"]) == ("2026-02-16", 14, "2026-01-01")
        assert await self.unheard(street, cursor=answer.json()["next_cursor"]) == [second]
        assert await self.unheard(street, division=LUOHU) == []
        elsewhere = client_for(await keys.token(street.database, "official", LUOHU))
        assert await self.unheard(street, elsewhere) == []

    async def test_is_none_any_more_once_anything_has_come(self, street: Street) -> None:
        street.go_to(KNOWN + 20, hour=9)
        await street.buy(1, 0, at="2026-02-20T10:00:00+08:00")
        assert await self.unheard(street) == [str(street.world.pharmacies[1])]
        body = {"day": "2026-03-01", "items": []}
        assert (await street.tills[1].post("/v1/sales", json=body)).status_code == 201
        assert await self.unheard(street) == []

    @pytest.mark.parametrize("state", ["counts", "suspended"])
    async def test_is_blamed_for_no_day_on_which_nothing_had_to_be_registered(self, street: Street, state: str) -> None:
        free = {"division": FUTIAN, "disease": "covid-19", "state": state, "valid_from": "2026-03-01"}
        again = {"division": FUTIAN, "disease": "covid-19", "state": "register", "valid_from": "2026-03-04"}
        for body in (free, again):
            assert (await street.official.post("/v1/regimes", json=body)).status_code == 201, body
        for off, there in ((KNOWN + 15, 0), (KNOWN + 30, 0), (KNOWN + 31, 2)):
            street.go_to(off, hour=12)
            assert len(await self.unheard(street)) == there, off

    @pytest.mark.parametrize(("standing", "there"), [("suspended", True), ("closed", False)])
    async def test_has_its_duty_until_it_is_closed(self, street: Street, standing: str, there: bool) -> None:
        first, second = map(str, street.world.pharmacies)
        street.go_to(KNOWN + 20, hour=12)
        patch = PharmacyPatch.model_validate(
            {"standing": standing, "standing_from": "2026-03-07", "reason": "Inspection"}
        )
        async with street.database.transaction() as session:
            await change_pharmacy(session, street.world.pharmacies[0], patch, actor=SYSTEM, now=street.clock.moment)
        assert await self.unheard(street) == ([first, second] if there else [second])


class TestAReport:
    async def test_is_noted_on_the_day_on_which_it_came(self, street: Street) -> None:
        street.go_to(20, hour=0)  # 16:00 UTC of the day before
        await street.buy(1, 0, at="2026-01-20T10:00:00+08:00")
        await street.buy(2, 0, at="2026-01-21T10:00:00+08:00")
        await street.drain()
        async with street.database.transaction() as session:
            noted = (await session.execute(select(ReportingDay.pharmacy_id, ReportingDay.day))).all()
        assert [tuple(row) for row in noted] == [(street.world.pharmacies[0], date(2026, 1, 25))]


class TestTheNightlyJudgement:
    async def test_takes_in_what_was_declared_for_days_gone_by(self, street: Street) -> None:
        street.clock.moment = datetime(2026, 2, 20, 2, 0, tzinfo=UTC)
        cases = [await street.case(person) for person in range(3)]
        for case in cases:
            await street.tell(case, street.at())
        counts = {"division": FUTIAN, "disease": "covid-19", "state": "counts", "valid_from": "2026-02-10"}
        assert (await street.official.post("/v1/regimes", json=counts)).status_code == 201
        async with street.database.transaction() as session:
            await jobs.enqueue(session, JUDGE, [{}])
        await street.drain()
        for case in cases:
            assert await street.verdicts(case) == [("not_required", "regime_counts")]
        assert {alert["state"] for alert in await street.alerts()} == {"closed"}
