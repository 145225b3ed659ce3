"""What officials declare and everybody reads."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.core.schemas import Code, Day, DivisionCode, Filter, Model, Out, Reason
from app.regimes.rules import RegimeKind, RequiredField

ALL_FIELDS = tuple(RequiredField)
USUAL_FIELDS = tuple(field for field in RequiredField if field is not RequiredField.TRACE_CODES)
"""What is required unless an official says otherwise. Trace codes are not: not every till has a scanner that reads them."""


class RegimeIn(Model):
    """A state that a division shall be in."""

    division: DivisionCode = Field(examples=["440304"])
    disease: Code = Field(examples=["covid-19"])
    state: RegimeKind
    valid_from: Day = Field(examples=["2026-01-01"])
    valid_to: Day | None = Field(
        default=None, description="The first day on which it no longer holds; null: until further notice"
    )
    required: Annotated[list[RequiredField], Field(max_length=len(ALL_FIELDS))] = Field(
        default=list(USUAL_FIELDS),
        description=(
            "What a registration must tell; what is missing is flagged, never refused. `trace_codes` only if it is named: "
            "then each box of a listed drug bought since 2026 needs one"
        ),
    )
    reason: Reason | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> "RegimeIn":
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise PydanticCustomError("period_empty", "valid_to must lie after valid_from")
        return self


class RegimeFilter(Filter):
    """Which states to show."""

    division: DivisionCode | None = Field(
        default=None,
        description="States of this division, of those below it, and of those above it, which apply to it as well",
    )
    disease: Code | None = None
    on: Day | None = Field(default=None, description="States that hold on this day")


class RegimeOut(Out):
    """A declared state. On a given day the state of the narrowest division holds, and across diseases the strictest."""

    id: UUID
    division: str
    disease: str
    state: RegimeKind
    valid_from: date
    valid_to: date | None
    required: list[RequiredField]
    reason: str | None
    declared_at: datetime
