"""The steps of decisions, written down: the decision itself, its history, the ledger and the audit trail.

Whoever moves decisions collects the steps in a `Changes` and writes them once: one statement per table, however many
decisions move, and no step without its history, money and entry.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.core.database import driver
from app.rewards.criteria import CriterionCode
from app.rewards.rules import Act, DecisionStatus, ledger_entry

_ACTIONS: Mapping[Act, str] = {
    Act.EVALUATE: "reward.evaluated",
    Act.APPROVE: "reward.approved",
    Act.REJECT: "reward.rejected",
    Act.PAY: "reward.paid",
    Act.REVERSE: "reward.reversed",
    Act.WITHDRAW: "reward.withdrawn",
    Act.REOPEN: "reward.reopened",
}

_INSERT_DECISIONS = """
INSERT INTO reward_decisions (
    id, case_id, pharmacy_id, registration_id, division, policy_version, status, amount, currency, criteria, first_unmet,
    confirmed_at, created_at, updated_at
)
SELECT row.id, row.case_id, row.pharmacy_id, row.registration_id, row.division, row.policy_version, row.status, row.amount,
       row.currency, row.criteria::jsonb, row.first_unmet, row.confirmed_at, $13, $13
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::int[], $7::text[], $8::numeric[], $9::text[],
    $10::text[], $11::text[], $12::timestamptz[]
) AS row (
    id, case_id, pharmacy_id, registration_id, division, policy_version, status, amount, currency, criteria, first_unmet,
    confirmed_at
)
"""
_NEW = (
    *("id", "case_id", "pharmacy_id", "registration_id", "division", "policy_version", "status", "amount"),
    *("currency", "criteria", "first_unmet", "confirmed_at"),
)

# The other columns of a decision never change.
_UPDATE_DECISIONS = """
UPDATE reward_decisions SET
    registration_id = row.registration_id, policy_version = row.policy_version, status = row.status, amount = row.amount,
    currency = row.currency, criteria = row.criteria::jsonb, first_unmet = row.first_unmet,
    confirmed_at = row.confirmed_at, approved_by = row.approved_by, withdrawn = row.withdrawn, updated_at = $12
FROM unnest(
    $1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::numeric[], $6::text[], $7::text[], $8::text[], $9::timestamptz[],
    $10::uuid[], $11::bool[]
) AS row (
    id, registration_id, policy_version, status, amount, currency, criteria, first_unmet, confirmed_at, approved_by,
    withdrawn
)
WHERE reward_decisions.id = row.id
"""
_CHANGEABLE = (
    *("id", "registration_id", "policy_version", "status", "amount", "currency", "criteria", "first_unmet"),
    *("confirmed_at", "approved_by", "withdrawn"),
)

_INSERT_TRANSITIONS = """
INSERT INTO reward_transitions (decision_id, act, from_status, to_status, reason, actor_id, actor_name, at)
SELECT row.decision_id, row.act, row.from_status, row.to_status, row.reason, $6, $7, $8
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
     AS row (decision_id, act, from_status, to_status, reason)
"""

_INSERT_LEDGER = """
INSERT INTO ledger_entries (decision_id, pharmacy_id, kind, amount, currency, at)
SELECT row.decision_id, row.pharmacy_id, row.kind, row.amount, row.currency, $6
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::text[])
     AS row (decision_id, pharmacy_id, kind, amount, currency)
"""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision whose status has changed (or that is new, `before` None), for whoever must be told."""

    id: UUID
    case_id: UUID
    pharmacy_id: UUID
    registration_id: UUID
    division: str
    before: DecisionStatus | None
    after: DecisionStatus
    amount: Decimal
    currency: str
    first_unmet: CriterionCode | None


@dataclass(slots=True)
class Changes:
    """What one act or evaluation will write."""

    now: datetime
    actor: Actor
    new: list[dict[str, Any]] = field(default_factory=list)
    changed: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    transitions: list[tuple[Any, ...]] = field(default_factory=list)
    ledger: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)

    def change(self, row: Mapping[str, Any]) -> None:
        """Note that a stored decision now reads like this. What was noted last holds: one that is withdrawn may open again."""
        self.changed[row["id"]] = dict(row)

    def step(self, row: Mapping[str, Any], act: Act, before: DecisionStatus | None, reason: str | None = None) -> None:
        """Note one step: history, ledger, audit."""
        after = DecisionStatus(row["status"])
        self.transitions.append((row["id"], act, before, after, reason))
        money = ledger_entry(before, after, row["amount"]) if before is not None else None
        if money is not None:
            self.ledger.append((row["id"], row["pharmacy_id"], *money, row["currency"]))
        self.entries.append(
            audit.entry(
                actor=self.actor,
                now=self.now,
                action=_ACTIONS[act],
                subject=("reward_decision", row["id"]),
                division=row["division"],
                detail={"status": after, "amount": str(row["amount"]), "first_unmet": row["first_unmet"]},
            )
        )
        self.decided.append(
            Decided(
                row["id"],
                row["case_id"],
                row["pharmacy_id"],
                row["registration_id"],
                row["division"],
                before,
                after,
                row["amount"],
                row["currency"],
                row["first_unmet"],
            )
        )

    async def write(self, session: AsyncSession) -> None:
        """Write everything that was collected."""
        connection = await driver(session)
        if self.new:
            await connection.execute(_INSERT_DECISIONS, *_columns(self.new, _NEW), self.now)
        if self.changed:
            await connection.execute(_UPDATE_DECISIONS, *_columns([*self.changed.values()], _CHANGEABLE), self.now)
        if self.transitions:
            who = self.actor.account_id, self.actor.name
            await connection.execute(_INSERT_TRANSITIONS, *zip(*self.transitions, strict=True), *who, self.now)
        if self.ledger:
            await connection.execute(_INSERT_LEDGER, *zip(*self.ledger, strict=True), self.now)
        await audit.record_all(session, self.entries)


def _columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
    return [
        [_as_json(row[name]) if name == "criteria" else row[name] for row in rows]  # the one column that is JSON
        for name in names
    ]


def _as_json(criteria: Sequence[Mapping[str, Any]]) -> str:
    """Most of the twelve answers of a decision are word for word those of thousands of others."""
    return f"[{','.join([_answer_as_json(*answer.items()) for answer in criteria])}]"


@lru_cache(maxsize=2_000)
def _answer_as_json(*members: tuple[str, Any]) -> str:
    return json.dumps(dict(members), ensure_ascii=False)
