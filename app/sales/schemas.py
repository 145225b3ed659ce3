"""A day's sales as a pharmacy states them, and as they are shown beside what was registered."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.catalogue.schemas import ProductIn
from app.core.schemas import Day, DivisionCode, FieldErrorOut, Filter, Model, Out, UtcInstant
from app.regimes.rules import RegimeKind

MAX_ITEMS = 2_000
MAX_QUANTITY = 100_000
MOST_DAYS = 92
"""Days that one reconciliation may span."""


class SaleIn(ProductIn):
    """How many packs of a product were sold. Any of GTIN, approval number, trace codes and name will do."""

    quantity: Annotated[int, Field(strict=True, ge=0, le=MAX_QUANTITY)]


class SalesIn(Model):
    """Everything that was sold on a day; it replaces what was stated of that day before. No items: nothing was sold."""

    pharmacy_id: UUID | None = Field(default=None, description="Needed with the key of a chain")
    day: Day = Field(description="A day in China, at most 30 days back", examples=["2026-02-15"])
    stated_at: UtcInstant | None = Field(
        default=None,
        description="When the till drew up this statement. With it statements may arrive in any order and as often as a "
        "network likes: the one stated last holds. Without it the one received last does",
    )
    items: Annotated[list[SaleIn], Field(max_length=MAX_ITEMS)]


class SaleResult(Out):
    """What a line resolved to; an unlisted line is not kept."""

    status: Literal["listed", "unlisted"]
    drug_id: UUID | None
    drug: str | None


class SalesAnswer(Out):
    """What became of a statement. `in_force` is false if one that was stated later had arrived before."""

    id: UUID
    pharmacy_id: UUID
    day: date
    revision: int
    in_force: bool
    received_at: datetime
    items: list[SaleResult]
    unlisted: int
    warnings: list[FieldErrorOut]


class SalesFilter(Filter):
    """Which statements to show; all conditions must hold."""

    division: DivisionCode | None = None
    pharmacy: UUID | None = None
    day: Day | None = Field(default=None, description="Only statements about this day")
    day_from: Day | None = Field(default=None, description="Only statements about this day or later ones")
    day_to: Day | None = Field(default=None, description="Only statements about days before this one")
    revisions: bool = Field(default=False, description="Also statements that another has replaced")


class SoldOut(Out):
    """How much of a listed drug was sold."""

    drug_id: UUID
    drug: str
    quantity: int


class SalesOut(Out):
    """A statement; `lines` were sent, `unlisted` of them meant no listed drug and were not kept."""

    id: UUID
    pharmacy_id: UUID
    division: str
    day: date
    revision: int
    in_force: bool
    stated_at: datetime | None
    received_at: datetime
    lines: int
    unlisted: int
    items: list[SoldOut]


class Period(Filter):
    """Days in China; `from` is in, `to` is not."""

    from_: Day = Field(alias="from", description="First day", examples=["2026-02-01"])
    to: Day = Field(description=f"Day after the last; at most {MOST_DAYS} days after `from`", examples=["2026-03-01"])

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ >= self.to:
            raise PydanticCustomError("period_empty", "`from` must lie before `to`")
        if (self.to - self.from_).days > MOST_DAYS:
            raise PydanticCustomError("period_too_long", "The period has more days than are shown at once")
        return self


class ReconciliationFilter(Period):
    """Which days of which pharmacy."""

    pharmacy: UUID | None = Field(
        default=None, description="Needed by everybody but the till of a single pharmacy (its id)"
    )


class GapsBy(StrEnum):
    """What a line of gaps stands for."""

    PHARMACY = "pharmacy"
    DIVISION = "division"
    DRUG = "drug"


class GapFilter(Period):
    """Which days, where, and how to sum them up."""

    division: DivisionCode | None = None
    group_by: GapsBy = GapsBy.PHARMACY


class GapOut(Out):
    """Packs of listed drugs on days that were stated and on which sales had to be registered.

    `unregistered` sums up the gaps above zero of each pharmacy, drug and day, `days` are those with one; a pharmacy that registers
    too much on one day does not make up for another.
    """

    key: str
    name: str | None
    sold: int
    registered: int
    unregistered: int
    days: int


class GapsOut(Out):
    """Gaps, the widest first."""

    items: list[GapOut]


class StatementOut(Out):
    """The sales statement in force of a day."""

    revision: int
    received_at: datetime
    unlisted: int


class DrugTotalsOut(Out):
    """Packs of a listed drug. `gap` is sold less registered; null where nothing was stated, or nothing had to be registered."""

    drug_id: UUID
    list: str
    drug: str
    registered: int
    sold: int | None
    gap: int | None


class DayTotalsOut(Out):
    """A day as the server has it. Registrations belong to the day of purchase; `on_time` came within 24 hours of it."""

    day: date
    regime: RegimeKind
    registrations: int
    on_time: int
    late: int
    incomplete: int
    statement: StatementOut | None
    drugs: list[DrugTotalsOut]


class ReconciliationOut(Out):
    """Every day of a period. `unregistered` sums up the gaps above zero: packs sold that no registration covers."""

    pharmacy_id: UUID
    from_day: date
    to_day: date
    days: list[DayTotalsOut]
    registrations: int
    registered: int
    sold: int
    unregistered: int
    days_without_statement: int
