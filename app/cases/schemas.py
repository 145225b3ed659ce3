"""A case as an authority tells it, and as it is shown."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from app.cases.rules import Classification
from app.core.schemas import Code, DivisionCode, Filter, Model, Out, Reason, RowResult, UtcInstant
from app.people.schemas import PersonIn

Number = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")]
"""An authority's or a case's sign: letters, digits and `._:/-`; never a person's number."""


class CaseIn(Model):
    """One row of a case list."""

    authority: Number = Field(examples=["440304-CDC"])
    case_number: Number = Field(examples=["2026-0217-001"])
    disease: Code = Field(examples=["covid-19"])
    classification: Classification
    person: PersonIn
    onset_on: date | None = None
    confirmed_at: UtcInstant | None = Field(default=None, description="Exactly where `classification` is `confirmed`")
    division: DivisionCode = Field(examples=["440304005"])


class ClassificationIn(Model):
    """A change of mind, with its reason."""

    classification: Classification
    reason: Reason
    confirmed_at: UtcInstant | None = None


class ClassificationOut(Out):
    """One entry of a case's history."""

    number: int
    classification: Classification
    confirmed_at: datetime | None
    reason: str | None
    recorded_by: str
    at: datetime


class CaseOut(Out):
    """A case without its identity; `person_id` leads to a history and, for a purpose, to a reveal."""

    id: UUID
    authority: str
    case_number: str
    disease: str
    person_id: UUID
    classification: Classification
    onset_on: date | None
    confirmed_at: datetime | None
    division: str
    received_at: datetime
    updated_at: datetime
    history: list[ClassificationOut]


class CaseFilter(Filter):
    """Which cases to show; all conditions must hold."""

    division: DivisionCode | None = Field(default=None, description="This division and those below it")
    disease: Code | None = None
    classification: Classification | None = None
    onset_from: date | None = None
    onset_to: date | None = Field(default=None, description="Not included")


class CaseBatchAnswer(Out):
    """One result per row, in order, and how many there are of each kind.

    `updated` is a known case that gained something: a higher classification, or a detail that was missing.
    """

    results: list[RowResult]
    created: int
    updated: int
    duplicate: int
    conflict: int
    invalid: int
