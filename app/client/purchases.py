"""What is sent, as types for an editor and a type checker; plain dictionaries when they run."""

from typing import NotRequired, TypedDict


class Document(TypedDict):
    """An identity document: `resident_id`, `passport`, `hk_macau_permit`, `taiwan_permit`, `foreigner_permanent_residence`
    or `medical_insurance_card`."""

    type: str
    number: str


class Address(TypedDict, total=False):
    """Where somebody lives, to street level."""

    division: str | None
    line: str | None


class Person(TypedDict, total=False):
    """A buyer, as presented at the counter."""

    name: str | None
    document: Document | None
    document_missing_reason: str | None
    phone: str | None
    address: Address | None


class Patient(Person, total=False):
    """Who will take the drug, if another than the buyer."""

    temperature_c: float | None


class Item(TypedDict, total=False):
    """A line of the receipt: any of the codes and the name."""

    gtin: str | None
    approval_number: str | None
    trace_codes: list[str] | None
    name: str | None
    quantity: int
    batch: str | None


class Purchase(TypedDict):
    """A purchase as it is sent. `purchased_at` is RFC 3339 with an offset: `2026-02-15T09:41:07+08:00`."""

    client_reference: str
    purchased_at: str
    buyer: Person
    items: list[Item]
    pharmacy_id: NotRequired[str | None]
    patient: NotRequired[Patient | None]
    temperature_c: NotRequired[float | None]
    symptoms: NotRequired[list[str]]
    answers: NotRequired[dict[str, bool | int | str]]
    checks: NotRequired[dict[str, bool | str | None] | None]
