"""Who else was at the counter, over HTTP and against a look at every pair. Everybody here is synthetic."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text, update

from app.audit.models import AuditEntry
from app.core.database import Database, driver
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.histories import exposures
from app.registrations.models import Registration
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU, load_divisions
from tests.factories.identities import resident_number
from tests.factories.rewards import World
from tests.histories.people import WANG, bought, listed, presented

MINUTE = timedelta(minutes=1)
MINUTES = (1, 30, 240)


@dataclass
class Scene:
    """Pharmacies in Futian and Luohu, and an epidemiologist of each and of both."""

    world: World
    database: Database
    shops: dict[str, UUID]
    eyes: dict[str, httpx.AsyncClient]
    people: dict[str, int] = field(default_factory=dict)

    async def person(self, name: str, **members: Any) -> UUID:
        """What somebody presented: the same name is the same document, whatever else is shown."""
        number = self.people.setdefault(name, len(self.people) + 1)
        document = {"type": "resident_id", "number": resident_number(number)}
        return await presented(self.world, **{"name": f"合成{name}", "document": document, "phone": None} | members)

    async def buy(self, shop: str, minute: float, buyer: UUID, **members: Any) -> UUID:
        return await bought(self.world, self.shops[shop], buyer, at=MOMENT + minute * MINUTE, **members)

    async def change(self, registration: UUID, **values: Any) -> None:
        await self.world.session.execute(update(Registration).where(Registration.id == registration).values(**values))

    async def look(self, who: str, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every page of a list."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = await self.eyes[who].get(path, params=query | cursor)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}


@pytest.fixture
async def scene(client_for: Clients, database: Database, keyring: Keyring) -> AsyncIterator[Scene]:
    await load_divisions(database)
    eyes = {
        name: client_for(await keys.token(database, "epidemiologist", division))
        for name, division in (("futian", FUTIAN), ("luohu", LUOHU), ("city", "4403"))
    }
    async with database.transaction() as session:
        world = World(session, keyring)
        shops = {
            name: await world.pharmacy(division) for name, division in (("a", SHATOU), ("b", SHATOU), ("c", LUOHU))
        }
        yield Scene(world, database, shops, eyes)


async def a_case(scene: Scene, person: UUID, *registrations: UUID, division: str = SHATOU, **match: Any) -> UUID:
    case = await listed(scene.world, person, division)
    for registration in registrations:
        await scene.world.match(case, registration, **match)
    return case


class TestContactsOfACase:
    async def test_are_those_at_the_same_counter_at_the_time(self, scene: Scene) -> None:
        ill, friend, other = [await scene.person(name) for name in ("甲", "乙", "丙")]
        mine = await scene.buy("a", 0, ill)
        before = await scene.buy("a", -30, other)
        after = await scene.buy("a", 29.5, other, patient=friend, flags=["fever"])
        await scene.buy("a", 30.1, other)
        await scene.buy("b", 0, other)
        case = await a_case(scene, ill, mine)
        first, second = await scene.look("futian", f"/v1/cases/{case}/contacts")
        assert (first["registration_id"], first["seconds_after"]) == (str(before), -1800)
        assert second == {
            "registration_id": str(after),
            "purchased_at": second["purchased_at"],
            "received_at": second["received_at"],
            "seconds_after": 1770,
            "pharmacy": {"id": str(scene.shops["a"]), "name": "合成药房1", "division": SHATOU},
            "people": [
                {"buyer_id": str(other), "roles": ["buyer"]},
                {"buyer_id": str(friend), "roles": ["patient"]},
            ],
            "flags": ["fever"],
            "exposure": {
                "registration_id": str(mine),
                "purchased_at": second["exposure"]["purchased_at"],
                "roles": ["buyer"],
            },
        }
        assert datetime.fromisoformat(second["exposure"]["purchased_at"]) == MOMENT

    async def test_leave_out_the_case_however_it_was_presented(self, scene: Scene) -> None:
        """The list has the document; at the counter there was once a phone and a name, which are the same as on the list."""
        ill = await presented(scene.world)
        again = await presented(scene.world, phone="13900139000")
        by_phone = await presented(scene.world, document=None)
        other = await scene.person("乙")
        mine = await scene.buy("a", 0, ill)
        matched = await scene.buy("a", 5, by_phone)
        await scene.buy("a", 10, again)
        mixed = await scene.buy("a", 15, again, patient=other)
        case = await a_case(scene, ill, mine, matched, strength="strong")
        found = await scene.look("futian", f"/v1/cases/{case}/contacts")
        assert [(one["registration_id"], one["exposure"]["registration_id"]) for one in found] == [
            (str(mixed), str(mine)),
            (str(mixed), str(matched)),
        ]
        assert all(one["people"] == [{"buyer_id": str(other), "roles": ["patient"]}] for one in found)
        assert WANG["name"] not in json.dumps(found, ensure_ascii=False)

    async def test_are_also_whoever_stands_beside_the_case_in_its_own_registration(self, scene: Scene) -> None:
        ill, friend = await scene.person("甲"), await scene.person("乙")
        mine = await scene.buy("a", 0, friend, patient=ill)
        case = await a_case(scene, ill, mine, role="patient")
        [one] = await scene.look("futian", f"/v1/cases/{case}/contacts")
        assert (one["registration_id"], one["seconds_after"]) == (str(mine), 0)
        assert one["people"] == [{"buyer_id": str(friend), "roles": ["buyer"]}]
        assert one["exposure"]["roles"] == ["patient"]

    async def test_follow_from_matches_that_count(self, scene: Scene) -> None:
        ill, other = await scene.person("甲"), await scene.person("乙")
        mine = await scene.buy("a", 0, ill)
        await scene.buy("a", 1, other)
        case = await a_case(scene, ill, mine, status="withdrawn")
        assert await scene.look("futian", f"/v1/cases/{case}/contacts") == []

    async def test_lie_in_the_division_of_whoever_asks(self, scene: Scene) -> None:
        """Whichever division has the case on its list: the purchases are what leads to contacts."""
        ill, other = await scene.person("甲"), await scene.person("乙")
        here, there = await scene.buy("a", 0, ill), await scene.buy("c", 0, ill)
        for shop in ("a", "c"):
            await scene.buy(shop, 1, other)
        case = await a_case(scene, ill, here, there, division=SHATOU)
        seen = {
            who: {one["pharmacy"]["division"] for one in await scene.look(who, f"/v1/cases/{case}/contacts")}
            for who in scene.eyes
        }
        assert seen == {"futian": {SHATOU}, "luohu": {LUOHU}, "city": {SHATOU, LUOHU}}
        elsewhere = await a_case(scene, other, division=SHATOU)
        for path in (f"/v1/cases/{elsewhere}/contacts", f"/v1/cases/{new_id()}/contacts"):
            assert (await scene.eyes["luohu"].get(path)).status_code == 404
        assert await scene.look("futian", f"/v1/cases/{elsewhere}/contacts") == []

    async def test_are_a_look_that_is_written_down(self, scene: Scene) -> None:
        ill = await scene.person("甲")
        case = await a_case(scene, ill, await scene.buy("a", 0, ill))
        await scene.look("futian", f"/v1/cases/{case}/contacts", minutes=5)
        await scene.look("futian", f"/v1/buyers/{ill}/co-exposures", minutes=6)
        async with scene.database.transaction() as session:
            rows = await session.execute(
                select(AuditEntry.action, AuditEntry.subject_id, AuditEntry.detail).where(
                    AuditEntry.detail.has_key("minutes")
                )
            )
            assert {(row.action, row.subject_id, row.detail["minutes"]) for row in rows} == {
                ("case.contacts_traced", str(case), 5),
                ("buyer.co_exposures_found", str(ill), 6),
            }

    async def test_are_for_epidemiologists(self, scene: Scene, client_for: Clients) -> None:
        ill = await scene.person("甲")
        case = await a_case(scene, ill)
        for role in ("health_authority", "official", "auditor"):
            someone = client_for(await keys.token(scene.database, role, FUTIAN))
            for path in (f"/v1/cases/{case}/contacts", f"/v1/buyers/{ill}/co-exposures"):
                assert (await someone.get(path)).status_code == 403

    @pytest.mark.parametrize("minutes", ["0", "-5", "1441", "many", ""])
    async def test_have_a_bound(self, scene: Scene, minutes: str) -> None:
        answer = await scene.eyes["futian"].get(f"/v1/cases/{new_id()}/contacts", params={"minutes": minutes})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "?minutes"


@dataclass(frozen=True)
class Row:
    """A registration as the brute-force look sees it."""

    id: UUID
    shop: str
    at: datetime
    buyer: str
    patient: str | None
    counts: bool

    @property
    def people(self) -> set[str]:
        return {self.buyer, *([] if self.patient is None else [self.patient])}


def every_pair(rows: list[Row], mine: list[Row], me: str, minutes: int, shops: str) -> list[tuple[UUID, UUID, int]]:
    """Look at each pair of a purchase of mine and a registration; in the order in which they are to be shown."""
    return [
        (one.id, other.id, round((other.at - one.at).total_seconds()))
        for one in sorted(mine, key=lambda row: (row.at, row.id))
        for other in sorted(rows, key=lambda row: (row.at, row.id))
        if one.counts and other.counts and one.shop == other.shop and one.shop in shops
        if abs(other.at - one.at) <= minutes * MINUTE and other.people - {me}
    ]


class TestEveryContact:
    @pytest.mark.parametrize("seed", range(2))
    async def test_is_found_and_nobody_else(self, scene: Scene, seed: int) -> None:
        chance = Random(seed)
        names = "甲乙丙丁戊"
        # The first of them came first, and so names the buyer.
        shown = {
            name: [
                await scene.person(name, now=MOMENT - MINUTE),
                await scene.person(name, now=MOMENT, phone="13900139000"),
            ]
            for name in names
        }
        rows: list[Row] = []
        for _ in range(70):
            buyer, patient = chance.choice(names), chance.choice([None, None, *names])
            shop, minute = chance.choice("abc"), chance.choice([0, 0.5, 1, 28, 29, 30, 31, 59, 60, 90, 200, 1440])
            kind = chance.choice(["real"] * 8 + ["voided", "sandbox"])
            registration = await scene.buy(
                shop,
                minute,
                chance.choice(shown[buyer]),
                patient=None if patient is None else chance.choice(shown[patient]),
            )
            if kind != "real":
                await scene.change(registration, **({"voided_at": MOMENT} if kind == "voided" else {"sandbox": True}))
            rows.append(Row(registration, shop, MOMENT + minute * MINUTE, buyer, patient, kind == "real"))

        me = "甲"
        mine = [row for row in rows if me in row.people]
        case = await a_case(scene, shown[me][1])
        matched = [row for row in mine if chance.random() < 0.7]
        for row in matched:
            for role in ("buyer", "patient"):
                if getattr(row, role) == me:
                    await scene.world.match(case, row.id, role=role)
        for minutes in MINUTES:
            for who, shops in (("futian", "ab"), ("city", "abc")):
                for path, own in (
                    (f"/v1/cases/{case}/contacts", matched),
                    (f"/v1/buyers/{shown[me][0]}/co-exposures", mine),
                ):
                    found = await scene.look(who, path, minutes=minutes, limit=chance.choice([9, 40, 200]))
                    told = [
                        (UUID(one["exposure"]["registration_id"]), UUID(one["registration_id"]), one["seconds_after"])
                        for one in found
                    ]
                    assert told == every_pair(rows, own, me, minutes, shops)
                    for one in found:
                        [row] = [row for row in rows if str(row.id) == one["registration_id"]]
                        others = {str(shown[name][0]) for name in row.people - {me}}
                        assert {person["buyer_id"] for person in one["people"]} == others


class TestTheLookUp:
    async def test_reads_one_stretch_of_the_index_for_each_purchase(self, scene: Scene) -> None:
        """The index serves it: with scans of whole tables forbidden and the other indexes gone, it is what is left."""
        other = await scene.person("乙")
        await scene.buy("a", 0, other)
        async with scene.database.transaction() as session:
            connection = await driver(session)
            await connection.execute("ALTER TABLE registrations DROP CONSTRAINT pk_registrations CASCADE")
            for index in await connection.fetch(
                "SELECT indexname FROM pg_indexes WHERE tablename = 'registrations'"
                " AND indexname <> 'ix_registrations_pharmacy_id_purchased_at'"
            ):
                await connection.execute(f"DROP INDEX {index['indexname']}")
            await connection.execute("SET LOCAL enable_seqscan = off")
            plan = await connection.fetch(
                f"EXPLAIN {exposures._OTHERS}",
                [new_id()],
                [scene.shops["a"]],
                [MOMENT],
                30 * MINUTE,
                "",
                [new_id()],
                None,
                None,
                100,
            )
        told = "\n".join(row[0] for row in plan)
        assert "ix_registrations_pharmacy_id_purchased_at" in told
        [condition] = [line for line in told.splitlines() if "Index Cond" in line and "purchased_at" in line]
        assert condition.count("purchased_at") == 4
        assert "pharmacy_id" in condition

    async def test_is_planned_for_the_tables_as_they_are_now(self, scene: Scene) -> None:
        ill = await scene.person("甲")
        await scene.buy("a", 0, ill)
        trace = exposures.Trace([exposures.Exposure(new_id(), scene.shops["a"], MOMENT, [])], [ill])
        session = scene.world.session
        await exposures.find_contacts(session, trace, MINUTE, scope=None, limit=1, after=None)
        assert await session.scalar(text("SHOW plan_cache_mode")) == "force_custom_plan"
