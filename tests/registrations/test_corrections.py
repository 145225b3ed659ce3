"""Corrections and voids through the pharmacy's door. Everybody here is synthetic."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.database import Database
from app.registrations.models import Registration, RegistrationRevision
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.pharmacies import enrolled
from tests.factories.world import World, a_person, a_purchase
from tests.registrations.conftest import errors_of, send

OTHER = a_person(name="李小样", document=None, document_missing_reason="forgotten", phone="13900139000")


def a_correction(reason: str = "Misread", **members: Any) -> dict[str, Any]:
    body = a_purchase(**members)
    del body["client_reference"]
    return {"reason": reason, "registration": body}


async def correct(till: httpx.AsyncClient, one: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
    answer = await till.post(f"/v1/registrations/{one}/corrections", json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def void(till: httpx.AsyncClient, one: str, reason: str = "Cancelled", status: int = 200) -> dict[str, Any]:
    answer = await till.post(f"/v1/registrations/{one}/void", json={"reason": reason})
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def shown(reader: httpx.AsyncClient, one: str) -> dict[str, Any]:
    answer = await reader.get(f"/v1/registrations/{one}")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture
async def first(till: httpx.AsyncClient) -> dict[str, Any]:
    return await send(till, a_purchase())


class TestACorrection:
    async def test_is_a_new_revision_and_the_earlier_one_stays(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, first: dict[str, Any], clock: SettableClock
    ) -> None:
        clock.moment += timedelta(hours=3)
        told = await correct(till, first["id"], a_correction(buyer=OTHER, temperature_c=38))
        assert (told["id"], told["revision"], told["received_at"]) == (first["id"], 2, first["received_at"])
        assert told["flags"] == ["fever"]
        assert (told["receipt"]["kind"], told["receipt"]["number"]) == ("corrected", 2)
        assert told["receipt"]["received_at"] == "2026-02-15T05:00:00Z"
        now = await shown(official, first["id"])
        [before] = now["revisions"]
        assert (now["revision"], now["temperature_c"], now["received_at"]) == (2, 38, first["received_at"])
        assert (before["revision"], before["temperature_c"], before["flags"]) == (1, 36.6, [])
        assert (before["reason"], before["replaced_at"]) == ("Misread", "2026-02-15T05:00:00Z")
        assert (before["identity_changed"], before["items"]) == (True, now["items"])

    async def test_sent_again_gets_the_same_answer(self, till: httpx.AsyncClient, first: dict[str, Any]) -> None:
        told = await correct(till, first["id"], a_correction(temperature_c=38))
        assert await correct(till, first["id"], a_correction(temperature_c=38), 200) == told
        full = a_correction(temperature_c=38)
        full["registration"] |= {"client_reference": "SYN-000001", "pharmacy_id": told["receipt"]["pharmacy_id"]}
        assert await correct(till, first["id"], full, 200) == told

    async def test_sent_again_after_the_next_one_does_not_undo_that(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, first: dict[str, Any]
    ) -> None:
        told = await correct(till, first["id"], a_correction("One", temperature_c=38))
        await correct(till, first["id"], a_correction("Two", temperature_c=39))
        assert await correct(till, first["id"], a_correction("One", temperature_c=38), 200) == told
        assert (await shown(official, first["id"]))["temperature_c"] == 39
        await correct(till, first["id"], a_correction("Three", temperature_c=38))
        assert (await shown(official, first["id"]))["revision"] == 4

    async def test_leaves_what_was_sent_first_a_repetition(
        self, till: httpx.AsyncClient, world: World, first: dict[str, Any]
    ) -> None:
        listed = [{"name": "合成维生素C片"}, {"name": "布洛芬缓释胶囊", "quantity": 2}]
        told = await correct(till, first["id"], a_correction(items=listed))
        assert [item["status"] for item in told["items"]] == ["unlisted", "listed"]
        assert await send(till, a_purchase(), 200) == first
        assert await send(till, a_purchase(items=listed), 200) == told
        assert (await send(till, a_purchase(temperature_c=40), 409))["code"] == "client_reference_conflict"

    async def test_is_judged_like_a_registration_at_the_time_of_receipt(
        self, till: httpx.AsyncClient, first: dict[str, Any], clock: SettableClock, official: httpx.AsyncClient
    ) -> None:
        clock.moment += timedelta(days=40)
        refused = await till.post(
            f"/v1/registrations/{first['id']}/corrections",
            json=a_correction(buyer=a_person(name=None, document=None, phone=None)),
        )
        assert errors_of(refused) == [("/registration/buyer", "identity_missing")]
        refused = await till.post(
            f"/v1/registrations/{first['id']}/corrections", json=a_correction(purchased_at="2026-02-15T11:00:00+08:00")
        )
        assert errors_of(refused) == [("/registration/purchased_at", "purchased_in_future")]
        unlisted = a_correction(items=[{"name": "合成维生素C片"}])
        assert (await correct(till, first["id"], unlisted, 422))["code"] == "registration_not_required"
        told = await correct(till, first["id"], a_correction(buyer=a_person(phone=None)))
        assert told["flags"] == ["incomplete"]
        assert (await shown(official, first["id"]))["revision"] == 2

    @pytest.mark.parametrize(
        ("member", "value"), [("client_reference", "OTHER"), ("pharmacy_id", "01890000-0000-7000-8000-000000000000")]
    )
    async def test_keeps_the_name(
        self, till: httpx.AsyncClient, first: dict[str, Any], member: str, value: str
    ) -> None:
        body = a_correction()
        body["registration"][member] = value
        refused = await till.post(f"/v1/registrations/{first['id']}/corrections", json=body)
        assert (refused.status_code, errors_of(refused)) == (422, [(f"/registration/{member}", "name_differs")])

    @pytest.mark.parametrize("reason", ["It was 王小样", "phone 138-0013-8000", "now 13900139000"])
    async def test_names_nobody_in_its_reason(
        self, till: httpx.AsyncClient, first: dict[str, Any], reason: str
    ) -> None:
        body = a_correction(reason, buyer=OTHER)
        refused = await till.post(f"/v1/registrations/{first['id']}/corrections", json=body)
        assert errors_of(refused) == [("/reason", "reason_contains_identity")]

    async def test_is_the_pharmacy_s_own_affair(
        self, world: World, first: dict[str, Any], official: httpx.AsyncClient, client_for: Clients
    ) -> None:
        assert (await official.post(f"/v1/registrations/{first['id']}/void", json={"reason": "x"})).status_code == 403
        other = await enrolled(world.database, 7)
        stranger = client_for(
            await keys.token(world.database, "pharmacy", pharmacy_ids=[other], name="Synthetic other")
        )
        await correct(stranger, first["id"], a_correction(), 404)
        await void(stranger, first["id"], status=404)
        assert (await stranger.get(f"/v1/registrations/{first['id']}/receipt")).status_code == 404

    async def test_ends_at_a_hundred_revisions(
        self, till: httpx.AsyncClient, first: dict[str, Any], database: Database
    ) -> None:
        async with database.transaction() as session:
            await session.execute(text("UPDATE registrations SET revision = 100"))
        assert (await correct(till, first["id"], a_correction(temperature_c=38), 409))["code"] == "too_many_corrections"

    async def test_is_in_the_trail_and_matched_anew(
        self, till: httpx.AsyncClient, first: dict[str, Any], database: Database
    ) -> None:
        await correct(till, first["id"], a_correction(temperature_c=38))
        async with database.transaction() as session:
            jobs = await session.scalars(text("SELECT payload FROM jobs WHERE kind = 'registrations.recorded'"))
            assert [job["registration_ids"] for job in jobs] == [[first["id"]]] * 2
            actions = await session.scalars(text("SELECT action FROM audit_entries ORDER BY id DESC LIMIT 1"))
            assert actions.all() == ["registration.corrected"]


class TestARevision:
    def test_keeps_everything_that_stood_there(self) -> None:
        columns = {column.name for column in Registration.__table__.columns}
        kept = {column.name for column in RegistrationRevision.__table__.columns}
        # The same in all revisions of a registration.
        assert columns - kept <= {"id", "pharmacy_id", "client_reference", "voided_at", "void_reason", "sandbox"}


class TestAVoid:
    async def test_keeps_the_record_and_says_why(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, first: dict[str, Any]
    ) -> None:
        told = await void(till, first["id"])
        assert (told["voided_at"], told["reason"]) == ("2026-02-15T02:00:00Z", "Cancelled")
        assert (told["receipt"]["kind"], told["receipt"]["previous"]) == ("voided", first["receipt"]["hash"])
        now = await shown(official, first["id"])
        assert (now["voided_at"], now["void_reason"], now["flags"]) == (told["voided_at"], "Cancelled", ["voided"])
        [listed] = (await official.get("/v1/registrations", params={"flag": "voided"})).json()["items"]
        assert listed["voided_at"] == told["voided_at"]

    async def test_again_is_the_same(
        self, till: httpx.AsyncClient, first: dict[str, Any], clock: SettableClock
    ) -> None:
        told = await void(till, first["id"])
        clock.moment += timedelta(hours=1)
        assert await void(till, first["id"], "For another reason") == told

    async def test_cannot_be_corrected_but_what_was_corrected_before_is_answered(
        self, till: httpx.AsyncClient, first: dict[str, Any]
    ) -> None:
        told = await correct(till, first["id"], a_correction(temperature_c=38))
        await void(till, first["id"])
        assert (await correct(till, first["id"], a_correction(temperature_c=39), 409))["code"] == "registration_voided"
        again = await correct(till, first["id"], a_correction(temperature_c=38), 200)
        assert again == told | {"flags": ["fever", "voided"]}

    async def test_is_told_when_the_purchase_is_sent_again(
        self, till: httpx.AsyncClient, first: dict[str, Any]
    ) -> None:
        await correct(till, first["id"], a_correction(temperature_c=38))
        await void(till, first["id"])
        assert await send(till, a_purchase(), 200) == first | {"flags": ["voided"]}
        assert (await send(till, a_purchase(temperature_c=38), 200))["flags"] == ["fever", "voided"]

    async def test_names_nobody_in_its_reason(self, till: httpx.AsyncClient, first: dict[str, Any]) -> None:
        refused = await till.post(f"/v1/registrations/{first['id']}/void", json={"reason": "王小样 came back"})
        assert errors_of(refused) == [("/reason", "reason_contains_identity")]
