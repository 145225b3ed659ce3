from datetime import date
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from app.audit.models import AuditEntry
from app.core.database import Database
from app.core.ids import new_id
from app.core.snapshots import versions
from app.regimes.models import RegimeState
from app.regimes.queries import REGIMES
from app.regimes.rules import RegimeKind
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU, load_divisions


@pytest.fixture
async def official(client_for: Clients, database: Database) -> httpx.AsyncClient:
    """An official of Shenzhen."""
    await load_divisions(database)
    return client_for(await keys.token(database, "official", "4403"))


def body(**members: Any) -> dict[str, Any]:
    return {
        "division": FUTIAN,
        "disease": "covid-19",
        "state": "register",
        "valid_from": "2026-01-01",
        "valid_to": None,
    } | members


async def states(client: httpx.AsyncClient, **query: str) -> list[tuple[str, str, str, str | None]]:
    answer = await client.get("/v1/regimes", params=query)
    assert answer.status_code == 200
    return [(one["division"], one["state"], one["valid_from"], one["valid_to"]) for one in answer.json()["items"]]


class TestDeclaringARegime:
    async def test_answers_with_the_state_and_everything_required_by_default(self, official: httpx.AsyncClient) -> None:
        answer = await official.post("/v1/regimes", json=body(reason="A local case (synthetic)"))
        assert answer.status_code == 201
        told = answer.json()
        assert told.pop("id")
        assert told == body(
            required=["name", "document", "phone", "address", "temperature"],
            reason="A local case (synthetic)",
            declared_at="2026-02-15T02:00:00Z",
        )

    async def test_is_seen_by_the_calendar_in_the_same_moment(
        self, official: httpx.AsyncClient, database: Database
    ) -> None:
        tokens = set()
        for state, day in (("register", "2026-01-01"), ("suspended", "2026-02-01")):
            await official.post("/v1/regimes", json=body(state=state, valid_from=day))
            async with database.transaction() as session:
                calendar = await REGIMES.get(session)
                tokens.add((await versions(session))["regimes"])
            assert calendar.regime_on(SHATOU, date(2026, 2, 10)).state == state
        assert len(tokens) == 2

    async def test_ends_an_earlier_state_that_held_until_further_notice(self, official: httpx.AsyncClient) -> None:
        await official.post("/v1/regimes", json=body())
        answer = await official.post("/v1/regimes", json=body(state="suspended", valid_from="2026-02-01"))
        assert answer.status_code == 201
        assert await states(official) == [
            (FUTIAN, "suspended", "2026-02-01", None),
            (FUTIAN, "register", "2026-01-01", "2026-02-01"),
        ]

    @pytest.mark.parametrize(
        "second",
        [
            {"valid_from": "2026-01-01"},
            {"valid_from": "2025-12-01"},
            {"valid_from": "2025-12-01", "valid_to": "2026-01-02"},
        ],
    )
    async def test_is_refused_on_days_that_have_a_state(
        self, official: httpx.AsyncClient, second: dict[str, str]
    ) -> None:
        await official.post("/v1/regimes", json=body())
        answer = await official.post("/v1/regimes", json=body(**second))
        assert (answer.status_code, answer.json()["code"]) == (409, "regime_overlap")
        assert await states(official) == [(FUTIAN, "register", "2026-01-01", None)]

    async def test_does_not_cut_a_state_whose_end_was_announced(self, official: httpx.AsyncClient) -> None:
        await official.post("/v1/regimes", json=body(valid_to="2026-03-01"))
        answer = await official.post("/v1/regimes", json=body(valid_from="2026-02-01"))
        assert answer.status_code == 409
        assert (await official.post("/v1/regimes", json=body(valid_from="2026-03-01"))).status_code == 201

    async def test_leaves_other_diseases_and_divisions_alone(self, official: httpx.AsyncClient) -> None:
        for other in ({}, {"disease": "dengue"}, {"division": SHATOU}, {"division": LUOHU}):
            assert (await official.post("/v1/regimes", json=body(**other))).status_code == 201

    @pytest.mark.parametrize(
        ("wrong", "status", "code", "pointer"),
        [
            ({"division": "440106"}, 403, "out_of_division", "/division"),
            ({"division": "440399"}, 422, "division_unknown", "/division"),
            ({"state": "closed"}, 422, "invalid_request", "/state"),
            ({"required": ["name", "shoe_size"]}, 422, "invalid_request", "/required/1"),
            ({"valid_from": 20260101}, 422, "invalid_request", "/valid_from"),
            ({"valid_from": "9999-12-31"}, 422, "invalid_request", "/valid_from"),
            ({"valid_to": "2026-01-01"}, 422, "invalid_request", ""),
        ],
    )
    async def test_is_refused_with_a_pointer(
        self, official: httpx.AsyncClient, wrong: dict[str, Any], status: int, code: str, pointer: str
    ) -> None:
        answer = await official.post("/v1/regimes", json=body(**wrong))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

    async def test_is_an_officials_act_and_written_down(
        self, official: httpx.AsyncClient, client_for: Clients, database: Database
    ) -> None:
        epidemiologist = client_for(await keys.token(database, "epidemiologist", "4403"))
        assert (await epidemiologist.post("/v1/regimes", json=body())).status_code == 403
        told = (await official.post("/v1/regimes", json=body())).json()
        async with database.transaction() as session:
            acts = await session.execute(
                select(AuditEntry.subject_id, AuditEntry.division, AuditEntry.role).where(
                    AuditEntry.action == "regime.declared"
                )
            )
        assert acts.all() == [(told["id"], FUTIAN, "official")]


