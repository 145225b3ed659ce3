"""One purchase through the till's door. Everybody here is synthetic."""

from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.core.ids import new_id
from app.people.models import Person
from app.pharmacies.models import Pharmacy
from app.regimes.schemas import RegimeIn
from app.regimes.service import declare_regime
from app.registrations.models import Registration, RegistrationItem
from tests.conftest import MOMENT, Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import LUOHU, SHATOU
from tests.factories.pharmacies import enrolled
from tests.factories.world import DISEASE, World, a_person, build_world
from tests.registrations.conftest import errors_of, send

SAMPLE = {
    "client_reference": "POS7-20260215-000123",
    "purchased_at": "2026-02-15T09:41:07+08:00",
    "buyer": {
        "name": "王小明",
        "document": {"type": "resident_id", "number": "11010519491231002X"},
        "phone": "13800138000",
        "address": {"division": "440304005", "line": "沙头街道某花园 3 栋"},
    },
    "patient": None,
    "temperature_c": 37.8,
    "symptoms": ["fever", "cough"],
    "answers": {"stay_in_affected_area_14d": False, "contact_with_case_14d": False},
    "checks": {"mask": True, "code": "green"},
    "items": [{"gtin": "6922097701513", "name": "布洛芬缓释胶囊", "quantity": 1, "batch": "A1203"}],
}
"""The body that the contract shows."""


async def stored(database: Database, table: type = Registration) -> int:
    async with database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def column(database: Database, name: str) -> Any:
    async with database.transaction() as session:
        return (await session.execute(select(getattr(Registration, name)))).scalar_one()


