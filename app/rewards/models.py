"""Tables of the rewards: policies, decisions, their history, the ledger."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    SmallInteger,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.cases.models import Case
from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.pharmacies.models import Pharmacy
from app.registrations.models import Registration
from app.rewards.rules import Act, DecisionStatus, EntryKind


class RewardPolicy(Base):
    """One version of the policy. A version is never edited: whoever changes the policy adds the next one."""

    __tablename__ = "reward_policies"

    version: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    valid_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    created_by: Mapped[str] = mapped_column(String(100))

    __table_args__ = (CheckConstraint("version > 0", name="version"),)


class RewardDecision(Base):
    """One decision per (case, pharmacy): the registration it rests on, every criterion, and where it stands."""

    __tablename__ = "reward_decisions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    case_id: Mapped[UUID] = mapped_column(ForeignKey(Case.id))
    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id))
    registration_id: Mapped[UUID] = mapped_column(ForeignKey(Registration.id))
    policy_version: Mapped[int] = mapped_column(ForeignKey(RewardPolicy.version))
    status: Mapped[DecisionStatus] = mapped_column(text_enum(DecisionStatus))
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    currency: Mapped[str] = mapped_column(String(3))
    criteria: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    # The first criterion that is not met, null when all are: what reports count and what the cap's queue is read from.
    first_unmet: Mapped[str | None] = mapped_column(String(32))
    # Of the pharmacy, when the decision was made: who sees it, and the line of the report on which it stands.
    division: Mapped[str] = mapped_column(String(12))
    # Of the case; its month (in China) is the month whose cap this decision uses.
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    approved_by: Mapped[UUID | None]
    # Reversed because its match was withdrawn, not because the entry proved false: opens again with a match.
    withdrawn: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        UniqueConstraint("case_id", "pharmacy_id"),
        CheckConstraint("amount >= 0", name="amount"),
        # Reports add amounts up; whoever wants a second currency has to part the sums first.
        CheckConstraint("currency = 'CNY'", name="currency"),
        CheckConstraint("status NOT IN ('approved', 'paid') OR approved_by IS NOT NULL", name="approved_by"),
        Index("ix_reward_decisions_pharmacy_id_confirmed_at", "pharmacy_id", "confirmed_at"),
        Index(None, "registration_id"),
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
    )


class RewardTransition(Base):
    """One step in the life of a decision; added, never changed (a trigger refuses it)."""

    __tablename__ = "reward_transitions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    decision_id: Mapped[UUID] = mapped_column(ForeignKey(RewardDecision.id), index=True)
    act: Mapped[Act] = mapped_column(text_enum(Act))
    from_status: Mapped[str | None] = mapped_column(String(32))
    to_status: Mapped[DecisionStatus] = mapped_column(text_enum(DecisionStatus))
    # Null with a name where no account acted: the decision followed from facts.
    actor_id: Mapped[UUID | None]
    actor_name: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str | None] = mapped_column(String(500))

    __table_args__ = (
        # A second column of one enum needs a check of its own name.
        CheckConstraint(
            "from_status IN ('proposed', 'not_eligible', 'approved', 'rejected', 'paid', 'reversed')",
            name="from_status",
        ),
    )


class LedgerEntry(Base):
    """Money that was granted (positive) or taken back (negative); added, never changed (a trigger refuses it)."""

    __tablename__ = "ledger_entries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    decision_id: Mapped[UUID] = mapped_column(ForeignKey(RewardDecision.id), index=True)
    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id), index=True)
    kind: Mapped[EntryKind] = mapped_column(text_enum(EntryKind))
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    currency: Mapped[str] = mapped_column(String(3))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (CheckConstraint("amount <> 0 AND (kind = 'award') = (amount > 0)", name="sign"),)
