"""The steps of decisions, written down: the decision itself, its history, the ledger and the audit trail.

Whoever moves decisions collects the steps in a `Changes` and writes them once: one statement per table, however many
decisions move, and no step without its history, money and entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.rewards.criteria import CriterionCode
from app.rewards.models import LedgerEntry, RewardDecision, RewardTransition
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

# All rows of one statement need the same columns; the others of a decision never change.
_CHANGEABLE = (
    "id",
    "registration_id",
    "policy_version",
    "status",
    "amount",
    "currency",
    "criteria",
    "first_unmet",
    "confirmed_at",
    "approved_by",
    "withdrawn",
    "updated_at",
)


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
    changed: list[dict[str, Any]] = field(default_factory=list)
    transitions: list[dict[str, Any]] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)

    def change(self, row: Mapping[str, Any]) -> None:
        """Note that a stored decision now reads like this."""
        self.changed.append({name: row[name] for name in _CHANGEABLE})

    def step(self, row: Mapping[str, Any], act: Act, before: DecisionStatus | None, reason: str | None = None) -> None:
        """Note one step: history, ledger, audit."""
        after = DecisionStatus(row["status"])
        self.transitions.append(
            {
                "decision_id": row["id"],
                "act": act,
                "from_status": before,
                "to_status": after,
                "actor_id": self.actor.account_id,
                "actor_name": self.actor.name,
                "at": self.now,
                "reason": reason,
            }
        )
        money = ledger_entry(before, after, row["amount"]) if before is not None else None
        if money is not None:
            self.ledger.append(
                {
                    "decision_id": row["id"],
                    "pharmacy_id": row["pharmacy_id"],
                    "kind": money[0],
                    "amount": money[1],
                    "currency": row["currency"],
                    "at": self.now,
                }
            )
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
        if self.new:
            await session.execute(insert(RewardDecision), self.new)
        if self.changed:
            await session.execute(update(RewardDecision), self.changed)
        if self.transitions:
            await session.execute(insert(RewardTransition), self.transitions)
        if self.ledger:
            await session.execute(insert(LedgerEntry), self.ledger)
        await audit.record_all(session, self.entries)
