"""The trail as an auditor reads it."""

import httpx
import pytest
from sqlalchemy import text

from app.audit import service as audit
from app.auth.rules import SYSTEM
from app.core.database import Database
from app.core.sealing import Keyring
from tests.audit.test_service import disarm
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU
from tests.factories.world import World


@pytest.fixture
def auditor(world: World, client_for: Clients) -> httpx.AsyncClient:
    return client_for(world.tokens["auditor"])


async def actions(client: httpx.AsyncClient, **params: str | int) -> list[str]:
    answer = await client.get("/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    return [item["action"] for item in answer.json()["items"]]


class TestTheTrail:
    async def test_is_read_newest_first_in_pages_that_make_the_whole(self, auditor: httpx.AsyncClient) -> None:
        whole = [item["id"] for item in (await auditor.get("/v1/audit")).json()["items"]]
        assert whole == sorted(whole, reverse=True)
        assert len(whole) > 6
        seen: list[int] = []
        path: str | None = "/v1/audit?limit=5"
        while path:
            answer = await auditor.get(path)
            seen += [item["id"] for item in answer.json()["items"]]
            link = answer.headers.get("link")
            assert (link is None) == (answer.json()["next_cursor"] is None)
            path = link[1 : link.index(">")] if link else None
        assert seen == whole

    async def test_is_filtered(self, auditor: httpx.AsyncClient, world: World) -> None:
        assert set(await actions(auditor, action="key.created")) == {"key.created"}
        assert await actions(auditor, action="pharmacy.enrolled", subject_id=str(world.pharmacies[0])) == [
            "pharmacy.enrolled"
        ]
        assert await actions(auditor, account_id="01a2098b-958c-7250-a964-814f36c33736") == []
        assert (await auditor.get("/v1/audit", params={"who": "x"})).status_code == 422

    async def test_of_another_division_is_not_shown(
        self, world: World, database: Database, client_for: Clients
    ) -> None:
        async with database.transaction() as session:
            for division in (FUTIAN, "440304005", LUOHU, "4403", None):
                await audit.record(
                    session,
                    actor=SYSTEM,
                    now=MOMENT,
                    action=f"seen.{division}",
                    subject=("thing", None),
                    division=division,
                )
        mine = client_for(await keys.token(database, "auditor", FUTIAN))
        all_of_it = client_for(await keys.token(database, "auditor"))
        seen = [one for one in await actions(mine) if one.startswith("seen.")]
        assert seen == ["seen.None", "seen.440304005", "seen.440304"]
        assert len([one for one in await actions(all_of_it) if one.startswith("seen.")]) == 5

    async def test_says_whether_it_is_whole(
        self, auditor: httpx.AsyncClient, database: Database, keyring: Keyring
    ) -> None:
        async with database.transaction() as session:
            links = await audit.chain_entries(session, keyring=keyring)
        assert (await auditor.get("/v1/audit")).json()["integrity"] == {
            "whole": True,
            "links": links,
            "broken_at": None,
            "verified_up_to": 0,
            "verified_at": None,
        }
        async with database.transaction() as session:
            await audit.patrol_chain(session, keyring=keyring, now=MOMENT)
        async with database.transaction() as session:
            await disarm(session)
            await session.execute(
                text("UPDATE audit_entries SET role = 'x' WHERE id = (SELECT max(id) FROM audit_entries)")
            )
        assert (await auditor.get("/v1/audit", params={"limit": 1})).json()["integrity"] == {
            "whole": False,
            "links": links - 1,
            "broken_at": links,
            "verified_up_to": links,
            "verified_at": "2026-02-15T02:00:00Z",
        }

    @pytest.mark.parametrize("role", ["health_authority", "epidemiologist", "official", "admin"])
    async def test_is_for_auditors_alone(self, world: World, client_for: Clients, role: str) -> None:
        assert (await client_for(world.tokens[role]).get("/v1/audit")).status_code == 403
        assert (await client_for(world.tills[0]).get("/v1/audit")).status_code == 403
