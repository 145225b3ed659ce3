"""The doors: who may open them, what they answer, what they refuse."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.auth.rules import Actor
from app.core.database import Database
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.webhooks.publishing import publish
from tests.conftest import Clients
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU, load_divisions
from tests.factories.keys import token
from tests.factories.webhooks import SAMPLE, an_event

URL = "https://hooks.example.org/sentinel?key=1"


def body(**members: Any) -> dict[str, Any]:
    return {"url": URL, "kinds": [SAMPLE.name], **members}


@pytest.fixture
async def client(client_for: Clients, database: Database, epidemiologist: Actor) -> httpx.AsyncClient:
    """An epidemiologist of Futian."""
    return client_for(await token(database, "epidemiologist", FUTIAN))


@pytest.fixture
async def official(client_for: Clients, database: Database) -> httpx.AsyncClient:
    """An official of Futian."""
    return client_for(await token(database, "official", FUTIAN))


@pytest.fixture
async def stranger(client_for: Clients, database: Database) -> httpx.AsyncClient:
    """An epidemiologist of Luohu, next door."""
    return client_for(await token(database, "epidemiologist", LUOHU))


async def acts(database: Database) -> list[str]:
    async with database.transaction() as session:
        rows = await session.execute(
            text("SELECT action FROM audit_entries WHERE subject_type IN ('subscription', 'delivery') ORDER BY id")
        )
        return list(rows.scalars())


class TestSubscribing:
    async def test_answers_with_the_secret_once_and_the_callers_own_division(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        answer = await client.post("/v1/subscriptions", json=body(kinds=[SAMPLE.name, SAMPLE.name]))
        assert answer.status_code == 201
        made = answer.json()
        assert made["secret"].startswith("whsec_")
        assert (made["divisions"], made["diseases"], made["detail"]) == ([FUTIAN], [], "thin")
        assert made["kinds"] == [SAMPLE.name]
        shown = await client.get(f"/v1/subscriptions/{made['id']}")
        assert shown.json() == {name: value for name, value in made.items() if name != "secret"}
        assert await acts(database) == ["subscription.created"]

    async def test_keeps_the_secret_sealed(self, client: httpx.AsyncClient, database: Database) -> None:
        made = (await client.post("/v1/subscriptions", json=body())).json()
        async with database.transaction() as session:
            dumped = (await session.execute(text("SELECT subscriptions::text FROM subscriptions"))).scalar_one()
        assert made["secret"].removeprefix("whsec_") not in dumped
        assert made["secret"].removeprefix("whsec_").encode().hex() not in dumped

    async def test_with_a_key_pair_answers_with_the_public_half_only(self, client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/subscriptions", json=body(scheme="v1a"))).json()
        assert made["secret"] is None
        assert made["public_key"].startswith("whpk_")

    @pytest.mark.parametrize(
        ("wish", "pointer", "code"),
        [
            ({"url": "http://hooks.example.org/"}, "/url", "url_not_encrypted"),
            ({"url": "https://127.0.0.1/"}, "/url", "url_address_forbidden"),
            ({"url": ""}, "/url", "string_too_short"),
            ({"kinds": []}, "/kinds", "too_short"),
            ({"kinds": ["case.imagined"]}, "/kinds/0", "unknown_kind"),
            ({"kinds": ["subscription.tested"]}, "/kinds/0", "unknown_kind"),
            ({"divisions": [SHATOU, "440304999"]}, "/divisions/1", "division_unknown"),
            ({"divisions": ["4403x4"]}, "/divisions/0", "string_pattern_mismatch"),
            ({"detail": "everything"}, "/detail", "enum"),
            ({"secret": "whsec_mine"}, "/secret", "unknown_field"),
        ],
    )
    async def test_is_refused_with_a_pointer(
        self, client: httpx.AsyncClient, wish: dict[str, Any], pointer: str, code: str
    ) -> None:
        answer = await client.post("/v1/subscriptions", json=body(**wish))
        assert answer.status_code == 422
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]

    async def test_outside_ones_own_division_is_refused(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/subscriptions", json=body(divisions=[SHATOU, LUOHU]))
        assert (answer.status_code, answer.json()["code"]) == (403, "out_of_division")

    async def test_to_identities_needs_the_permission(
        self, client: httpx.AsyncClient, official: httpx.AsyncClient
    ) -> None:
        assert (await client.post("/v1/subscriptions", json=body(detail="identified"))).status_code == 201
        answer = await official.post("/v1/subscriptions", json=body(detail="identified"))
        assert (answer.status_code, answer.json()["code"]) == (403, "identified_not_allowed")

    async def test_ends_at_a_bound(self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.webhooks.service.MAX_SUBSCRIPTIONS", 1)
        assert (await client.post("/v1/subscriptions", json=body())).status_code == 201
        answer = await client.post("/v1/subscriptions", json=body())
        assert (answer.status_code, answer.json()["code"]) == (409, "too_many_subscriptions")

    @pytest.mark.parametrize("role", ["pharmacy", "health_authority", "auditor", "admin"])
    async def test_is_for_epidemiologists_and_officials(
        self, client_for: Clients, database: Database, sample_kinds: None, role: str
    ) -> None:
        await load_divisions(database)
        client = client_for(await token(database, role, FUTIAN))
        assert (await client.post("/v1/subscriptions", json=body())).status_code == 403
        assert (await client.get("/v1/events")).status_code == 403


class TestASubscription:
    async def test_is_not_there_for_a_stranger(self, client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/subscriptions", json=body())).json()
        path = f"/v1/subscriptions/{made['id']}"
        assert (await stranger.get("/v1/subscriptions")).json()["items"] == []
        for answer in (
            await stranger.get(path),
            await stranger.patch(path, json={"enabled": False}),
            await stranger.delete(path),
            await stranger.post(f"{path}/rotate-secret"),
            await stranger.post(f"{path}/test"),
            await stranger.get(f"{path}/deliveries"),
            await client.get(f"/v1/subscriptions/{new_id()}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    async def test_is_changed_where_a_member_is_given(self, client: httpx.AsyncClient, database: Database) -> None:
        made = (await client.post("/v1/subscriptions", json=body(description="old"))).json()
        path = f"/v1/subscriptions/{made['id']}"
        wish = {"url": "https://other.example.org/", "divisions": [SHATOU], "enabled": False, "description": None}
        changed = (await client.patch(path, json=wish)).json()
        assert (changed["url"], changed["divisions"], changed["description"]) == (wish["url"], [SHATOU], "old")
        assert (changed["enabled"], changed["disabled_reason"]) == (False, "owner")
        again = (await client.patch(path, json={"enabled": True})).json()
        assert (again["enabled"], again["disabled_reason"]) == (True, None)
        refused = await client.patch(path, json={"divisions": [LUOHU]})
        assert (refused.status_code, refused.json()["code"]) == (403, "out_of_division")
        async with database.transaction() as session:
            details = (
                (await session.execute(text("SELECT detail::text FROM audit_entries ORDER BY id"))).scalars().all()
            )
        assert not any("example.org" in detail for detail in details)

    async def test_that_tells_identities_is_out_of_an_officials_hands(
        self, client: httpx.AsyncClient, official: httpx.AsyncClient
    ) -> None:
        made = (await client.post("/v1/subscriptions", json=body(detail="identified"))).json()
        path = f"/v1/subscriptions/{made['id']}"
        assert (await official.get(path)).status_code == 200
        for answer in (
            await official.patch(path, json={"url": "https://elsewhere.example.org/"}),
            await official.post(f"{path}/rotate-secret"),
            await official.post(f"{path}/test"),
            await official.delete(path),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "identified_not_allowed")

    async def test_that_was_deleted_is_gone_and_without_secrets(
        self, client: httpx.AsyncClient, database: Database
    ) -> None:
        made = (await client.post("/v1/subscriptions", json=body())).json()
        path = f"/v1/subscriptions/{made['id']}"
        await client.post(f"{path}/rotate-secret")
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404
        async with database.transaction() as session:
            kept = (await session.execute(text("SELECT secret, previous_secret FROM subscriptions"))).one()
        assert tuple(kept) == (None, None)

    async def test_gets_a_new_secret_with_an_overlap(self, client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/subscriptions", json=body())).json()
        answer = (await client.post(f"/v1/subscriptions/{made['id']}/rotate-secret")).json()
        assert answer["secret"] != made["secret"]
        assert answer["subscription"]["previous_secret_until"] is not None

    async def test_list_goes_page_by_page(self, client: httpx.AsyncClient) -> None:
        ids = [(await client.post("/v1/subscriptions", json=body())).json()["id"] for _ in range(3)]
        first = await client.get("/v1/subscriptions?limit=2")
        second = await client.get("/v1/subscriptions", params={"cursor": first.json()["next_cursor"], "limit": 2})
        assert [row["id"] for row in first.json()["items"] + second.json()["items"]] == ids
        assert second.json()["next_cursor"] is None
        assert 'rel="next"' in first.headers["link"]


class TestADelivery:
    async def test_of_a_test_event_is_shown_listed_and_resent(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, database: Database
    ) -> None:
        made = (await client.post("/v1/subscriptions", json=body())).json()
        path = f"/v1/subscriptions/{made['id']}"
        answer = await client.post(f"{path}/test")
        assert answer.status_code == 202
        sent = answer.json()
        assert (sent["kind"], sent["state"], sent["attempts"]) == ("subscription.tested", "pending", [])
        listed = (await client.get(f"{path}/deliveries")).json()["items"]
        assert listed == [{name: value for name, value in sent.items() if name != "attempts"}]
        assert (await client.get(f"{path}/deliveries?state=failed")).json()["items"] == []
        again = await client.post(f"/v1/deliveries/{sent['id']}/resend")
        assert (again.status_code, again.json()["event_id"]) == (202, sent["event_id"])
        for refused in (
            await stranger.get(f"/v1/deliveries/{sent['id']}"),
            await stranger.post(f"/v1/deliveries/{sent['id']}/resend"),
            await client.get(f"/v1/deliveries/{new_id()}"),
        ):
            assert refused.status_code == 404
        assert await acts(database) == ["subscription.created", "subscription.tested", "delivery.resent"]
        assert (await client.get("/v1/events")).json()["items"] == []

    async def test_to_a_disabled_subscription_is_refused(self, client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/subscriptions", json=body())).json()
        path = f"/v1/subscriptions/{made['id']}"
        sent = (await client.post(f"{path}/test")).json()
        await client.patch(path, json={"enabled": False})
        for answer in (await client.post(f"{path}/test"), await client.post(f"/v1/deliveries/{sent['id']}/resend")):
            assert (answer.status_code, answer.json()["code"]) == (409, "subscription_disabled")


class TestPolling:
    async def test_gives_the_events_of_ones_division_in_order_and_never_an_identity(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, database: Database, keyring: Keyring
    ) -> None:
        async with database.transaction() as session:
            ids = await publish(session, [an_event() for _ in range(3)], keyring=keyring)
        first = await client.get("/v1/events?limit=2")
        second = await client.get("/v1/events", params={"after": first.json()["next_cursor"], "limit": 2})
        third = await client.get("/v1/events", params={"after": second.json()["next_cursor"]})
        shown = first.json()["items"] + second.json()["items"]
        assert [row["id"] for row in shown] == [str(event_id) for event_id in ids]
        assert shown[0]["data"] == {"count": 1}
        assert third.json() == {"items": [], "next_cursor": second.json()["next_cursor"]}
        assert f"after={first.json()['next_cursor']}" in first.headers["link"]
        more = (await client.get("/v1/events?detail=pseudonymous")).json()["items"][0]["data"]
        assert more == {"count": 1, "age_band": "30-39"}
        assert (await client.get("/v1/events?detail=identified")).status_code == 422
        assert (await stranger.get("/v1/events")).json()["items"] == []

    @pytest.mark.parametrize("query", ["after=-1", "after=x", f"after={2**63}", "limit=0", "limit=501", "since=1"])
    async def test_with_a_position_that_is_none_is_refused(self, client: httpx.AsyncClient, query: str) -> None:
        assert (await client.get(f"/v1/events?{query}")).status_code == 422
