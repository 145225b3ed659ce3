"""Searching, reading and revealing over HTTP. Everybody here is synthetic."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, text

from app.audit.models import AuditEntry
from app.core.database import Database
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.histories import service
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU, load_divisions
from tests.factories.rewards import World
from tests.histories.people import NUMBER, OTHER_NUMBER, WANG, bought, listed, presented

DAY = timedelta(days=1)
PURPOSE = "contact tracing of case 2026-0217-001"
SECRETS = ("王小明", "李雷", NUMBER, OTHER_NUMBER, "13800138000", "13900139000", "某花园")


@dataclass
class Scene:
    """A world with a pharmacy in Futian and one in Luohu, and an epidemiologist of each."""

    world: World
    futian: UUID
    luohu: UUID
    here: httpx.AsyncClient
    there: httpx.AsyncClient
    database: Database


@pytest.fixture
async def scene(client_for: Clients, database: Database, keyring: Keyring) -> AsyncIterator[Scene]:
    await load_divisions(database)
    here, there = [client_for(await keys.token(database, "epidemiologist", division)) for division in (FUTIAN, LUOHU)]
    async with database.transaction() as session:
        world = World(session, keyring)
        yield Scene(world, await world.pharmacy(SHATOU), await world.pharmacy(LUOHU), here, there, database)


async def search(client: httpx.AsyncClient, **members: Any) -> list[dict[str, Any]]:
    answer = await client.post("/v1/buyers/search", json={"purpose": PURPOSE} | members)
    assert answer.status_code == 200, answer.text
    assert answer.json()["truncated"] is False
    return list(answer.json()["items"])


async def found(client: httpx.AsyncClient, **members: Any) -> list[str]:
    return [buyer["id"] for buyer in await search(client, **members)]


async def history(client: httpx.AsyncClient, person: UUID, **query: Any) -> Any:
    answer = await client.get(f"/v1/buyers/{person}/history", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def reveal(client: httpx.AsyncClient, person: UUID, purpose: str = PURPOSE) -> httpx.Response:
    return await client.post(f"/v1/buyers/{person}/reveal", json={"purpose": purpose})


def at(told: str) -> datetime:
    return datetime.fromisoformat(told)


class TestSearchingBuyers:
    async def test_finds_one_buyer_however_the_person_was_presented(self, scene: Scene) -> None:
        full_width = NUMBER.translate({ord(c): ord(c) + 0xFEE0 for c in NUMBER})
        variants = [
            await presented(scene.world, MOMENT - 3 * DAY),
            await presented(scene.world, phone="+86 138-0013-8000", address={"division": SHATOU, "line": "某花园"}),
            await presented(scene.world, phone="13900139000"),
            await presented(scene.world, document={"type": "resident_id", "number": full_width}, phone=None),
        ]
        for days, variant in enumerate(variants):
            await bought(scene.world, scene.futian, variant, at=MOMENT - days * DAY)
        [buyer] = await search(scene.here, document={"type": "resident_id", "number": "110105491231002"})
        assert (at(buyer.pop("first_purchase_at")), at(buyer.pop("last_purchase_at"))) == (MOMENT - 3 * DAY, MOMENT)
        assert buyer == {
            "id": str(variants[0]),
            "presentations": 4,
            "document_type": "resident_id",
            "registrations": 4,
            "matched_fields": ["document"],
        }
        assert await found(scene.here, phone="13900139000") == [str(variants[0])]

    async def test_keeps_namesakes_apart_the_most_recent_purchase_first(self, scene: Scene) -> None:
        older = await presented(scene.world)
        newer = await presented(
            scene.world, document={"type": "resident_id", "number": OTHER_NUMBER}, phone="13900139000"
        )
        undocumented = await presented(scene.world, document=None, phone="13900139000")
        for days, person in enumerate((newer, undocumented, older)):
            await bought(scene.world, scene.futian, person, at=MOMENT - days * DAY)
        assert await found(scene.here, name="王　小明") == [str(newer), str(undocumented), str(older)]
        assert [buyer["document_type"] for buyer in await search(scene.here, name="王小明")] == [
            "resident_id",
            None,
            "resident_id",
        ]
        assert await found(scene.here, name="王小明", phone="13900139000") == [str(newer), str(undocumented)]
        assert await found(scene.here, name="李雷") == []

    async def test_asks_that_every_field_holds_for_the_person_not_for_each_presentation(self, scene: Scene) -> None:
        first = await presented(scene.world, name=None, phone="13900139000")
        second = await presented(scene.world, phone=None)
        for person in (first, second):
            await bought(scene.world, scene.futian, person)
        [buyer] = await search(scene.here, name="王小明", phone="13900139000")
        assert (buyer["id"], buyer["matched_fields"]) == (str(first), ["phone", "name"])
        assert await found(scene.here, name="李雷", phone="13900139000") == []

    async def test_counts_a_purchase_once_and_finds_patients_and_cases(self, scene: Scene) -> None:
        buyer, other_phone = await presented(scene.world), await presented(scene.world, phone="13900139000")
        patient = await presented(scene.world, name="李雷", document=None)
        await bought(scene.world, scene.futian, buyer, patient=other_phone)
        await bought(scene.world, scene.futian, None, patient=patient)
        ill = await presented(scene.world, name="李雷", document={"type": "passport", "number": "E12345678"})
        await listed(scene.world, ill, SHATOU)
        [one] = await search(scene.here, document=WANG["document"])
        assert (one["registrations"], one["presentations"]) == (1, 2)
        told = await search(scene.here, name="李雷")
        assert [(one["id"], one["registrations"], one["last_purchase_at"] is None) for one in told] == [
            (str(patient), 1, False),
            (str(ill), 0, True),
        ]

    async def test_sees_only_its_own_division(self, scene: Scene) -> None:
        elsewhere = await presented(scene.world, MOMENT - DAY, phone="13900139000")
        here = await presented(scene.world)
        await bought(scene.world, scene.luohu, elsewhere, at=MOMENT)
        await bought(scene.world, scene.luohu, elsewhere, at=MOMENT)
        [buyer] = await search(scene.there, document=WANG["document"])
        assert (buyer["id"], buyer["registrations"]) == (str(elsewhere), 2)
        assert await found(scene.here, document=WANG["document"]) == []
        await bought(scene.world, scene.futian, here, at=MOMENT - DAY)
        [buyer] = await search(scene.here, document=WANG["document"])
        assert (buyer["id"], buyer["presentations"], buyer["registrations"]) == (str(elsewhere), 1, 1)
        assert at(buyer["last_purchase_at"]) == MOMENT - DAY
        assert await found(scene.here, phone="13900139000") == []
        assert await found(scene.here, document=WANG["document"], phone="13900139000") == []
        # A person whom nobody registered and no list names (one on a roster, say) is not found.
        await presented(scene.world, name="李雷", document=None)
        assert await found(scene.here, name="李雷") == []

    async def test_shows_a_hundred_and_refuses_to_look_through_too_many(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for index in range(4):
            person = await presented(scene.world, document=None, phone=f"1380013800{index}")
            await bought(scene.world, scene.futian, person)
        monkeypatch.setattr(service, "MOST_BUYERS", 3)
        answer = await scene.here.post("/v1/buyers/search", json={"purpose": PURPOSE, "name": "王小明"})
        assert (len(answer.json()["items"]), answer.json()["truncated"]) == (3, True)
        monkeypatch.setattr(service, "MOST_CANDIDATES", 3)
        answer = await scene.here.post("/v1/buyers/search", json={"purpose": PURPOSE, "name": "王小明"})
        assert (answer.status_code, answer.json()["code"]) == (422, "search_too_wide")
        assert len(await found(scene.here, name="王小明", phone="13800138001")) == 1

    @pytest.mark.parametrize(
        ("members", "code", "errors"),
        [
            ({}, "invalid_request", [("", "identity_missing")]),
            ({"name": "王小明", "purpose": " "}, "invalid_request", [("/purpose", "string_too_short")]),
            ({"name": "王小明", "purpose": "x" * 501}, "invalid_request", [("/purpose", "string_too_long")]),
            (
                {"document": {"type": "resident_id", "number": "110105194912310021"}},
                "invalid_request",
                [("/document/number", "document_checksum_wrong")],
            ),
            ({"phone": "12"}, "invalid_request", [("/phone", "phone_invalid")]),
            (
                {"phone": "13800138000", "purpose": "call 138 0013 8000"},
                "purpose_contains_identity",
                [("/purpose", "purpose_contains_identity")],
            ),
            ({"nam": "王小明"}, "invalid_request", [("/nam", "unknown_field")]),
        ],
    )
    async def test_says_what_is_wrong(
        self, scene: Scene, members: dict[str, Any], code: str, errors: list[tuple[str, str]]
    ) -> None:
        answer = await scene.here.post("/v1/buyers/search", json={"purpose": PURPOSE} | members)
        told = answer.json()
        assert (answer.status_code, told["code"]) == (422, code)
        assert [(error["pointer"], error["code"]) for error in told["errors"]] == errors
        assert not any(secret in answer.text for secret in SECRETS)


class TestAHistory:
    async def test_tells_purchases_in_time_order_with_sites_items_flags_and_matches(self, scene: Scene) -> None:
        wang, moved = await presented(scene.world, MOMENT - DAY), await presented(scene.world, phone="13900139000")
        child = await presented(scene.world, name="李雷", document=None)
        for_child = await bought(scene.world, scene.futian, moved, patient=child, at=MOMENT, flags=["fever", "late"])
        own = await bought(scene.world, scene.futian, wang, at=MOMENT - 2 * DAY)
        brought = await bought(scene.world, scene.futian, None, patient=wang, at=MOMENT - DAY)
        case, childs_case = await listed(scene.world, wang, LUOHU), await listed(scene.world, child, SHATOU)
        await scene.world.match(case, for_child, strength="strong")
        await scene.world.match(childs_case, for_child, role="patient")
        await scene.world.match(case, brought, role="patient", status="withdrawn")

        told = await history(scene.here, moved)
        assert (told["id"], told["next_cursor"]) == (str(wang), None)
        assert await history(scene.here, wang) == told
        assert [(one["registration_id"], one["roles"]) for one in told["items"]] == [
            (str(own), ["buyer"]),
            (str(brought), ["patient"]),
            (str(for_child), ["buyer"]),
        ]
        last = told["items"][-1]
        assert at(last.pop("purchased_at")) == MOMENT
        assert last["pharmacy"] == {"id": str(scene.futian), "name": "合成药房1", "division": SHATOU}
        assert last["items"] == [{"line": 0, "drug_id": str(scene.world.drug), "drug": "布洛芬", "quantity": 1}]
        assert last["flags"] == ["fever", "late"]
        # The child's match is the child's, not the buyer's.
        [match] = last["matches"]
        assert (match["case_id"], match["role"], match["strength"]) == (str(case), "buyer", "strong")
        assert [one["status"] for one in told["items"][1]["matches"]] == ["withdrawn"]

    async def test_of_a_purchase_for_oneself_under_two_presentations_is_one_purchase(self, scene: Scene) -> None:
        wang, moved = await presented(scene.world), await presented(scene.world, phone="13900139000")
        await bought(scene.world, scene.futian, wang, patient=moved)
        assert [one["roles"] for one in (await history(scene.here, wang))["items"]] == [["buyer", "patient"]]

    async def test_comes_in_pages(self, scene: Scene) -> None:
        wang = await presented(scene.world)
        made = [str(await bought(scene.world, scene.futian, wang, at=MOMENT - (n % 3) * DAY)) for n in range(7)]
        cursor, read = None, []
        while True:
            page = await history(scene.here, wang, limit=2, **({"cursor": cursor} if cursor else {}))
            assert len(page["items"]) <= 2
            read += [(one["purchased_at"], one["registration_id"]) for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert read == sorted(read)
        assert sorted(one for _, one in read) == sorted(made)
        answer = await scene.here.get(
            f"/v1/buyers/{wang}/history", params={"cursor": "WyIwMDAxLTAxLTAxVDAwOjAwKzE0OjAwIiwgIjAiXQ"}
        )
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "cursor_invalid")

    async def test_shows_only_what_was_registered_in_the_division(self, scene: Scene) -> None:
        wang = await presented(scene.world)
        here, there = [await bought(scene.world, site, wang) for site in (scene.futian, scene.luohu)]
        for client, purchase in ((scene.here, here), (scene.there, there)):
            assert [one["registration_id"] for one in (await history(client, wang))["items"]] == [str(purchase)]

    async def test_of_a_case_that_bought_nothing_is_empty(self, scene: Scene) -> None:
        wang = await presented(scene.world)
        await listed(scene.world, wang, SHATOU)
        assert (await history(scene.here, wang))["items"] == []
        assert (await scene.there.get(f"/v1/buyers/{wang}/history")).status_code == 404


class TestARevelation:
    async def test_opens_what_was_presented_in_the_division_the_newest_first(self, scene: Scene) -> None:
        elsewhere = await presented(scene.world, MOMENT - 2 * DAY, phone="13900139000")
        older = await presented(scene.world, MOMENT - DAY)
        newer = await presented(scene.world, address={"division": SHATOU, "line": "某花园"})
        await bought(scene.world, scene.luohu, elsewhere)
        await bought(scene.world, scene.futian, older)
        await bought(scene.world, scene.futian, None, patient=newer)
        answer = await reveal(scene.here, newer)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        told = answer.json()
        assert (told["id"], told["truncated"]) == (str(elsewhere), False)
        assert [at(one.pop("presented_at")) for one in told["presentations"]] == [MOMENT, MOMENT - DAY]
        same = WANG | {"phone": "+8613800138000", "document_missing_reason": None, "birth_date": "1949-12-31"}
        assert told["presentations"] == [
            same | {"id": str(newer), "address": {"division": SHATOU, "line": "某花园"}},
            same | {"id": str(older), "address": None},
        ]

    async def test_is_bounded(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(service, "MOST_REVEALED", 2)
        people = [await presented(scene.world, MOMENT + n * DAY, phone=f"1380013800{n}") for n in range(3)]
        for person in people:
            await bought(scene.world, scene.futian, person)
        told = (await reveal(scene.here, people[0])).json()
        assert [one["id"] for one in told["presentations"]] == [str(people[2]), str(people[1])]
        assert told["truncated"] is True

    async def test_needs_a_purpose_that_does_not_name_the_person(self, scene: Scene) -> None:
        wang = await presented(scene.world)
        await bought(scene.world, scene.futian, wang)
        for purpose in ("call 13800138000", "王小明", NUMBER):
            answer = await reveal(scene.here, wang, purpose)
            assert (answer.status_code, answer.json()["code"]) == (422, "purpose_contains_identity")
            assert "138" not in answer.text.replace(answer.headers["x-request-id"], "")
        assert (await reveal(scene.here, wang, " ")).status_code == 422


class TestEveryLook:
    async def test_at_somebody_outside_the_division_finds_nothing(self, scene: Scene) -> None:
        wang, unknown = await presented(scene.world), uuid4()
        await bought(scene.world, scene.futian, wang)
        for person in (wang, unknown):
            assert (await scene.there.get(f"/v1/buyers/{person}/history")).status_code == 404
            assert (await reveal(scene.there, person)).status_code == 404
        assert (await reveal(scene.here, wang)).status_code == 200

    @pytest.mark.parametrize("role", ["pharmacy", "official", "health_authority", "auditor", "admin"])
    async def test_is_for_epidemiologists(self, role: str, client_for: Clients, database: Database) -> None:
        pharmacies = [new_id()] if role == "pharmacy" else []
        client = client_for(await keys.token(database, role, None if pharmacies else FUTIAN, pharmacies))
        for method, path in (("POST", "search"), ("GET", f"{uuid4()}/history"), ("POST", f"{uuid4()}/reveal")):
            answer = await client.request(method, f"/v1/buyers/{path}", json={"purpose": PURPOSE, "name": "王小明"})
            assert answer.status_code == 403

    async def test_is_written_down_without_an_identity(self, scene: Scene) -> None:
        wang = await presented(scene.world, address={"division": SHATOU, "line": "某花园"})
        await bought(scene.world, scene.futian, wang)
        await search(scene.here, document=WANG["document"], phone="13800138000", name="王小明")
        await history(scene.here, wang)
        await reveal(scene.here, wang)
        async with scene.database.transaction() as session:
            entries = list(
                await session.scalars(
                    select(AuditEntry).where(AuditEntry.action.startswith("buyer")).order_by(AuditEntry.id)
                )
            )
            written = list(await session.scalars(text("SELECT audit_entries::text FROM audit_entries")))
        assert [(entry.action, entry.subject_id, entry.purpose, entry.detail) for entry in entries] == [
            ("buyers.searched", None, PURPOSE, {"by": ["document", "phone", "name"], "results": 1}),
            ("buyer.history_read", str(wang), None, {}),
            ("buyer.revealed", str(wang), PURPOSE, {"presentations": 1}),
        ]
        assert {(entry.role, entry.division, entry.at) for entry in entries} == {("epidemiologist", FUTIAN, MOMENT)}
        assert all(entry.account_id for entry in entries)
        assert not any(secret in row for row in written for secret in SECRETS)

    async def test_that_is_refused_is_not_written_down(self, scene: Scene) -> None:
        wang = await presented(scene.world)
        await bought(scene.world, scene.futian, wang)
        await reveal(scene.there, wang)
        await reveal(scene.here, wang, "call 13800138000")
        async with scene.database.transaction() as session:
            assert not list(await session.scalars(select(AuditEntry).where(AuditEntry.action.startswith("buyer"))))
