"""Decisions in the database: computed from rows, moved by officials, with their history and the ledger."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry
from app.auth.rules import Actor
from app.core.database import Database
from app.core.errors import NotFound
from app.core.sealing import Keyring
from app.rewards import queries, service
from app.rewards.changes import Decided
from app.rewards.models import LedgerEntry, RewardDecision
from app.rewards.service import SameOfficial, TransitionNotAllowed
from tests.conftest import MOMENT
from tests.factories import divisions, keys
from tests.factories.rewards import CONFIRMED, PURCHASED, World


class Stage:
    """A world with decisions about it."""

    def __init__(self, session: AsyncSession, keyring: Keyring, officials: Sequence[Actor]) -> None:
        self.world = World(session, keyring)
        self.session, self.keyring = session, keyring
        self.one, self.other = officials

    async def evaluate(self, *cases: UUID) -> list[Decided]:
        return await service.evaluate_cases(self.session, cases, now=MOMENT)

    async def decisions(self, case: UUID) -> dict[UUID, dict[str, Any]]:
        rows = await queries.decisions_of_cases(self.session, [case])
        return {row["pharmacy_id"]: row for row in rows}

    async def proposed(self, **confirmed: Any) -> tuple[UUID, UUID, UUID]:
        """A case, a pharmacy and the proposed decision about them."""
        case, pharmacy = await self.world.case(**confirmed), await self.world.pharmacy()
        await self.world.match(case, await self.world.registration(pharmacy))
        await self.evaluate(case)
        return case, pharmacy, (await self.decisions(case))[pharmacy]["id"]

    async def approve(self, decision: UUID) -> None:
        await service.approve_reward(self.session, decision, actor=self.one, now=MOMENT)

    async def pay(self, decision: UUID, actor: Actor | None = None) -> None:
        await service.pay_reward(self.session, decision, actor=actor or self.other, now=MOMENT)

    async def status(self, decision: UUID) -> str:
        row = await queries.get_decision_row(self.session, decision, scope=None)
        return str(row["status"])

    async def ledger(self, decision: UUID) -> list[Decimal]:
        rows = await self.session.scalars(
            select(LedgerEntry.amount).where(LedgerEntry.decision_id == decision).order_by(LedgerEntry.id)
        )
        return list(rows)

    async def steps(self, decision: UUID) -> list[str]:
        row = await queries.get_decision(self.session, decision, scope=None)
        return [f"{step.act} → {step.to_status}" for step in row["history"]]


@pytest.fixture
async def stage(database: Database, session: AsyncSession, keyring: Keyring) -> Stage:
    await divisions.load_divisions(database)
    officials = [await keys.actor(database, "official", "440304", name=f"Synthetic official {n}") for n in "AB"]
    return Stage(session, keyring, officials)


class TestAnEvaluation:
    async def test_proposes_a_reward_with_all_criteria_met(self, stage: Stage) -> None:
        case, pharmacy = await stage.world.case(), await stage.world.pharmacy()
        registration = await stage.world.registration(pharmacy)
        await stage.world.match(case, registration)
        (decided,) = await stage.evaluate(case)
        assert (decided.before, decided.after, decided.amount) == (None, "proposed", Decimal("1000.00"))
        row = (await stage.decisions(case))[pharmacy]
        assert (row["registration_id"], row["policy_version"], row["first_unmet"]) == (registration, 1, None)
        assert [one["met"] for one in row["criteria"]] == [True] * 12

    async def test_changes_nothing_when_done_again(self, stage: Stage) -> None:
        case, pharmacy, decision = await stage.proposed()
        before = (await stage.decisions(case))[pharmacy]
        assert await stage.evaluate(case) == []
        assert (await stage.decisions(case))[pharmacy] == before
        assert await stage.steps(decision) == ["evaluate → proposed"]

    @pytest.mark.parametrize(
        ("facts", "first_unmet"),
        [
            ({"received_at": PURCHASED + timedelta(hours=25)}, "registered_on_time"),
            (
                {"purchased_at": CONFIRMED - timedelta(minutes=1), "received_at": CONFIRMED},
                "registered_before_confirmation",
            ),
            ({"purchased_at": CONFIRMED - timedelta(days=15)}, "within_window"),
            ({"flags": ["incomplete"]}, "record_complete"),
            ({"listed": False}, "listed_drug"),
        ],
    )
    async def test_reads_each_fact_of_the_registration(
        self, stage: Stage, facts: dict[str, Any], first_unmet: str
    ) -> None:
        case, pharmacy = await stage.world.case(), await stage.world.pharmacy()
        await stage.world.match(case, await stage.world.registration(pharmacy, **facts))
        (decided,) = await stage.evaluate(case)
        assert (decided.after, decided.first_unmet, decided.amount) == ("not_eligible", first_unmet, Decimal("0.00"))

    async def test_reads_the_standing_on_the_day_of_the_purchase(self, stage: Stage) -> None:
        world, bought_on = stage.world, PURCHASED.date()
        case, was, will_be = await world.case(), await world.pharmacy(), await world.pharmacy()
        await world.standing(was, "suspended", bought_on, number=2)
        await world.standing(was, "active", bought_on + timedelta(days=1), number=3)
        await world.standing(will_be, "suspended", bought_on + timedelta(days=1), number=2)
        for pharmacy in (was, will_be):
            await world.match(case, await world.registration(pharmacy))
        await stage.evaluate(case)
        told = {pharmacy: row["first_unmet"] for pharmacy, row in (await stage.decisions(case)).items()}
        assert told == {was: "pharmacy_in_good_standing", will_be: None}

    async def test_knows_a_colleague_by_phone_and_name_while_on_the_roster(self, stage: Stage) -> None:
        world = stage.world
        bought_on = PURCHASED.date()
        case, with_staff, with_former_staff = await world.case(), await world.pharmacy(), await world.pharmacy()
        shown = await world.person("合成店员", "15400009999")
        for pharmacy, until in ((with_staff, None), (with_former_staff, bought_on)):
            await world.employ(pharmacy, shown, date(2026, 1, 1), until)
            await world.match(case, await world.registration(pharmacy, buyer=shown))
        await stage.evaluate(case)
        told = {pharmacy: row["first_unmet"] for pharmacy, row in (await stage.decisions(case)).items()}
        assert told == {with_staff: "not_own_staff", with_former_staff: None}

    async def test_takes_the_better_of_two_matches_of_one_registration(self, stage: Stage) -> None:
        case, pharmacy = await stage.world.case(), await stage.world.pharmacy()
        registration = await stage.world.registration(pharmacy)
        await stage.world.match(case, registration, role="buyer", status="withdrawn")
        await stage.world.match(case, registration, role="patient", strength="strong")
        (decided,) = await stage.evaluate(case)
        assert decided.after == "proposed"

    async def test_makes_no_decision_where_no_match_ever_counted(self, stage: Stage) -> None:
        case, pharmacy = await stage.world.case(), await stage.world.pharmacy()
        await stage.world.match(case, await stage.world.registration(pharmacy), status="withdrawn")
        assert await stage.evaluate(case) == []

    async def test_waits_for_the_confirmation_of_a_suspected_case(self, stage: Stage) -> None:
        case, pharmacy, decision = await stage.proposed(confirmed_at=None)
        assert (await stage.decisions(case))[pharmacy]["first_unmet"] == "case_confirmed"
        await stage.world.classify(case, "confirmed", CONFIRMED)
        await stage.evaluate(case)
        assert await stage.steps(decision) == ["evaluate → not_eligible", "evaluate → proposed"]

    async def test_gives_the_last_place_of_a_month_to_the_case_confirmed_first(self, stage: Stage) -> None:
        pharmacy = await stage.world.pharmacy()
        cases = [await stage.world.case(CONFIRMED - timedelta(hours=n)) for n in range(4)]
        for case in cases:
            await stage.world.match(case, await stage.world.registration(pharmacy))
            await stage.evaluate(case)  # one by one, the last confirmed first
        told = [(await stage.decisions(case))[pharmacy]["first_unmet"] for case in cases]
        assert told == ["under_cap", None, None, None]
        again = await stage.evaluate(*cases)
        assert again == []

    async def test_takes_no_granted_reward_away_for_a_case_that_was_confirmed_earlier(self, stage: Stage) -> None:
        pharmacy = await stage.world.pharmacy()
        granted = [await stage.world.case(CONFIRMED - timedelta(hours=n)) for n in range(3)]
        for case in granted:
            await stage.world.match(case, await stage.world.registration(pharmacy))
        for one in await stage.evaluate(*granted):
            await stage.approve(one.id)
        earlier = await stage.world.case(CONFIRMED - timedelta(hours=9))
        await stage.world.match(earlier, await stage.world.registration(pharmacy))
        (decided,) = await stage.evaluate(earlier)
        assert decided.first_unmet == "under_cap"

    async def test_moves_the_next_case_up_when_a_place_becomes_free(self, stage: Stage) -> None:
        pharmacy = await stage.world.pharmacy()
        cases = [await stage.world.case(CONFIRMED - timedelta(hours=n)) for n in range(4)]
        for case in cases:
            await stage.world.match(case, await stage.world.registration(pharmacy))
        await stage.evaluate(*cases)
        await stage.world.classify(cases[1], "discarded")
        changed = await stage.evaluate(cases[1])
        assert {(one.case_id, one.after.value) for one in changed} == {
            (cases[0], "proposed"),
            (cases[1], "not_eligible"),
        }


class TestAnOfficial:
    async def test_approves_and_another_pays(self, stage: Stage) -> None:
        _, _, decision = await stage.proposed()
        await stage.approve(decision)
        assert await stage.ledger(decision) == []
        await stage.pay(decision)
        assert await stage.ledger(decision) == [Decimal("1000.00")]
        assert await stage.steps(decision) == ["evaluate → proposed", "approve → approved", "pay → paid"]

    async def test_does_not_pay_what_was_approved_with_any_key_of_the_same_account(
        self, stage: Stage, database: Database
    ) -> None:
        _, _, decision = await stage.proposed()
        await stage.approve(decision)
        second_key = await keys.actor(database, "official", "440304", name=stage.one.name)
        assert second_key.key_id != stage.one.key_id
        with pytest.raises(SameOfficial):
            await stage.pay(decision, second_key)
        assert await stage.status(decision) == "approved"

    async def test_cannot_skip_or_repeat_a_step(self, stage: Stage) -> None:
        _, _, decision = await stage.proposed()
        with pytest.raises(TransitionNotAllowed):
            await stage.pay(decision)
        await stage.approve(decision)
        with pytest.raises(TransitionNotAllowed):
            await stage.approve(decision)

    async def test_outside_the_division_finds_nothing(self, stage: Stage, database: Database) -> None:
        _, _, decision = await stage.proposed()
        stranger = await keys.actor(database, "official", divisions.LUOHU)
        with pytest.raises(NotFound):
            await service.approve_reward(stage.session, decision, actor=stranger, now=MOMENT)

    @pytest.mark.parametrize("act", ["reject", "reverse"])
    async def test_lets_the_next_pharmacy_move_up_by_refusing_the_first(self, stage: Stage, act: str) -> None:
        case, first, decision = await stage.proposed()
        second = await stage.world.pharmacy()
        await stage.world.match(
            case, await stage.world.registration(second, purchased_at=PURCHASED + timedelta(hours=1))
        )
        await stage.evaluate(case)
        assert (await stage.decisions(case))[second]["first_unmet"] == "first_reporter"
        given = {"actor": stage.one, "now": MOMENT, "reason": "synthetic"}
        if act == "reject":
            await service.reject_reward(stage.session, decision, **given)  # type: ignore[arg-type]
        else:
            await stage.approve(decision)
            await stage.pay(decision)
            await service.reverse_reward(stage.session, decision, **given)  # type: ignore[arg-type]
            assert sum(await stage.ledger(decision)) == 0
        told = {pharmacy: row["status"] for pharmacy, row in (await stage.decisions(case)).items()}
        assert told == {first: "rejected" if act == "reject" else "reversed", second: "proposed"}

    async def test_leaves_a_trace_in_the_audit_trail(self, stage: Stage) -> None:
        _, _, decision = await stage.proposed()
        await stage.approve(decision)
        entries = await stage.session.execute(
            select(AuditEntry.action, AuditEntry.account_id)
            .where(AuditEntry.subject_id == str(decision))
            .order_by(AuditEntry.id)
        )
        assert [tuple(entry) for entry in entries] == [
            ("reward.evaluated", None),
            ("reward.approved", stage.one.account_id),
        ]


class TestAWithdrawnCase:
    async def test_takes_back_what_was_paid_and_opens_again_when_it_is_confirmed_after_all(self, stage: Stage) -> None:
        case, _, decision = await stage.proposed()
        await stage.approve(decision)
        await stage.pay(decision)
        await stage.world.classify(case, "discarded")
        (taken,) = await stage.evaluate(case)
        assert (taken.before, taken.after) == ("paid", "reversed")
        assert await stage.ledger(decision) == [Decimal("1000.00"), Decimal("-1000.00")]
        assert await stage.evaluate(case) == []

        await stage.world.classify(case, "confirmed", CONFIRMED)
        await stage.evaluate(case)
        assert (await stage.steps(decision))[-2:] == ["withdraw → reversed", "reopen → proposed"]
        row = await queries.get_decision_row(stage.session, decision, scope=None)
        assert (row["approved_by"], row["withdrawn"]) == (None, False)
        with pytest.raises(TransitionNotAllowed):
            await stage.pay(decision)  # it has to be approved anew

    async def test_moves_no_money_for_what_was_only_approved(self, stage: Stage) -> None:
        case, _, decision = await stage.proposed()
        await stage.approve(decision)
        await stage.world.classify(case, "discarded")
        await stage.evaluate(case)
        assert (await stage.status(decision), await stage.ledger(decision)) == ("reversed", [])

    async def test_does_not_open_again_what_an_official_reversed(self, stage: Stage) -> None:
        case, _, decision = await stage.proposed()
        await stage.approve(decision)
        await service.reverse_reward(stage.session, decision, actor=stage.other, now=MOMENT, reason="made up")
        await stage.world.classify(case, "discarded")
        await stage.evaluate(case)
        await stage.world.classify(case, "confirmed", CONFIRMED)
        assert await stage.evaluate(case) == []
        assert await stage.status(decision) == "reversed"

    async def test_leaves_what_was_never_granted_as_if_nothing_had_happened(self, stage: Stage) -> None:
        case, pharmacy, _ = await stage.proposed()
        before = (await stage.decisions(case))[pharmacy]
        for _ in range(3):
            await stage.world.classify(case, "discarded")
            await stage.evaluate(case)
            await stage.world.classify(case, "confirmed", CONFIRMED)
            await stage.evaluate(case)
        assert (await stage.decisions(case))[pharmacy] == before


class TestTheRecord:
    @pytest.mark.parametrize("table", ["ledger_entries", "reward_transitions"])
    @pytest.mark.parametrize("change", ["UPDATE {} SET decision_id = decision_id", "DELETE FROM {}", "TRUNCATE {}"])
    async def test_refuses_to_be_changed(self, stage: Stage, table: str, change: str) -> None:
        _, _, decision = await stage.proposed()
        await stage.approve(decision)
        await stage.pay(decision)
        with pytest.raises(DBAPIError, match="append-only"):
            async with stage.session.begin_nested():
                await stage.session.execute(text(change.format(table)))

    async def test_begins_with_the_documented_policy(self, session: AsyncSession) -> None:
        from app.rewards.criteria import Policy

        ((_, policy),) = await queries.policy_history(session)
        assert policy == Policy()

    async def test_keeps_one_decision_per_case_and_pharmacy(self, stage: Stage) -> None:
        case, pharmacy, _ = await stage.proposed()
        earlier = await stage.world.registration(pharmacy, purchased_at=PURCHASED - timedelta(hours=3))
        await stage.world.match(case, earlier)
        assert await stage.evaluate(case) == []  # still proposed, though it now rests on the earlier registration
        rows = (await stage.session.scalars(select(RewardDecision).where(RewardDecision.case_id == case))).all()
        assert [row.registration_id for row in rows] == [earlier]
