"""Looking at matches: what agreed, within one's division, without identities."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.core.database import Database
from app.core.sealing import Keyring
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import LUOHU
from tests.factories.identities import flow_worker, old_form
from tests.factories.world import World, a_case, a_person

OLD = old_form("11010519491231002X")


@pytest.fixture
async def matches(
    world: World, client_for: Clients, epidemiologist: httpx.AsyncClient, keyring: Keyring, clock: SettableClock
) -> list[dict[str, Any]]:
    """Two matches with one case: by the old number alone, and by phone and name; the newest first."""
    till = client_for(world.tills[0])
    by_number = a_person(name=None, phone=None, document={"type": "resident_id", "number": OLD})
    by_phone = a_person(document=None)
    clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
    await client_for(world.tokens["health_authority"]).post("/v1/cases", json=a_case())
    for buyer in (by_number, by_phone, a_person(name="李小样", document=None), a_person(phone=None, document=None)):
        answer = await till.post("/v1/registrations", json=world.purchase(buyer=buyer))
        assert answer.status_code == 201, answer.text
        await flow_worker(world.database, keyring, clock).drain()
    return list((await epidemiologist.get("/v1/matches")).json()["items"])


class TestMatches:
    async def test_say_which_fields_agreed(self, matches: list[dict[str, Any]]) -> None:
        said = [(match["strength"], match["status"], match["role"], match["evidence"]) for match in matches]
        absent = dict.fromkeys(("document", "phone", "name", "birth_date"), "absent")
        assert said == [
            ("strong", "counted", "buyer", absent | {"phone": "equal", "name": "equal"}),
            ("certain", "counted", "buyer", absent | {"document": "equal", "birth_date": "equal"}),
        ]

    async def test_are_shown_without_identities(
        self, matches: list[dict[str, Any]], epidemiologist: httpx.AsyncClient
    ) -> None:
        answer = await epidemiologist.get(f"/v1/matches/{matches[0]['id']}")
        assert answer.json() == matches[0]
        for told in ("王小样", "11010519491231002X", OLD, "13800138000"):
            assert told not in answer.text

    async def test_are_filtered_and_paged(
        self, matches: list[dict[str, Any]], epidemiologist: httpx.AsyncClient, world: World
    ) -> None:
        async def found(**params: Any) -> list[str]:
            answer = await epidemiologist.get("/v1/matches", params=params)
            assert answer.status_code == 200, answer.text
            return [match["strength"] for match in answer.json()["items"]]

        assert await found(case=matches[0]["case_id"]) == ["strong", "certain"]
        assert await found(case=str(uuid4())) == []
        assert await found(registration=matches[1]["registration_id"]) == ["certain"]
        assert await found(pharmacy=str(world.pharmacies[0]), disease="covid-19", division="440304") == [
            *("strong", "certain"),
        ]
        assert await found(strength="strong", status="counted") == ["strong"]
        assert await found(status="withdrawn") == []
        first = (await epidemiologist.get("/v1/matches", params={"limit": 1})).json()
        assert [match["strength"] for match in first["items"]] == ["strong"]
        assert await found(limit=1, cursor=first["next_cursor"]) == ["certain"]

    async def test_belong_to_the_division_of_the_pharmacy(
        self, matches: list[dict[str, Any]], client_for: Clients, database: Database
    ) -> None:
        other = client_for(await keys.token(database, "epidemiologist", LUOHU, name="Synthetic Luohu epidemiologist"))
        assert (await other.get("/v1/matches")).json()["items"] == []
        assert (await other.get(f"/v1/matches/{matches[0]['id']}")).status_code == 404

    async def test_are_not_for_pharmacies(
        self, matches: list[dict[str, Any]], client_for: Clients, world: World
    ) -> None:
        assert (await client_for(world.tills[0]).get(f"/v1/matches/{matches[0]['id']}")).status_code == 403
