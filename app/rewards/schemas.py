"""Policies and decisions as they are shown, and what an official says about them."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.core.schemas import Day, DivisionCode, Filter, Model, Out, Reason
from app.rewards.criteria import Award, CriterionCode
from app.rewards.rules import Act, DecisionStatus

MonthText = Annotated[str, StringConstraints(pattern=r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])$")]


class Period(Filter):
    """Days in China, half-open: `from` is in, `to` is not.

    A decision belongs to the day on which its case was confirmed; as long as it is not, to the day on which the decision was
    made.
    """

    from_: Day | None = Field(default=None, alias="from", description="First day", examples=["2026-02-01"])
    to: Day | None = Field(default=None, description="Day after the last", examples=["2026-03-01"])

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise PydanticCustomError("period_empty", "`from` must lie before `to`")
        return self


class DecisionFilter(Period):
    """Which decisions to show."""

    status: DecisionStatus | None = None
    first_unmet: CriterionCode | None = Field(default=None, description="The first criterion that is not met")
    division: DivisionCode | None = None
    below: bool = Field(default=True, description="With the divisions below `division`")
    pharmacy: UUID | None = None
    case: UUID | None = None
    month: MonthText | None = Field(default=None, description="Month, in China, to which the decision belongs")


class JudgementIn(Model):
    """Why a decision was approved or paid, if there is something to say."""

    reason: Reason | None = None


class RefusalIn(Model):
    """Why a decision is rejected or reversed; names nobody."""

    reason: Reason


class PolicyOut(Out):
    """One version of the policy; it holds for cases confirmed from `valid_from` on, until the next one begins."""

    version: int
    valid_from: datetime
    on_time_hours: int
    window_days: int
    award: Award
    amount: Decimal
    currency: str
    cap_per_month: int
    created_at: datetime
    created_by: str


class PoliciesOut(Out):
    """All versions, the newest first."""

    items: list[PolicyOut]


class CriterionOut(Out):
    """One criterion, met or not; `detail` in the language that `Accept-Language` prefers (Chinese or English)."""

    code: CriterionCode
    met: bool
    detail: str


class TransitionOut(Out):
    """One step in a decision's life; `actor_id` is null where it followed from facts."""

    act: Act
    from_status: DecisionStatus | None
    to_status: DecisionStatus
    actor_id: UUID | None
    actor_name: str
    at: datetime
    reason: str | None


class DecisionOut(Out):
    """A decision with every criterion and its history."""

    id: UUID
    case_id: UUID
    case_number: str
    pharmacy_id: UUID
    registration_id: UUID
    policy_version: int
    status: DecisionStatus
    amount: Decimal
    currency: str
    first_unmet: CriterionCode | None
    division: str
    confirmed_at: datetime | None
    criteria: list[CriterionOut]
    history: list[TransitionOut]
    created_at: datetime
    updated_at: datetime
