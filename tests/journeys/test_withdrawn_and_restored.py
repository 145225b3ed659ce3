"""A case comes and goes. What stands at the end is what its last classification says, as if there had been no other."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.core.database import BoundDatabase, Database
from app.core.sealing import Keyring
from tests.conftest import Clients, SettableClock
from tests.factories.identities import resident_number
from tests.factories.world import a_case, a_person, build_world
from tests.journeys.test_from_counter_to_alert import City

BEFORE, AFTER = "2026-02-14T20:10:00+08:00", "2026-02-17T20:10:00+08:00"
"""Confirmations before and after the purchases."""
FRIEND = a_person(name="李小样", document={"type": "resident_id", "number": resident_number(9)}, phone="13900139000")

STATE: Mapping[str, str] = {
    "cases": "SELECT to_jsonb(c) - 'updated_at' FROM cases c ORDER BY id",
    "registrations": "SELECT to_jsonb(r) FROM registrations r ORDER BY id",
    # `turn` counts how often it was told; all else is what a match is.
    "matches": "SELECT to_jsonb(m) - 'turn' - 'changed_at' FROM matches m ORDER BY id",
    "decisions": "SELECT to_jsonb(d) - 'updated_at' FROM reward_decisions d ORDER BY id",
    "balance": "SELECT pharmacy_id, sum(amount) FROM ledger_entries GROUP BY pharmacy_id ORDER BY pharmacy_id",
    "declared": "SELECT to_jsonb(p) - 'turn' - 'judged_at' FROM declared_purchases p ORDER BY id",
    "jobs": "SELECT kind, last_error FROM jobs",
}


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    async with database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(query))]


async def state(city: City) -> dict[str, Any]:
    """Everything that is kept and everything that is shown, without when it last changed and how often."""
    kept: dict[str, Any] = {name: await rows(city.world.database, query) for name, query in STATE.items()}
    for who, path in (
        (city.official, "/v1/rewards/report?group_by=pharmacy"),
        (city.epidemiologist, "/v1/registrations"),
        (city.epidemiologist, "/v1/surveillance/capture?from=2026-02-01&to=2026-02-18"),
    ):
        answer = await who.get(path)
        assert answer.status_code == 200, answer.text
        kept[path] = answer.json()
    return kept


async def classify(city: City, case_id: str, classification: str, confirmed_at: str | None = None) -> None:
    change = {"classification": classification, "confirmed_at": confirmed_at, "reason": "Synthetic"}
    answer = await city.authority.post(f"/v1/cases/{case_id}/classification", json=change)
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def city(database: Database, client_for: Clients, clock: SettableClock, keyring: Keyring) -> City:
    """Two pharmacies with purchases by the case, for the case, and by somebody else; the reward is due to the first."""
    world = await build_world(database, pharmacies=2)
    city = City(world, client_for, clock, keyring)
    other_till = client_for(world.tills[1])
    for hour, till, members in (
        (2, city.till, {}),
        (3, city.till, {"buyer": FRIEND, "patient": a_person() | {"temperature_c": 37.8}}),
        (4, other_till, {}),
        (5, other_till, {"buyer": FRIEND}),
    ):
        clock.moment = datetime(2026, 2, 15, hour, 0, tzinfo=UTC)
        answer = await till.post("/v1/registrations", json=world.purchase(**members))
        assert answer.status_code == 201, answer.text
    return city


async def told(city: City) -> list[str]:
    """What subscribers heard of the case's matches."""
    kinds = "SELECT kind FROM events WHERE kind LIKE '%match%' ORDER BY sequence"
    return [kind for (kind,) in await rows(city.world.database, kinds)]


