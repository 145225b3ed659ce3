"""What is said and heard about listed drugs."""

from datetime import date
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.catalogue.vocabulary import AliasKind, DrugKind
from app.core.schemas import Code, Day, DivisionCode, Filter, Label, LongText, Model, Out

ProductCode = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]

MAX_TRACE_CODES = 100
MAX_PRODUCTS = 1_000
MAX_DRUGS = 2_000
MAX_ALIASES = 1_000


class ProductIn(Model):
    """A product as a till knows it: by any of its codes, or only by name."""

    gtin: ProductCode | None = Field(default=None, description="EAN-13 of a Chinese product (690–699)")
    approval_number: ProductCode | None = Field(default=None, description="国药准字, letters, eight digits")
    trace_codes: list[ProductCode] = Field(
        default=[], max_length=MAX_TRACE_CODES, description="Trace codes of the boxes, 20 characters each"
    )
    name: Label | None = Field(default=None, description="The product's name as the till has it, brand and all")

    @model_validator(mode="after")
    def _names_a_product(self) -> Self:
        if not (self.gtin or self.approval_number or self.trace_codes or self.name):
            raise PydanticCustomError("product_unnamed", "Give a gtin, an approval_number, trace_codes or a name")
        return self


class PlaceFilter(Filter):
    """Where and when a catalogue is asked for."""

    division: DivisionCode = Field(description="Where the pharmacy is")
    on: Day | None = Field(default=None, description="A day in China; today if left out")


class ResolveIn(Model):
    """Products to look up as they would be resolved at a place on a day."""

    division: DivisionCode = Field(description="Where the pharmacy is")
    on: Day | None = Field(default=None, description="Day of the purchase in China; today if left out")
    items: list[ProductIn] = Field(min_length=1, max_length=MAX_PRODUCTS)


class AliasIn(Model):
    """By what a product of a listed drug is known."""

    kind: AliasKind
    value: Label


class NewAliasIn(AliasIn):
    """A code or name by which tills mean a listed drug."""

    drug_id: UUID


class LimitIn(Model):
    """How much of a listed drug is noticed; members that are left out or null set no limit, so `{}` takes both away."""

    most_per_purchase: Annotated[int, Field(strict=True, ge=1, le=1_000)] | None = Field(
        default=None, description="More packs than this in one purchase are a large quantity"
    )
    most_per_buyer: Annotated[int, Field(strict=True, ge=1, le=1_000)] | None = Field(
        default=None,
        description="More packs than this, bought by one buyer within `within_days`, are a repeated purchase",
    )
    within_days: Annotated[int, Field(strict=True, ge=1, le=90)] | None = Field(
        default=None, description="Calendar days in China, the day of purchase among them"
    )

    @model_validator(mode="after")
    def _counts_within_days(self) -> Self:
        if (self.most_per_buyer is None) != (self.within_days is None):
            raise PydanticCustomError("limit_incomplete", "most_per_buyer and within_days go together")
        return self


class UnresolvedFilter(Filter):
    """Which of the products that did not resolve to show."""

    division: DivisionCode | None = None
    kind: AliasKind | None = Field(default=None, description="Only names, or codes of this kind")


class ListedDrugIn(Model):
    """One entry of a list, in the list's own words."""

    wording: Label
    kind: DrugKind
    name_en: LongText = Field(default="", max_length=200)
    syndrome: Code
    confirmed: bool = True
    source_url: LongText | None = None
    aliases: tuple[AliasIn, ...] = Field(default=(), max_length=MAX_ALIASES)


class DrugListIn(Model):
    """A list in full; it replaces the version before."""

    code: Code
    name: Label
    division: DivisionCode
    valid_from: date
    valid_to: date | None = Field(default=None, description="The first day on which the list no longer holds")
    published_size: int | None = Field(default=None, ge=1, le=100_000, description="Names on the notice")
    source: LongText = ""
    drugs: tuple[ListedDrugIn, ...] = Field(min_length=1, max_length=MAX_DRUGS)


class DrugListOut(Out):
    """A list in force. `confirmed` of `published_size` names are known; the rest is not in it."""

    id: UUID
    code: str
    version: int
    name: str
    division: str
    valid_from: date
    valid_to: date | None
    published_size: int | None
    confirmed: int
    source: str


class AliasesOut(Out):
    """Codes and names by which products of a listed drug are known; trace codes by their first seven characters."""

    gtins: list[str]
    approval_numbers: list[str]
    trace_prefixes: list[str]
    names: list[str]


class LimitOut(Out):
    """How many packs one purchase may hold, and one buyer may buy within so many days, before it is flagged."""

    most_per_purchase: int | None
    most_per_buyer: int | None
    within_days: int | None


class ListedDrugOut(Out):
    """A listed drug."""

    id: UUID
    list: str
    wording: str
    kind: DrugKind
    name_en: str
    syndrome: str
    confirmed: bool
    source_url: str | None
    aliases: AliasesOut
    limit: LimitOut | None


class CatalogueOut(Out):
    """Every list in force at a place on a day, narrowest first, and their drugs."""

    lists: list[DrugListOut]
    drugs: list[ListedDrugOut]


class DrugOut(Out):
    """A listed drug in short."""

    id: UUID
    list: str
    wording: str
    syndrome: str


class ResolvedOut(Out):
    """What a product is: the listed drug, or null if it is unlisted.

    `unknown_codes` are well-formed codes that no list knows; `warnings` are `gtin_invalid`, `approval_number_invalid`,
    `trace_code_invalid`, `resembles_listed` (the name holds a listed one, but says another drug or form) and
    `class_by_stem` (taken for a member of a listed class because of its name).
    """

    drug: DrugOut | None
    resolved_by: AliasKind | None
    warnings: list[str]
    unknown_codes: list[AliasKind]


class ResolvedListOut(Out):
    """One answer per product, in the order of the request."""

    items: list[ResolvedOut]


class LimitedDrugOut(Out):
    """A listed drug and its limit; null where it has none."""

    drug: DrugOut
    limit: LimitOut | None


class AddedAliasOut(Out):
    """An alias in the form in which it is compared; for trace codes that is the product part."""

    drug: DrugOut
    kind: AliasKind
    value: str


class UnresolvedOut(Out):
    """A code or name that tills sent and no list in force knows.

    `drug` is what lines with this code were found to be by name; `resembles` are listed drugs whose name stands in this one,
    the longest first. Names come without strength and pack size, as an alias needs no such.
    """

    kind: AliasKind
    value: str
    pharmacies: int
    times: int
    first_seen_on: date
    last_seen_on: date
    drug: DrugOut | None
    resembles: list[DrugOut]