class TestAPurchase:
    async def test_is_answered_with_what_the_clerk_must_know(self, till: httpx.AsyncClient) -> None:
        told = await send(till, SAMPLE)
        assert (told["received_at"], told["revision"]) == ("2026-02-15T02:00:00Z", 1)
        [item] = told["items"]
        assert item["status"] == "listed"
        assert item["drug"].startswith("布洛芬")
        assert told["flags"] == ["fever"]
        assert [advice["code"] for advice in told["advice"]] == ["refer_to_fever_clinic"]
        assert "发热门诊" in told["advice"][0]["zh"]
        assert told["warnings"] == []

    async def test_sent_again_gets_the_same_answer(
        self, till: httpx.AsyncClient, database: Database, clock: SettableClock
    ) -> None:
        body = SAMPLE | {
            "items": [{"name": "布洛芬缓释胶囊"}, {"name": "合成维生素C片"}, {"gtin": "69220977", "name": "布洛芬片"}],
            "buyer": a_person(phone=None, document={"type": "resident_id", "number": "99010519491231002X"}),
        }
        body["buyer"]["document"]["number"] = "11010519491231002X"
        first = await send(till, body)
        assert first["warnings"]
        assert [item["status"] for item in first["items"]] == ["listed", "unlisted", "listed"]
        clock.moment += timedelta(hours=30)
        assert await send(till, body, 200) == first
        assert await stored(database) == 1

    @pytest.mark.parametrize(
        "same",
        [
            {"purchased_at": "2026-02-15T01:41:07Z"},
            {"temperature_c": "37.80"},
            {"answers": {"contact_with_case_14d": False, "stay_in_affected_area_14d": False}},
            {"checks": {"code": "green", "mask": True, "venue_scan": None}},
        ],
    )
    async def test_written_in_another_way_is_the_same(self, till: httpx.AsyncClient, same: dict[str, Any]) -> None:
        first = await send(till, SAMPLE)
        assert (await send(till, SAMPLE | same, 200))["id"] == first["id"]

    @pytest.mark.parametrize(
        "other",
        [
            {"temperature_c": 37.9},
            {"buyer": a_person(phone="13900139000")},
            {"items": [{"name": "布洛芬缓释胶囊", "quantity": 2}]},
            {"patient": a_person()},
            {"symptoms": []},
        ],
    )
    async def test_with_other_content_under_the_same_reference_is_a_conflict(
        self, till: httpx.AsyncClient, database: Database, other: dict[str, Any]
    ) -> None:
        first = await send(till, SAMPLE)
        refused = await send(till, SAMPLE | other, 409)
        assert refused["code"] == "client_reference_conflict"
        assert await send(till, SAMPLE, 200) == first
        assert await stored(database) == 1

    async def test_of_a_closed_pharmacy_is_gone_but_what_was_sold_before_is_kept(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, world: World
    ) -> None:
        closing = {"standing": "closed", "standing_from": "2026-02-15", "reason": "Moved (synthetic)"}
        assert (await official.patch(f"/v1/pharmacies/{world.pharmacies[0]}", json=closing)).status_code == 200
        assert (await send(till, world.purchase(), 410))["code"] == "pharmacy_closed"
        await send(till, world.purchase(purchased_at="2026-02-14T09:00:00+08:00"))

    async def test_of_a_suspended_pharmacy_is_kept(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, world: World
    ) -> None:
        change = {"standing": "suspended", "standing_from": "2026-02-15", "reason": "Inspection (synthetic)"}
        assert (await official.patch(f"/v1/pharmacies/{world.pharmacies[0]}", json=change)).status_code == 200
        assert (await send(till, world.purchase()))["flags"] == []

    async def test_keeps_no_identity_in_the_registration(self, till: httpx.AsyncClient, database: Database) -> None:
        await send(till, SAMPLE)
        async with database.transaction() as session:
            dump = ""
            for table in ("registrations", "registration_items", "people", "audit_entries", "jobs"):
                rows = await session.execute(text(f"SELECT row_to_json(t)::text FROM {table} t"))
                dump += "\n".join(rows.scalars())
        assert "POS7-20260215-000123" in dump
        for secret in ("王小明", "11010519491231002", "13800138000", "某花园"):
            assert secret not in dump
            assert secret.encode().hex() not in dump

    async def test_leaves_a_job_and_an_audit_entry(self, till: httpx.AsyncClient, database: Database) -> None:
        told = await send(till, SAMPLE)
        async with database.transaction() as session:
            jobs = (await session.execute(text("SELECT kind, payload FROM jobs"))).all()
            audited = (
                await session.execute(text("SELECT detail FROM audit_entries WHERE action = 'registrations.recorded'"))
            ).scalars()
            assert [(job.kind, job.payload) for job in jobs] == [
                ("registrations.recorded", {"registration_ids": [told["id"]]})
            ]
            assert list(audited) == [{"count": 1, "first": told["id"], "last": told["id"]}]


class TestAFlag:
    @pytest.mark.parametrize(
        ("members", "flags", "advice"),
        [
            ({"temperature_c": 37.29}, [], []),
            ({"temperature_c": 37.3}, ["fever"], ["refer_to_fever_clinic"]),
            ({"temperature_c": 39, "patient": a_person() | {"temperature_c": 36.5}}, [], []),
            (
                {"temperature_c": 36.5, "patient": a_person() | {"temperature_c": 38}},
                ["fever"],
                ["refer_to_fever_clinic"],
            ),
            ({"answers": {"stay_in_affected_area_14d": True}}, ["exposure"], ["refer_to_fever_clinic"]),
            ({"answers": {"contact_with_case_14d": True}}, ["exposure"], ["refer_to_fever_clinic"]),
            ({"answers": {"contact_with_case_14d": "unknown", "mosquito_bites": 3}}, [], []),
            ({"checks": {"code": "red"}}, ["red_code"], ["report_red_code"]),
            ({"checks": {"code": "yellow", "mask": False}}, ["yellow_code"], ["report_yellow_code"]),
            ({"temperature_c": None}, ["incomplete"], ["complete_record"]),
            ({"purchased_at": "2026-02-14T09:59:59+08:00"}, ["late"], []),
            ({"purchased_at": "2026-02-14T10:00:00+08:00"}, [], []),
            (
                {"temperature_c": 38, "checks": {"code": "red"}, "buyer": a_person(phone=None)},
                ["fever", "incomplete", "red_code"],
                ["report_red_code", "refer_to_fever_clinic", "complete_record"],
            ),
        ],
    )
    async def test_says_what_to_do(
        self, till: httpx.AsyncClient, world: World, members: dict[str, Any], flags: list[str], advice: list[str]
    ) -> None:
        told = await send(till, world.purchase(**members))
        assert told["flags"] == flags
        assert [one["code"] for one in told["advice"]] == advice
        shown = (await till.get(f"/v1/registrations/{told['id']}")).json()
        assert shown["flags"] == flags