class TestTheListOfRegimes:
    async def test_shows_what_lies_below_and_what_applies_from_above(
        self, official: httpx.AsyncClient, client_for: Clients, database: Database
    ) -> None:
        for place, day in (("4403", "01"), (FUTIAN, "02"), (SHATOU, "03"), (LUOHU, "04")):
            await official.post("/v1/regimes", json=body(division=place, valid_from=f"2026-01-{day}"))
        in_futian = client_for(await keys.token(database, "auditor", FUTIAN))
        assert [place for place, *_ in await states(in_futian)] == [SHATOU, FUTIAN, "4403"]
        assert [place for place, *_ in await states(official, division=LUOHU)] == [LUOHU, "4403"]
        assert [place for place, *_ in await states(in_futian, division="440304006")] == [FUTIAN, "4403"]

    async def test_can_be_asked_for_a_day_and_a_disease(self, official: httpx.AsyncClient) -> None:
        await official.post("/v1/regimes", json=body(valid_to="2026-02-01"))
        await official.post("/v1/regimes", json=body(valid_from="2026-01-15", disease="dengue"))
        assert len(await states(official, on="2026-01-31")) == 2
        assert await states(official, on="2026-02-01") == [(FUTIAN, "register", "2026-01-15", None)]
        assert await states(official, on="2026-01-20", disease="covid-19") == [
            (FUTIAN, "register", "2026-01-01", "2026-02-01")
        ]

    async def test_comes_in_pages(self, official: httpx.AsyncClient) -> None:
        for disease in ("covid-19", "dengue", "measles"):
            await official.post("/v1/regimes", json=body(disease=disease))
        seen, query = [], {"limit": "2"}
        for _ in range(2):
            page = (await official.get("/v1/regimes", params=query)).json()
            seen += [one["disease"] for one in page["items"]]
            query["cursor"] = page["next_cursor"]
        assert sorted(seen) == ["covid-19", "dengue", "measles"]
        assert page["next_cursor"] is None


class TestTheTable:
    async def test_itself_refuses_two_states_on_one_day(self, database: Database) -> None:
        await load_divisions(database)
        rows = [
            {
                "id": new_id(),
                "division": FUTIAN,
                "disease": "covid-19",
                "state": RegimeKind.REGISTER,
                "valid_from": date(2026, 1, day),
                "valid_to": None,
                "required": [],
                "declared_at": MOMENT,
            }
            for day in (1, 20)
        ]
        with pytest.raises(IntegrityError, match="ex_regime_states_overlap"):
            async with database.transaction() as session:
                await session.execute(insert(RegimeState), rows)
