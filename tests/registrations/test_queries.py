"""Looking at registrations: filters, pages, whose eyes. Everybody here is synthetic."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.core.ids import new_id
from app.core.pagination import encode_cursor
from app.regimes.schemas import RegimeIn
from app.regimes.service import declare_regime
from tests.conftest import MOMENT, Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU
from tests.factories.pharmacies import enrolled
from tests.factories.world import World, a_person
from tests.registrations.conftest import errors_of, send

SECRETS = ("王小样", "11010519491231002", "13800138000", "合成花园", "李四样", "13900139000")


async def ids(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/v1/registrations", params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


@pytest.fixture
async def kept(
    till: httpx.AsyncClient, world: World, clock: SettableClock, database: Database, client_for: Clients
) -> dict[str, str]:
    """Four registrations, an hour apart; the last one in Luohu."""
    patient = {"name": "李四样", "phone": "13900139000", "temperature_c": 38.25}
    bodies = {
        "plain": world.purchase(),
        "for_another": world.purchase(patient=patient, purchased_at="2026-02-15T10:30:00+08:00"),
        "hot": world.purchase(temperature_c=39, items=[{"name": "风寒感冒颗粒"}], answers={"fever_days": 2}),
    }
    told = {}
    for name, body in bodies.items():
        told[name] = (await send(till, body))["id"]
        clock.moment += timedelta(hours=1)
    async with database.transaction() as session:
        regime = {"division": LUOHU, "disease": "covid-19", "state": "register", "valid_from": "2026-01-01"}
        await declare_regime(session, RegimeIn.model_validate(regime), actor=SYSTEM, now=MOMENT)
    elsewhere = await enrolled(database, 5, division=LUOHU)
    other = client_for(await keys.token(database, "pharmacy", pharmacy_ids=[elsewhere]))
    told["luohu"] = (await send(other, world.purchase()))["id"]
    return told


class TestAViewOfRegistrations:
    async def test_has_no_identity(self, kept: dict[str, str], official: httpx.AsyncClient) -> None:
        listed = await official.get("/v1/registrations")
        one = await official.get(f"/v1/registrations/{kept['for_another']}")
        told = one.json()
        assert (told.pop("revisions"), told.pop("void_reason")) == ([], None)
        assert told in listed.json()["items"]
        assert not [secret for secret in SECRETS if secret in listed.text + one.text]
        assert {"buyer", "patient", "content_digest", "sent_by"}.isdisjoint(one.json())
        assert (one.json()["temperature_c"], one.json()["patient_temperature_c"]) == (36.6, 38.25)

    @pytest.mark.parametrize(
        ("params", "found"),
        [
            ({}, ["hot", "for_another", "plain"]),
            ({"division": "440304005"}, ["hot", "for_another", "plain"]),
            ({"division": "440303"}, []),
            ({"class": "cold"}, ["hot"]),
            ({"class": "fever"}, ["for_another", "plain"]),
            ({"class": "no_such_class"}, []),
            ({"purchased_from": "2026-02-15T10:30:00+08:00"}, ["for_another"]),
            ({"purchased_to": "2026-02-15T10:30:00+08:00"}, ["hot", "plain"]),
            ({"received_from": "2026-02-15T03:00:00Z", "received_to": "2026-02-15T04:00:00Z"}, ["for_another"]),
            ({"temperature_from": "38.25"}, ["hot", "for_another"]),
            ({"temperature_from": "38.26"}, ["hot"]),
            ({"flag": "fever"}, ["hot", "for_another"]),
            ({"flag": "fever", "purchased_from": "2026-02-15T10:00:00+08:00"}, ["for_another"]),
        ],
    )
    async def test_shows_what_meets_all_conditions_newest_first(
        self, kept: dict[str, str], official: httpx.AsyncClient, params: dict[str, str], found: list[str]
    ) -> None:
        assert await ids(official, **params) == [kept[name] for name in found]

    async def test_finds_by_pharmacy_and_by_drug(
        self, kept: dict[str, str], official: httpx.AsyncClient, world: World
    ) -> None:
        assert len(await ids(official, pharmacy=str(world.pharmacies[0]))) == 3
        assert await ids(official, pharmacy=str(new_id())) == []
        [item] = (await official.get(f"/v1/registrations/{kept['hot']}")).json()["items"]
        assert await ids(official, drug=item["drug_id"]) == [kept["hot"]]

    @pytest.mark.parametrize(
        ("params", "pointer", "code"),
        [
            ({"flag": "hot"}, "?flag", "enum"),
            ({"pharmacy": "x"}, "?pharmacy", "uuid_parsing"),
            ({"division": "44030"}, "?division", "string_pattern_mismatch"),
            ({"division": "44%"}, "?division", "string_pattern_mismatch"),
            ({"purchased_from": "2026-02-15"}, "?purchased_from", "time_format"),
            ({"purchased_from": "1771119667"}, "?purchased_from", "time_format"),
            ({"temperature_from": "NaN"}, "?temperature_from", "finite_number"),
            ({"temperatur_from": "38"}, "?temperatur_from", "unknown_field"),
            ({"limit": "0"}, "?limit", "greater_than_equal"),
            ({"limit": "501"}, "?limit", "less_than_equal"),
            ({"limit": "9" * 5000}, "?limit", "int_parsing_size"),
            ({"cursor": "x"}, "?cursor", "cursor_invalid"),
            ({"cursor": encode_cursor("x")}, "?cursor", "cursor_invalid"),
            ({"cursor": encode_cursor(1, 2)}, "?cursor", "cursor_invalid"),
            ({"cursor": "a" * 501}, "?cursor", "string_too_long"),
        ],
    )
    async def test_refuses_a_filter_that_it_does_not_understand(
        self, official: httpx.AsyncClient, params: dict[str, str], pointer: str, code: str
    ) -> None:
        answer = await official.get("/v1/registrations", params=params)
        assert (answer.status_code, errors_of(answer)) == (422, [(pointer, code)])


class TestPages:
    async def test_together_are_the_list(self, kept: dict[str, str], official: httpx.AsyncClient) -> None:
        whole = await ids(official)
        answer = await official.get("/v1/registrations", params={"limit": 2, "division": FUTIAN})
        assert [item["id"] for item in answer.json()["items"]] == whole[:2]
        link = answer.headers["link"]
        assert link.startswith("</v1/registrations?")
        assert link.endswith('; rel="next"')
        second = await official.get(link[1 : link.index(">")])
        assert [item["id"] for item in second.json()["items"]] == whole[2:]
        assert (second.json()["next_cursor"], "link" in second.headers) == (None, False)
        by_cursor = await ids(official, limit=2, cursor=answer.json()["next_cursor"])
        assert by_cursor == whole[2:]

    async def test_do_not_move_when_something_arrives(
        self, kept: dict[str, str], official: httpx.AsyncClient, till: httpx.AsyncClient, world: World
    ) -> None:
        whole = await ids(official)
        first = (await official.get("/v1/registrations", params={"limit": 1})).json()
        await send(till, world.purchase())
        assert await ids(official, cursor=first["next_cursor"]) == whole[1:]


class TestWhoeverLooks:
    async def test_from_a_pharmacy_sees_its_own(
        self, kept: dict[str, str], till: httpx.AsyncClient, database: Database, client_for: Clients
    ) -> None:
        assert await ids(till) == [kept[name] for name in ("hot", "for_another", "plain")]
        assert (await till.get(f"/v1/registrations/{kept['luohu']}")).status_code == 404
        stranger = client_for(await keys.token(database, "pharmacy", pharmacy_ids=[await enrolled(database, 6)]))
        assert await ids(stranger) == []
        assert await ids(till, division=LUOHU) == []

    async def test_from_another_division_sees_nothing(
        self, kept: dict[str, str], database: Database, client_for: Clients
    ) -> None:
        luohu = client_for(await keys.token(database, "official", LUOHU))
        assert await ids(luohu) == [kept["luohu"]]
        hidden = await luohu.get(f"/v1/registrations/{kept['plain']}")
        absent = await luohu.get(f"/v1/registrations/{new_id()}")
        assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
        assert {**hidden.json(), "request_id": ""} == {**absent.json(), "request_id": ""}

    async def test_from_above_sees_all_below(
        self, kept: dict[str, str], database: Database, client_for: Clients
    ) -> None:
        assert len(await ids(client_for(await keys.token(database, "official", "4403")))) == 4
        assert len(await ids(client_for(await keys.token(database, "epidemiologist")))) == 4

    @pytest.mark.parametrize("role", ["health_authority", "auditor", "admin"])
    async def test_without_the_permission_is_refused(
        self, kept: dict[str, str], world: World, client_for: Clients, role: str
    ) -> None:
        client = client_for(world.tokens[role])
        for path in ("", f"/{UUID(kept['plain'])}"):
            assert (await client.get(f"/v1/registrations{path}")).status_code == 403

    async def test_at_the_same_person_twice_sees_one_buyer(
        self, till: httpx.AsyncClient, official: httpx.AsyncClient, world: World
    ) -> None:
        for _ in range(2):
            await send(till, world.purchase())
        await send(till, world.purchase(buyer=a_person(phone="13900139000")))
        items = (await official.get("/v1/registrations")).json()["items"]
        assert len({item["buyer_id"] for item in items}) == 2  # two presentations
