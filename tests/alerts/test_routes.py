"""Answering alerts: forming, passing on, answering, feeding back."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry
from app.core.database import Database
from app.core.sealing import Keyring
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import LUOHU
from tests.factories.identities import flow_worker
from tests.factories.world import World, a_case


@pytest.fixture
async def alert(
    world: World, client_for: Clients, epidemiologist: httpx.AsyncClient, keyring: Keyring, clock: SettableClock
) -> dict[str, Any]:
    """A clue, as it was just raised."""
    till = client_for(world.tills[0])
    assert (await till.post("/v1/registrations", json=world.purchase(temperature_c=38.1))).status_code == 201
    await flow_worker(world.database, keyring, clock).drain()
    [alert] = (await epidemiologist.get("/v1/alerts")).json()["items"]
    return dict(alert)


class TestAnAlert:
    async def test_is_acknowledged_and_closed_and_remembers_both(
        self, epidemiologist: httpx.AsyncClient, alert: dict[str, Any], clock: SettableClock, database: Database
    ) -> None:
        path = f"/v1/alerts/{alert['id']}"
        assert (alert["state"], alert["history"], alert["kind"]) == ("raised", [], "clue.reported")
        clock.moment += timedelta(minutes=5)
        first = await epidemiologist.post(f"{path}/acknowledge", json={"feedback": "On the way"})
        assert (first.status_code, first.json()["state"]) == (200, "acknowledged")
        clock.moment += timedelta(minutes=5)
        last = await epidemiologist.post(f"{path}/close", json={"feedback": "Tested negative"})
        assert (last.status_code, last.json()["state"]) == (200, "closed")
        steps = [(step["number"], step["state"], step["feedback"]) for step in last.json()["history"]]
        assert steps == [(1, "acknowledged", "On the way"), (2, "closed", "Tested negative")]
        times = [step["at"] for step in last.json()["history"]]
        assert times == ["2026-02-15T02:05:00Z", "2026-02-15T02:10:00Z"]
        assert (await epidemiologist.get(path)).json() == last.json()
        async with database.transaction() as session:
            trail = await session.execute(
                select(AuditEntry.action, AuditEntry.subject_id, AuditEntry.role)
                .where(AuditEntry.subject_type == "alert")
                .order_by(AuditEntry.id)
            )
            assert [tuple(row) for row in trail] == [
                ("alert.acknowledged", alert["id"], "epidemiologist"),
                ("alert.closed", alert["id"], "epidemiologist"),
            ]

    async def test_may_be_closed_at_once(self, epidemiologist: httpx.AsyncClient, alert: dict[str, Any]) -> None:
        closed = await epidemiologist.post(f"/v1/alerts/{alert['id']}/close", json={"feedback": "Known already"})
        assert [step["state"] for step in closed.json()["history"]] == ["closed"]

    @pytest.mark.parametrize(
        "steps", [["acknowledge", "acknowledge"], ["close", "acknowledge"], ["close", "close"]], ids=" then ".join
    )
    async def test_does_not_go_back(
        self, epidemiologist: httpx.AsyncClient, alert: dict[str, Any], steps: list[str]
    ) -> None:
        for step in steps:
            answer = await epidemiologist.post(f"/v1/alerts/{alert['id']}/{step}", json={"feedback": "-"})
        assert (answer.status_code, answer.json()["code"]) == (409, "alert_transition_not_allowed")
        assert len((await epidemiologist.get(f"/v1/alerts/{alert['id']}")).json()["history"]) == 1

    @pytest.mark.parametrize("body", [{}, {"feedback": None}, {"feedback": "  "}])
    async def test_is_not_closed_without_feedback(
        self, epidemiologist: httpx.AsyncClient, alert: dict[str, Any], body: dict[str, Any]
    ) -> None:
        assert (await epidemiologist.post(f"/v1/alerts/{alert['id']}/close", json=body)).status_code == 422

    @pytest.mark.parametrize("feedback", ["王小样来过电话", "打 138-0013-8000 无人接听"])
    @pytest.mark.parametrize("step", ["acknowledge", "close"])
    async def test_is_not_answered_with_an_identity(
        self, epidemiologist: httpx.AsyncClient, alert: dict[str, Any], step: str, feedback: str
    ) -> None:
        answer = await epidemiologist.post(f"/v1/alerts/{alert['id']}/{step}", json={"feedback": feedback})
        assert answer.status_code == 422
        assert [error["code"] for error in answer.json()["errors"]] == ["feedback_contains_identity"]

    async def test_is_unknown_in_other_divisions(
        self, client_for: Clients, database: Database, alert: dict[str, Any]
    ) -> None:
        other = client_for(await keys.token(database, "epidemiologist", LUOHU, name="Synthetic Luohu epidemiologist"))
        path = f"/v1/alerts/{alert['id']}"
        for answer in (
            await other.get(path),
            await other.post(f"{path}/acknowledge", json={}),
            await other.post(f"{path}/close", json={"feedback": "-"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await other.get("/v1/alerts")).json()["items"] == []

    async def test_is_not_for_every_role(self, client_for: Clients, world: World, alert: dict[str, Any]) -> None:
        for token in (world.tills[0], world.tokens["health_authority"], world.tokens["auditor"]):
            assert (await client_for(token).get(f"/v1/alerts/{alert['id']}")).status_code == 403


class TestTheListOfAlerts:
    async def test_is_filtered_and_paged(
        self,
        epidemiologist: httpx.AsyncClient,
        alert: dict[str, Any],
        world: World,
        client_for: Clients,
        keyring: Keyring,
        clock: SettableClock,
    ) -> None:
        clock.moment += timedelta(days=3)
        authority = client_for(world.tokens["health_authority"])
        case = (await authority.post("/v1/cases", json=a_case())).json()
        await flow_worker(world.database, keyring, clock).drain()

        async def kinds(**params: Any) -> list[str]:
            answer = await epidemiologist.get("/v1/alerts", params=params)
            assert answer.status_code == 200, answer.text
            return [item["kind"] for item in answer.json()["items"]]

        assert await kinds() == ["case.matched", "clue.reported"]
        assert await kinds(case=case["id"]) == ["case.matched"]
        assert await kinds(registration=alert["registration_id"]) == ["case.matched", "clue.reported"]
        assert await kinds(kind="clue.reported", state="raised", severity="warning") == ["clue.reported"]
        assert await kinds(severity="critical", disease="covid-19", division="440304") == ["case.matched"]
        assert await kinds(division="440304006") == []
        assert await kinds(state="closed") == []
        first = (await epidemiologist.get("/v1/alerts", params={"limit": 1})).json()
        assert [item["kind"] for item in first["items"]] == ["case.matched"]
        rest = await kinds(limit=1, cursor=first["next_cursor"])
        assert rest == ["clue.reported"]
