"""What a case told of its purchases, as it is said and shown."""

from datetime import date, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.capture.rhythms import SilenceEnd
from app.capture.rules import MOST_TOLERANCE_DAYS, USUAL_TOLERANCE_DAYS, Ground, PurchaseStatus
from app.core.schemas import Day, DivisionCode, Filter, Label, Model, Out, Reason

MOST_AT_ONCE = 100


class DeclaredPurchaseIn(Model):
    """One purchase that a case told of: where, when and, if known, what.

    The place is one of `pharmacy_id`, `pharmacy_name` (in full, as it is enrolled) and `division` ("a pharmacy in that
    street").
    """

    pharmacy_id: UUID | None = None
    pharmacy_name: Label | None = None
    division: DivisionCode | None = Field(
        default=None, description="Where no more is known than the street or district"
    )
    purchased_on: Day = Field(examples=["2026-02-15"])
    tolerance_days: Annotated[int, Field(strict=True, ge=0, le=MOST_TOLERANCE_DAYS)] = Field(
        default=USUAL_TOLERANCE_DAYS, description="By how many days the day may be off, either way"
    )
    drug: Label | None = Field(default=None, description="As it was told; read like a product name on a till")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.pharmacy_id, self.pharmacy_name, self.division)) != 1:
            raise PydanticCustomError("place_required", "Give one of pharmacy_id, pharmacy_name and division")
        return self


class DeclaredPurchasesIn(Model):
    """What an interview brought; all of it is taken, or nothing."""

    items: Annotated[list[DeclaredPurchaseIn], Field(min_length=1, max_length=MOST_AT_ONCE)]


class RetractionIn(Model):
    """The case was mistaken, or the interviewer."""

    reason: Reason = Field(description="Why it does not hold. Must not name anybody.")


class DeclaredPurchaseOut(Out):
    """A purchase that a case told of, and what is known of it.

    `listed_drug` is what the drug means in that place on that day. `registration_id` is null also where the covering registration lies
    outside your division. Until `late_until` a till that was offline may still report it.
    """

    id: UUID
    case_id: UUID
    pharmacy_id: UUID | None
    division: str
    purchased_on: date
    tolerance_days: int
    drug: str | None
    listed_drug: str | None
    status: PurchaseStatus
    ground: Ground
    registration_id: UUID | None
    late_until: datetime
    declared_at: datetime
    declared_by: str
    judged_at: datetime
    retracted_at: datetime | None
    retracted_by: str | None
    retract_reason: str | None


class DeclaredPurchasesOut(Out):
    """What was told, in the order in which it was."""

    items: list[DeclaredPurchaseOut]


class DeclaredFilter(Filter):
    """Which purchases of the case to show."""

    status: PurchaseStatus | None = None


class SilenceFilter(Filter):
    """Which silences to show; all conditions must hold."""

    division: DivisionCode | None = None
    pharmacy: UUID | None = None
    open: bool | None = Field(default=None, description="Only those that last, or only those that have ended")


class UnheardFilter(Filter):
    """Where to look for pharmacies that never reported."""

    division: DivisionCode | None = None


class UnheardOut(Out):
    """A pharmacy that never reported: since `due_since`, for so many whole `days`, it has had to without a break."""

    pharmacy_id: UUID
    name: str
    division: str
    enrolled_on: date
    due_since: date
    days: int


class SilenceOut(Out):
    """A time in which a pharmacy that usually reports did not.

    Nothing came after `last_on`. When it was found, `expected` reports had not come; from `limit` on that is no chance for this
    pharmacy.
    """

    id: UUID
    pharmacy_id: UUID
    division: str
    last_on: date
    expected: float
    limit: float
    found_at: datetime
    ended_at: datetime | None
    ended_by: SilenceEnd | None
