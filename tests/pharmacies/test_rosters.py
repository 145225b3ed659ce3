from datetime import date, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from app.audit.models import AuditEntry
from app.core.database import Database
from app.people.models import Person
from app.pharmacies.models import RosterEntry
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, load_divisions
from tests.factories.pharmacies import enrolled

# Synthetic identities.
WANG = {"name": "王小明", "document": {"type": "resident_id", "number": "11010519491231002X"}, "phone": "13800138000"}
LI = {"name": "李样例", "document": None, "phone": "13900139000"}


@pytest.fixture
async def pharmacy(database: Database) -> UUID:
    await load_divisions(database)
    return await enrolled(database)


@pytest.fixture
async def till(client_for: Clients, database: Database, pharmacy: UUID) -> httpx.AsyncClient:
    return client_for(await keys.token(database, "pharmacy", None, [pharmacy]))


async def name(client: httpx.AsyncClient, pharmacy: UUID, *members: dict[str, Any]) -> dict[str, int]:
    answer = await client.put(f"/v1/pharmacies/{pharmacy}/roster", json={"members": members})
    assert answer.status_code == 200, answer.text
    told: dict[str, int] = answer.json()
    return told


async def on_roster(database: Database, day: date) -> int:
    async with database.transaction() as session:
        query = select(func.count()).where(
            RosterEntry.valid_from <= day, RosterEntry.valid_to.is_(None) | (RosterEntry.valid_to > day)
        )
        return (await session.execute(query)).scalar_one()


class TestARoster:
    async def test_answers_with_counts_only(self, till: httpx.AsyncClient, pharmacy: UUID) -> None:
        assert await name(till, pharmacy, WANG, LI, WANG) == {"members": 2, "begun": 2, "ended": 0}
        assert await name(till, pharmacy, LI, WANG) == {"members": 2, "begun": 0, "ended": 0}

    async def test_keeps_those_who_leave_until_the_end_of_the_day(
        self, till: httpx.AsyncClient, pharmacy: UUID, clock: SettableClock, database: Database
    ) -> None:
        await name(till, pharmacy, WANG, LI)
        clock.moment += timedelta(days=3)
        assert await name(till, pharmacy, LI) == {"members": 1, "begun": 0, "ended": 1}
        days = [date(2026, 2, day) for day in (14, 15, 17, 18, 19)]
        assert [await on_roster(database, day) for day in days] == [0, 2, 2, 2, 1]

    async def test_takes_somebody_back_on_the_same_day_as_if_never_gone(
        self, till: httpx.AsyncClient, pharmacy: UUID, database: Database
    ) -> None:
        await name(till, pharmacy, WANG)
        assert await name(till, pharmacy) == {"members": 0, "begun": 0, "ended": 1}
        assert await name(till, pharmacy, WANG) == {"members": 1, "begun": 1, "ended": 0}
        async with database.transaction() as session:
            assert (await session.execute(select(RosterEntry.valid_to))).scalars().all() == [None]

    async def test_takes_somebody_back_later_as_a_new_entry(
        self, till: httpx.AsyncClient, pharmacy: UUID, clock: SettableClock, database: Database
    ) -> None:
        await name(till, pharmacy, WANG)
        await name(till, pharmacy)
        clock.moment += timedelta(days=1)
        await name(till, pharmacy, WANG)
        async with database.transaction() as session:
            periods = await session.execute(
                select(RosterEntry.valid_from, RosterEntry.valid_to).order_by(RosterEntry.valid_from)
            )
        assert periods.all() == [(date(2026, 2, 15), date(2026, 2, 16)), (date(2026, 2, 16), None)]

    async def test_leaves_another_pharmacys_alone(
        self, till: httpx.AsyncClient, pharmacy: UUID, client_for: Clients, database: Database
    ) -> None:
        await name(till, pharmacy, WANG)
        other = await enrolled(database, 2)
        neighbour = client_for(await keys.token(database, "pharmacy", None, [other]))
        assert await name(neighbour, other) == {"members": 0, "begun": 0, "ended": 0}
        assert await on_roster(database, date(2026, 2, 20)) == 1

    @pytest.mark.parametrize(
        ("member", "pointer", "code"),
        [
            ({"name": "王小明"}, "/members/1", "member_unrecognisable"),
            ({"phone": "13800138000"}, "/members/1", "member_unrecognisable"),
            ({"document": {"type": "resident_id", "number": "1"}}, "/members/1/document/number", None),
        ],
    )
    async def test_must_tell_by_what_a_buyer_is_recognised(
        self, till: httpx.AsyncClient, pharmacy: UUID, member: dict[str, Any], pointer: str, code: str | None
    ) -> None:
        answer = await till.put(f"/v1/pharmacies/{pharmacy}/roster", json={"members": [LI, member]})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == pointer
        assert code in (None, error["code"])

    async def test_is_set_by_the_pharmacy_itself_or_an_official_of_its_division(
        self, pharmacy: UUID, client_for: Clients, database: Database
    ) -> None:
        body: dict[str, Any] = {"members": []}
        other = await enrolled(database, 2)
        for status, role, division, own in (
            (200, "official", FUTIAN, []),
            (404, "official", LUOHU, []),
            (404, "pharmacy", None, [other]),
            (200, "pharmacy", None, [pharmacy, other]),
            (403, "epidemiologist", FUTIAN, []),
        ):
            client = client_for(await keys.token(database, role, division, own))
            assert (await client.put(f"/v1/pharmacies/{pharmacy}/roster", json=body)).status_code == status

    async def test_leaves_no_identity_outside_the_seal(
        self, till: httpx.AsyncClient, pharmacy: UUID, database: Database
    ) -> None:
        await name(till, pharmacy, WANG)
        async with database.transaction() as session:
            (entry,) = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "roster.set"))).all()
            (person,) = (await session.scalars(select(Person))).all()
        assert entry.detail == {"members": 1, "begun": 1, "ended": 0}
        for secret in ("王小明", "11010519491231002X", "13800138000"):
            assert secret.encode() not in person.sealed
