from datetime import date, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry
from app.auth.guards import KNOWN_FOR_SECONDS, KnownActors
from app.core.clock import china_day
from app.core.database import Database
from app.core.http import Services
from app.core.ids import new_id
from app.pharmacies.models import Pharmacy
from app.pharmacies.queries import PHARMACIES, standing_at, standings_of
from app.pharmacies.rules import Standing, Statement, standing_on
from tests.conftest import MOMENT, Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU, load_divisions
from tests.factories.pharmacies import credit_code, enrolled, pharmacy_body

TODAY = china_day(MOMENT)


@pytest.fixture
async def official(client_for: Clients, database: Database) -> httpx.AsyncClient:
    """An official of Futian."""
    await load_divisions(database)
    return client_for(await keys.token(database, "official", FUTIAN))


async def enrol(client: httpx.AsyncClient, number: int = 1, **members: Any) -> dict[str, Any]:
    answer = await client.post("/v1/pharmacies", json=pharmacy_body(number, **members))
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


class TestEnrollingAPharmacy:
    async def test_answers_with_the_pharmacy_active_since_its_day(self, official: httpx.AsyncClient) -> None:
        told = await enrol(official)
        assert {name: told[name] for name in pharmacy_body()} == pharmacy_body()
        assert (told["standing"], told["warnings"]) == ("active", [])
        assert [(one["standing"], one["valid_from"]) for one in told["standings"]] == [("active", "2026-01-01")]
        assert (await official.get(f"/v1/pharmacies/{told['id']}")).json() == told

    async def test_warns_of_a_wrong_check_character(self, official: httpx.AsyncClient) -> None:
        told = await enrol(official, uscc="91440300MA5EXAMPLE")
        assert [(one["pointer"], one["code"]) for one in told["warnings"]] == [("/uscc", "uscc_check_failed")]

    async def test_knows_a_pharmacy_however_its_names_are_written(self, official: httpx.AsyncClient) -> None:
        told = await enrol(official)
        again = pharmacy_body(uscc=credit_code(1).lower(), licence_number=" 粤ｄａ755 0001")
        answer = await official.post("/v1/pharmacies", json=again)
        assert (answer.status_code, answer.json()["code"]) == (409, "pharmacy_already_enrolled")
        assert answer.json()["pharmacy_id"] == told["id"]
        await enrol(official, licence_number="粤DA7559999")  # another shop of the same company

    @pytest.mark.parametrize(
        ("wrong", "status", "code", "pointer"),
        [
            ({"division": LUOHU}, 403, "out_of_division", "/division"),
            ({"division": "440304999"}, 422, "division_unknown", "/division"),
            ({"uscc": "9144030019220382"}, 422, "invalid_request", "/uscc"),
            ({"uscc": "91440300192203821O"}, 422, "invalid_request", "/uscc"),
            ({"location": {"lat": 91, "lon": 0}}, 422, "invalid_request", "/location/lat"),
            ({"enrolled_on": "2026-02-16"}, 422, "invalid_request", "/enrolled_on"),
            ({"owner": "x"}, 422, "invalid_request", "/owner"),
        ],
    )
    async def test_is_refused_with_a_pointer(
        self, official: httpx.AsyncClient, wrong: dict[str, Any], status: int, code: str, pointer: str
    ) -> None:
        answer = await official.post("/v1/pharmacies", json=pharmacy_body(**wrong))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

    async def test_reaches_the_directory_in_the_same_moment(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        for number in (1, 2):
            told = await enrol(official, number)
            async with database.transaction() as session:
                facts = (await PHARMACIES.get(session))[UUID(told["id"])]
            assert (facts.division, facts.standing_on(TODAY)) == (SHATOU, Standing.ACTIVE)


class TestAStanding:
    async def test_changes_with_a_reason_and_keeps_its_history(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        told = await enrol(official)
        change = {"standing": "suspended", "standing_from": "2026-01-10", "reason": "Sold unregistered (synthetic)"}
        after = (await official.patch(f"/v1/pharmacies/{told['id']}", json=change)).json()
        assert after["standing"] == "suspended"
        assert [(one["standing"], one["valid_from"]) for one in after["standings"]] == [
            ("active", "2026-01-01"),
            ("suspended", "2026-01-10"),
        ]
        again = (await official.patch(f"/v1/pharmacies/{told['id']}", json=change)).json()
        assert again == after
        async with database.transaction() as session:
            facts = (await PHARMACIES.get(session))[UUID(told["id"])]
        assert facts.standing_on(date(2026, 1, 9)) is Standing.ACTIVE
        assert facts.standing_on(date(2026, 1, 10)) is Standing.SUSPENDED

    async def test_announced_ahead_begins_on_its_day(
        self, official: httpx.AsyncClient, clock: SettableClock, database: Database
    ) -> None:
        told = await enrol(official)
        change = {"standing": "closed", "standing_from": "2026-02-20", "reason": "Moves away (synthetic)"}
        assert (await official.patch(f"/v1/pharmacies/{told['id']}", json=change)).json()["standing"] == "active"
        clock.moment += timedelta(days=5)
        assert (await official.get(f"/v1/pharmacies/{told['id']}")).json()["standing"] == "closed"
        async with database.transaction() as session:
            facts = (await PHARMACIES.get(session))[UUID(told["id"])]
        assert [facts.is_closed_on(date(2026, 2, day)) for day in (19, 20)] == [False, True]

    @pytest.mark.parametrize(
        ("wrong", "code", "pointer"),
        [
            ({"standing": "closed"}, "reason_required", "/reason"),
            ({"standing_from": "2026-02-01"}, "standing_required", "/standing"),
            (
                {"standing": "closed", "standing_from": "2025-12-31", "reason": "x"},
                "standing_before_enrolment",
                "/standing_from",
            ),
            (
                {"standing": "closed", "standing_from": "2027-02-16", "reason": "x"},
                "standing_too_far_ahead",
                "/standing_from",
            ),
            ({"name": None}, "null_not_allowed", "/name"),
        ],
    )
    async def test_is_refused_with_a_pointer(
        self, official: httpx.AsyncClient, wrong: dict[str, Any], code: str, pointer: str
    ) -> None:
        told = await enrol(official)
        answer = await official.patch(f"/v1/pharmacies/{told['id']}", json=wrong)
        assert answer.status_code == 422
        assert [(error["code"], error["pointer"]) for error in answer.json()["errors"]] == [(code, pointer)]

    async def test_is_the_same_in_the_database_as_in_the_rule(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        told = await enrol(official)
        for standing, day in (("suspended", "10"), ("active", "20"), ("closed", "15"), ("active", "12")):
            change = {"standing": standing, "standing_from": f"2026-01-{day}", "reason": "synthetic"}
            await official.patch(f"/v1/pharmacies/{told['id']}", json=change)
            async with database.transaction() as session:
                said = (await standings_of(session, [UUID(told["id"])]))[UUID(told["id"])]
                history = [Statement(one.standing, one.valid_from) for one in said]
                for n in range(-2, 25):
                    asked = date(2026, 1, 1) + timedelta(days=n)
                    query = select(standing_at(Pharmacy.id, asked)).select_from(Pharmacy)
                    assert (await session.execute(query)).scalar_one() is standing_on(history, asked)


class TestChangingAPharmacy:
    async def test_changes_what_is_named_and_nothing_else(self, official: httpx.AsyncClient) -> None:
        told = await enrol(official, chain="演示连锁")
        change = {"name": "新名药房", "location": None}
        after = (await official.patch(f"/v1/pharmacies/{told['id']}", json=change)).json()
        assert after == told | change
        assert (await official.patch(f"/v1/pharmacies/{told['id']}", json={"chain": None})).json()["chain"] is None

    async def test_is_written_down_once(self, official: httpx.AsyncClient, database: Database) -> None:
        told = await enrol(official)
        for _ in range(2):
            await official.patch(f"/v1/pharmacies/{told['id']}", json={"name": "新名药房", "reason": "Renamed"})
        async with database.transaction() as session:
            rows = await session.execute(
                select(AuditEntry.action, AuditEntry.division, AuditEntry.purpose)
                .where(AuditEntry.subject_id == told["id"])
                .order_by(AuditEntry.id)
            )
        assert rows.all() == [("pharmacy.enrolled", SHATOU, None), ("pharmacy.changed", SHATOU, "Renamed")]


class TestTheListOfPharmacies:
    async def test_shows_ones_own_division(
        self, official: httpx.AsyncClient, client_for: Clients, database: Database
    ) -> None:
        here, there = await enrolled(database, 1), await enrolled(database, 2, LUOHU)
        items = (await official.get("/v1/pharmacies")).json()["items"]
        assert [one["id"] for one in items] == [str(here)]
        for path in (f"/v1/pharmacies/{there}", f"/v1/pharmacies/{new_id()}"):
            assert (await official.get(path)).status_code == 404
        assert (await official.patch(f"/v1/pharmacies/{there}", json={"name": "x"})).status_code == 404
        city = client_for(await keys.token(database, "admin", "4403"))
        assert len((await city.get("/v1/pharmacies")).json()["items"]) == 2
        assert len((await city.get("/v1/pharmacies", params={"division": LUOHU})).json()["items"]) == 1

    async def test_can_be_asked_by_standing_and_beginning_of_the_name(self, official: httpx.AsyncClient) -> None:
        first, second = await enrol(official, 1, name="甲%药房"), await enrol(official, 2, name="乙药房")
        change = {"standing": "closed", "reason": "synthetic"}
        await official.patch(f"/v1/pharmacies/{second['id']}", json=change)

        async def found(**query: str) -> list[str]:
            return [one["id"] for one in (await official.get("/v1/pharmacies", params=query)).json()["items"]]

        assert await found(standing="active") == [first["id"]]
        assert await found(standing="closed") == [second["id"]]
        assert await found(q="甲%") == [first["id"]]
        assert await found(q="%") == []

    async def test_comes_in_pages(self, official: httpx.AsyncClient) -> None:
        ids = [(await enrol(official, number))["id"] for number in (1, 2, 3)]
        page = (await official.get("/v1/pharmacies", params={"limit": "2"})).json()
        rest = (await official.get("/v1/pharmacies", params={"limit": "2", "cursor": page["next_cursor"]})).json()
        assert sorted(one["id"] for one in page["items"] + rest["items"]) == sorted(ids)
        assert rest["next_cursor"] is None
        assert (await official.get("/v1/pharmacies", params={"colour": "red"})).status_code == 422

    @pytest.mark.parametrize(
        ("role", "reads", "enrols"),
        [
            ("epidemiologist", 200, 403),
            ("admin", 200, 201),
            ("health_authority", 403, 403),
            ("auditor", 403, 403),
            ("pharmacy", 403, 403),
        ],
    )
    async def test_is_open_to_those_who_need_it(
        self, official: httpx.AsyncClient, client_for: Clients, database: Database, role: str, reads: int, enrols: int
    ) -> None:
        client = client_for(await keys.token(database, role, FUTIAN))
        assert (await client.get("/v1/pharmacies")).status_code == reads
        assert (await client.post("/v1/pharmacies", json=pharmacy_body())).status_code == enrols


class TestAKey:
    async def test_speaks_for_its_pharmacy_until_it_is_revoked(
        self, official: httpx.AsyncClient, client_for: Clients, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = await enrol(official)
        keys_path = f"/v1/pharmacies/{told['id']}/keys"
        issued = [(await official.post(keys_path, json={"name": f"till {n}"})).json() for n in (1, 2)]
        tills = [client_for(key["token"]) for key in issued]
        assert [(await till.get("/v1/regimes")).status_code for till in tills] == [200, 200]
        actor = await KnownActors().resolve(services, issued[0]["token"])
        assert actor.pharmacy_ids == {UUID(told["id"])}
        assert (await official.delete(f"{keys_path}/{issued[0]['id']}")).status_code == 204
        known = services.parts[KnownActors]
        monkeypatch.setattr(known, "_known", {})  # as after KNOWN_FOR_SECONDS
        assert KNOWN_FOR_SECONDS <= 2
        assert [(await till.get("/v1/regimes")).status_code for till in tills] == [401, 200]

    async def test_of_another_pharmacy_is_not_found(self, official: httpx.AsyncClient) -> None:
        one, other = await enrol(official, 1), await enrol(official, 2)
        key = (await official.post(f"/v1/pharmacies/{one['id']}/keys", json={"name": "till"})).json()
        answer = await official.delete(f"/v1/pharmacies/{other['id']}/keys/{key['id']}")
        assert answer.status_code == 404

    async def test_of_a_chain_is_revoked_by_those_who_see_the_whole_chain(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        one, other = await enrolled(database, 1), await enrolled(database, 2)
        there = await enrolled(database, 3, LUOHU)
        wide = await keys.actor(database, "pharmacy", None, [one, there])
        assert (await official.delete(f"/v1/pharmacies/{one}/keys/{wide.key_id}")).status_code == 404
        chain = await keys.actor(database, "pharmacy", None, [one, other])
        assert (await official.delete(f"/v1/pharmacies/{one}/keys/{chain.key_id}")).status_code == 204

    async def test_is_issued_within_ones_division_only(self, official: httpx.AsyncClient, database: Database) -> None:
        there = await enrolled(database, 2, LUOHU)
        assert (await official.post(f"/v1/pharmacies/{there}/keys", json={"name": "till"})).status_code == 404