class TestTenWithdrawals:
    @pytest.mark.parametrize("at_leisure", [True, False], ids=["followed each time", "faster than the worker"])
    async def test_and_restorals_leave_the_state_of_having_done_nothing(self, city: City, at_leisure: bool) -> None:
        case_id = await city.confirm()
        declared = [
            {"pharmacy_id": str(city.world.pharmacies[0]), "purchased_on": day} for day in ("2026-02-15", "2026-02-11")
        ]
        answer = await city.epidemiologist.post(f"/v1/cases/{case_id}/declared-purchases", json={"items": declared})
        assert answer.status_code in (200, 201), answer.text
        await city.runner.drain()
        before = await state(city)
        assert sorted(one["status"] for (one,) in before["declared"]) == ["covered", "missed"]
        assert sorted(decision["status"] for (decision,) in before["decisions"]) == ["not_eligible", "proposed"]
        assert (len(before["matches"]), await told(city)) == (3, ["case.matched"] * 3)
        for _ in range(10):
            await classify(city, case_id, "discarded")
            if at_leisure:
                await city.runner.drain()
                between = await state(city)
                assert {match["status"] for (match,) in between["matches"]} == {"withdrawn"}
                assert {decision["amount"] for (decision,) in between["decisions"]} == {0.0}
            await classify(city, case_id, "confirmed", AFTER)
            await city.runner.drain()
        assert await state(city) == before
        if at_leisure:
            assert await told(city) == [*["case.matched"] * 3, *(["match.withdrawn"] * 3 + ["case.matched"] * 3) * 10]
        assert len((await city.authority.get(f"/v1/cases/{case_id}")).json()["history"]) == 21

    async def test_of_what_was_paid_balance_and_wait_for_the_same_two_officials(self, city: City) -> None:
        case_id = await city.confirm()
        [decision] = (await city.official.get("/v1/rewards/decisions?status=proposed")).json()["items"]
        path = f"/v1/rewards/decisions/{decision['id']}"

        async def grant() -> None:
            for official, act in ((city.official, "approve"), (city.second_official, "pay")):
                answer = await official.post(f"{path}/{act}", json={})
                assert answer.status_code == 200, answer.text

        untouched = await state(city)
        await grant()
        granted = await state(city)
        assert [int(amount) for _, amount in granted["balance"]] == [1000]
        for _ in range(10):
            await classify(city, case_id, "discarded")
            await city.runner.drain()
            await classify(city, case_id, "confirmed", AFTER)
            await city.runner.drain()
            after = await state(city)
            assert [int(amount) for _, amount in after.pop("balance")] == [0]
            assert after == {name: value for name, value in untouched.items() if name != "balance"}
            await grant()
            assert await state(city) == granted
        assert len(await rows(city.world.database, "SELECT id FROM ledger_entries")) == 21

    async def test_by_lists_and_by_hand_are_the_same(self, city: City) -> None:
        """A list raises what was lowered by hand; it never revives what was discarded."""
        case_id = await city.confirm()
        before = await state(city)
        for _ in range(3):
            await classify(city, case_id, "suspected")
            await city.runner.drain()
            assert (await city.authority.post("/v1/cases", json=a_case())).status_code == 200
            await city.runner.drain()
            assert await state(city) == before
        await classify(city, case_id, "discarded")
        refused = await city.authority.post("/v1/cases", json=a_case())
        assert (refused.status_code, refused.json()["code"]) == (409, "case_would_downgrade")
        await classify(city, case_id, "confirmed", AFTER)
        await city.runner.drain()
        assert await state(city) == before


@dataclass(frozen=True)
class Classified:
    """What the authority says next, and whether the worker follows before it says more."""

    classification: str
    confirmed_at: str | None
    by_list: bool
    followed: bool


SAYINGS = st.sampled_from(
    [("suspected", None), ("probable", None), ("discarded", None), ("confirmed", BEFORE), ("confirmed", AFTER)]
)
STEPS = st.lists(
    st.builds(
        lambda saying, by_list, followed: Classified(*saying, by_list, followed), SAYINGS, st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=7,
)
RANK = {"suspected": 0, "probable": 1, "confirmed": 2}


def model(steps: list[Classified]) -> tuple[str, str | None]:
    """What the case is in the end: by hand anything goes, a list can only raise."""
    classification, confirmed_at = "suspected", None
    for step in steps:
        raised = classification in RANK and RANK.get(step.classification, -1) > RANK[classification]
        if not step.by_list or raised:
            classification, confirmed_at = step.classification, step.confirmed_at
    return classification, confirmed_at


class TestAnySequence:
    @settings(
        max_examples=25,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(steps=STEPS)
    async def test_of_classifications_comes_to_what_the_last_one_says(
        self, city: City, steps: list[Classified]
    ) -> None:
        database = city.world.database
        assert isinstance(database, BoundDatabase)
        async with database._connection.begin_nested() as story:
            case_id = await city.confirm(classification="suspected", confirmed_at=None)
            for step in steps:
                if step.by_list:
                    row = a_case(classification=step.classification, confirmed_at=step.confirmed_at)
                    assert (await city.authority.post("/v1/cases", json=row)).status_code in (200, 409)
                else:
                    await classify(city, case_id, step.classification, step.confirmed_at)
                if step.followed:
                    await city.runner.drain()
            await city.runner.drain()
            classification, confirmed_at = model(steps)

            is_case, is_rewarded = classification != "discarded", confirmed_at == AFTER
            matches = await rows(database, "SELECT id, status FROM matches")
            assert [status for _, status in matches] == ["counted" if is_case else "withdrawn"] * 3
            decisions = await rows(
                database,
                "SELECT status, amount::int, first_unmet FROM reward_decisions ORDER BY first_unmet NULLS FIRST",
            )
            if is_rewarded:
                assert decisions == [("proposed", 1000, None), ("not_eligible", 0, "first_reporter")]
            else:
                ground = "registered_before_confirmation" if classification == "confirmed" else "case_confirmed"
                assert decisions == [("not_eligible", 0, ground)] * 2
            # What subscribers heard last of each match is how it is.
            heard = await rows(
                database,
                "SELECT DISTINCT ON (thin ->> 'match_id') thin ->> 'match_id', kind, pseudonymous ->> 'classification'"
                " FROM events WHERE thin ? 'match_id' ORDER BY thin ->> 'match_id', sequence DESC",
            )
            kind = "case.matched" if is_case else "match.withdrawn"
            assert sorted(heard) == sorted((str(match_id), kind, classification) for match_id, _ in matches)
            await story.rollback()
