"""What callers say about a person, and what a reveal tells."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.core.schemas import Day, DivisionCode, LongText, Model, Out, ShortText
from app.people.documents import DocumentType

AddressLine = Annotated[LongText, StringConstraints(max_length=200)]
"""Up to 200 characters without control characters."""


class DocumentIn(Model):
    """An identity document as read at the counter; half or full width, spaces and hyphens do not matter."""

    type: DocumentType
    number: ShortText = Field(examples=["11010519491231002X"])


class AddressIn(Model):
    """Where a person lives, to street level."""

    division: DivisionCode | None = Field(default=None, examples=["440304005"])
    line: AddressLine | None = None


class PersonIn(Model):
    """A buyer, a patient or a case, as presented. What is missing is null."""

    name: ShortText | None = Field(default=None, examples=["王小明"])
    document: DocumentIn | None = None
    document_missing_reason: AddressLine | None = Field(
        default=None, description="Why there is no document. Kept sealed, like everything else about a person."
    )
    phone: ShortText | None = Field(default=None, examples=["13800138000"])
    address: AddressIn | None = None
    birth_date: Day | None = Field(
        default=None,
        description="Where the document does not tell it; case lists often have it without a number. Kept sealed.",
        examples=["1949-12-31"],
    )


class DocumentOut(Out):
    """An identity document, normalised."""

    type: DocumentType
    number: str


class AddressOut(Out):
    """Where a person said they live."""

    division: str | None
    line: str | None


class RevealedOut(Out):
    """One presentation in plain text. Shown to a named person for a stated purpose, which is written down."""

    name: str | None
    document: DocumentOut | None
    document_missing_reason: str | None
    phone: str | None
    address: AddressOut | None
    birth_date: date | None


MissingField = Literal["name", "document", "phone", "address"]
"""What a presentation may lack."""