class TestAnIncompletePurchase:
    @pytest.mark.parametrize(
        ("members", "warnings"),
        [
            ({"temperature_c": None}, ["/temperature_c"]),
            ({"buyer": a_person(name=None)}, ["/buyer/name"]),
            ({"buyer": a_person(document=None)}, ["/buyer/document"]),
            ({"buyer": a_person(document=None, document_missing_reason="忘带")}, []),
            ({"buyer": a_person(phone=" ")}, ["/buyer/phone"]),
            ({"buyer": a_person(address={"division": None, "line": "某路"})}, ["/buyer/address"]),
            (
                {"buyer": {"phone": "13800138000"}, "patient": {"name": "王样"}},
                [
                    *("/buyer/name", "/buyer/document", "/buyer/address"),
                    *("/patient/document", "/patient/phone", "/patient/address", "/patient/temperature_c"),
                ],
            ),
        ],
    )
    async def test_is_kept_and_says_what_is_missing(
        self,
        till: httpx.AsyncClient,
        world: World,
        database: Database,
        members: dict[str, Any],
        warnings: list[str],
    ) -> None:
        told = await send(till, world.purchase(**members))
        assert [(one["pointer"], one["code"]) for one in told["warnings"]] == [
            (pointer, "required_by_regime") for pointer in warnings
        ]
        assert told["flags"] == (["incomplete"] if warnings else [])
        assert await stored(database) == 1

    async def test_is_measured_by_what_the_regime_requires(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        body = RegimeIn.model_validate(
            {
                "division": SHATOU,
                "disease": DISEASE,
                "state": "register",
                "valid_from": date(2026, 1, 1),
                "valid_to": None,
                "required": ["name"],
            }
        )
        async with database.transaction() as session:
            await declare_regime(session, body, actor=SYSTEM, now=MOMENT)
        told = await send(till, world.purchase(buyer={"phone": "13800138000"}))
        assert [one["pointer"] for one in told["warnings"]] == ["/buyer/name"]
        assert (await send(till, world.purchase(buyer={"name": "王小样"}, temperature_c=None)))["flags"] == []

    async def test_of_nobody_is_refused(self, till: httpx.AsyncClient, world: World, database: Database) -> None:
        body = world.purchase(buyer={"address": {"division": "440304005", "line": "某路"}}, patient={"name": " "})
        answer = await till.post("/v1/registrations", json=body)
        assert answer.status_code == 422
        assert errors_of(answer) == [("/buyer", "identity_missing"), ("/patient", "identity_missing")]
        assert (await stored(database), await stored(database, Person)) == (0, 0)


class TestARegime:
    @pytest.mark.parametrize("state", ["register", "register_all", "suspended", "counts"])
    async def test_decides_what_is_kept(self, database: Database, client_for: Clients, state: str) -> None:
        world = await build_world(database, state=state)
        till = client_for(world.tills[0])
        listed = await till.post("/v1/registrations", json=world.purchase())
        unlisted = await till.post("/v1/registrations", json=world.purchase(items=[{"name": "合成维生素C片"}]))
        statuses = (listed.status_code, unlisted.status_code)
        assert (
            statuses
            == {
                "register": (201, 422),
                "register_all": (201, 201),
                "suspended": (201, 422),
                "counts": (422, 422),
            }[state]
        )
        if state == "suspended":
            assert listed.json()["flags"] == ["sold_while_suspended"]
            assert [one["code"] for one in listed.json()["advice"]] == ["not_for_sale"]
        for refused in (answer for answer in (listed, unlisted) if answer.status_code == 422):
            assert refused.json()["code"] == "registration_not_required"
        kept = statuses.count(201)
        assert (await stored(database), await stored(database, Person)) == (kept, min(kept, 1))
        assert await stored(database, RegistrationItem) == (1 if listed.status_code == 201 else 0)

    async def test_begins_at_midnight_in_china(
        self, till: httpx.AsyncClient, world: World, clock: SettableClock
    ) -> None:
        clock.moment -= timedelta(days=40)
        before = await send(till, world.purchase(purchased_at="2025-12-31T15:59:59Z"), 422)
        assert before["code"] == "registration_not_required"
        await send(till, world.purchase(purchased_at="2025-12-31T16:00:00Z"))

    async def test_elsewhere_does_not_count(self, world: World, database: Database, client_for: Clients) -> None:
        other = await enrolled(database, 7, division=LUOHU)
        till = client_for(await keys.token(database, "pharmacy", pharmacy_ids=[other]))
        assert (await send(till, world.purchase(), 422))["code"] == "registration_not_required"


class TestALine:
    async def test_that_is_not_listed_is_not_stored(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        items = [
            {"name": "合成维生素C片", "quantity": 3},
            {"name": "芬必得 布洛芬缓释胶囊", "quantity": 2, "batch": "B1", "trace_codes": ["8" * 20]},
        ]
        told = await send(till, world.purchase(items=items))
        assert [item["status"] for item in told["items"]] == ["unlisted", "listed"]
        [shown] = (await till.get(f"/v1/registrations/{told['id']}")).json()["items"]
        assert (shown["line"], shown["quantity"], shown["resolved_by"]) == (1, 2, "name")
        assert (shown["batch"], shown["trace_codes"]) == ("B1", ["8" * 20])
        async with database.transaction() as session:
            rows = await session.execute(text("SELECT row_to_json(t)::text FROM registration_items t"))
        assert "维生素" not in str(rows.scalars().all())

    async def test_with_codes_that_are_none_keeps_them_not_and_says_so(
        self, till: httpx.AsyncClient, world: World
    ) -> None:
        items = [{"gtin": "13800138000", "approval_number": "王小样 13800138000", "name": "布洛芬缓释胶囊"}]
        told = await send(till, world.purchase(items=items))
        assert [(one["pointer"], one["code"]) for one in told["warnings"]] == [
            ("/items/0", "gtin_invalid"),
            ("/items/0", "approval_number_invalid"),
        ]
        [shown] = (await till.get(f"/v1/registrations/{told['id']}")).json()["items"]
        assert (shown["gtin"], shown["approval_number"]) == (None, None)

    async def test_without_any_name_is_refused(self, till: httpx.AsyncClient, world: World) -> None:
        answer = await till.post(
            "/v1/registrations", json=world.purchase(items=[{"name": "布洛芬片"}, {"quantity": 1, "trace_codes": []}])
        )
        assert errors_of(answer) == [("/items/1", "item_unidentified")]


class TestATime:
    @pytest.mark.parametrize(
        ("purchased_at", "code"),
        [
            ("2026-02-15T10:10:00+08:00", None),
            ("2026-02-15T10:10:00.000001+08:00", "purchased_in_future"),
            ("2026-01-16T10:00:00+08:00", None),
            ("2026-01-16T09:59:59+08:00", "purchased_too_long_ago"),
        ],
    )
    async def test_may_be_ten_minutes_ahead_and_thirty_days_back(
        self, till: httpx.AsyncClient, world: World, purchased_at: str, code: str | None
    ) -> None:
        answer = await till.post("/v1/registrations", json=world.purchase(purchased_at=purchased_at))
        assert errors_of(answer) == ([] if code is None else [("/purchased_at", code)])
        assert answer.status_code == (201 if code is None else 422)


class TestWhatIsKeptInPlain:
    @pytest.mark.parametrize(
        ("members", "pointer", "code"),
        [
            ({"client_reference": "P-138-0013-8000"}, "/client_reference", "client_reference_contains_identity"),
            ({"client_reference": "x11010519491231002x"}, "/client_reference", "client_reference_contains_identity"),
            ({"client_reference": "110105491231002"}, "/client_reference", "client_reference_contains_identity"),
            ({"answers": {"phone": "13800138000"}}, "/answers/phone", "contains_identity"),
            ({"answers": {"q_11010519491231002x": True}}, "/answers/q_11010519491231002x", "contains_identity"),
            (
                {"items": [{"name": "布洛芬片"}, {"name": "布洛芬片", "batch": "13800138000"}]},
                "/items/1/batch",
                "contains_identity",
            ),
        ],
    )
    async def test_must_not_hold_an_identity(
        self, till: httpx.AsyncClient, world: World, members: dict[str, Any], pointer: str, code: str
    ) -> None:
        answer = await till.post("/v1/registrations", json=world.purchase(**members))
        assert (answer.status_code, errors_of(answer)) == (422, [(pointer, code)])

    async def test_must_not_hold_the_patients_either(self, till: httpx.AsyncClient, world: World) -> None:
        body = world.purchase(client_reference="POS-13900139000", patient={"phone": "139 0013 9000"})
        answer = await till.post("/v1/registrations", json=body)
        assert errors_of(answer) == [("/client_reference", "client_reference_contains_identity")]

    async def test_may_hold_digits_that_lie_apart(self, till: httpx.AsyncClient, world: World) -> None:
        # 138 at the end of the reference and 00138000 in an answer are not a phone.
        await send(till, world.purchase(client_reference="POS-138", answers={"a": "00138000"}))


class TestAKey:
    async def test_of_a_chain_names_the_pharmacy(self, database: Database, client_for: Clients) -> None:
        world = await build_world(database, pharmacies=3)
        chain = client_for(await keys.token(database, "pharmacy", pharmacy_ids=world.pharmacies[:2]))
        body = world.purchase()
        answer = await chain.post("/v1/registrations", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "pharmacy_not_yours")
        assert errors_of(answer) == [("/pharmacy_id", "required")]
        ids = {(await send(chain, body | {"pharmacy_id": str(own)}))["id"] for own in world.pharmacies[:2]}
        assert len(ids) == 2  # the same reference of two pharmacies is two names
        for foreign in (world.pharmacies[2], new_id()):
            answer = await chain.post("/v1/registrations", json=body | {"pharmacy_id": str(foreign)})
            assert (answer.status_code, answer.json()["code"]) == (403, "pharmacy_not_yours")

    async def test_of_one_pharmacy_may_name_it_and_that_is_the_same_purchase(
        self, till: httpx.AsyncClient, world: World
    ) -> None:
        body = world.purchase()
        first = await send(till, body)
        assert await send(till, body | {"pharmacy_id": str(world.pharmacies[0])}, 200) == first

    @pytest.mark.parametrize("role", ["official", "epidemiologist", "health_authority", "auditor", "admin"])
    async def test_of_another_role_registers_nothing(
        self, world: World, client_for: Clients, database: Database, role: str
    ) -> None:
        for path, body in (("", world.purchase()), ("/batch", [world.purchase()])):
            answer = await client_for(world.tokens[role]).post(f"/v1/registrations{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert await stored(database) == 0

    async def test_of_a_pharmacy_that_does_not_exist_registers_nothing(
        self, world: World, client_for: Clients, database: Database
    ) -> None:
        till = client_for(await keys.token(database, "pharmacy", pharmacy_ids=[new_id()]))
        assert (await send(till, world.purchase(), 403))["code"] == "pharmacy_not_yours"
        assert await stored(database, Pharmacy) == 1
