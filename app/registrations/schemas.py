"""A purchase as a till sends it, and as it is shown."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    StrictBool,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from app.core.schemas import (
    Code,
    DivisionCode,
    FieldErrorOut,
    Filter,
    Instant,
    Label,
    Model,
    Out,
    Reason,
    RowResult,
    ShortText,
    UtcInstant,
)
from app.people.schemas import PersonIn
from app.registrations.receipt_schemas import ReceiptHeadOut, ReceiptOut, RowReceipt

ClientReference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")]

_LEAST_C, _MOST_C, _HUNDREDTH = 30, 45, Decimal("0.01")
# Reading a decimal within bounds takes ten times as long as finding it here.
_CELSIUS = {hundredths / 100: hundredths * _HUNDREDTH for hundredths in range(_LEAST_C * 100, _MOST_C * 100 + 1)}


def _read_celsius(value: Any, read: ValidatorFunctionWrapHandler) -> Decimal:
    known = _CELSIUS.get(value) if type(value) is float else None
    if known is not None:
        return known
    celsius: Decimal = read(value)
    return celsius.quantize(_HUNDREDTH)


# In one form: a till that sends 37.80 after 37.8 sends the same content.
Temperature = Annotated[
    Decimal, Field(ge=_LEAST_C, le=_MOST_C, max_digits=4, decimal_places=2), WrapValidator(_read_celsius)
]
"""Degrees Celsius."""
TemperatureOut = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]
"""Degrees Celsius, a number as it was sent."""


class Flag(StrEnum):
    """What somebody should know about a registration without reading it."""

    FEVER = "fever"
    """The patient (the buyer, if for oneself) had 37.3 °C or more."""
    EXPOSURE = "exposure"
    """An answer that the questionnaire in force calls a clue: a stay in an affected place, contact with a case."""
    INCOMPLETE = "incomplete"
    """Something that the regime requires was not there."""
    LATE = "late"
    """Received more than 24 hours after the purchase."""
    SOLD_WHILE_SUSPENDED = "sold_while_suspended"
    """A listed drug was sold where it was not for sale; it happened, so it is kept."""
    RED_CODE = "red_code"
    YELLOW_CODE = "yellow_code"
    LARGE_QUANTITY = "large_quantity"
    """More packs of a listed drug than one purchase should hold."""
    REPEATED_PURCHASE = "repeated_purchase"
    """More packs of a listed drug than one buyer should buy within so many days, as far as was known on arrival."""
    UNTRACED = "untraced"
    """Trace codes were scanned or are required, and there is not one for each box."""
    VOIDED = "voided"
    """The pharmacy has said that it does not hold: it is shown, and counts for nothing."""


class Symptom(StrEnum):
    """What the buyer or patient complains of."""

    FEVER = "fever"
    CHILLS = "chills"
    COUGH = "cough"
    SORE_THROAT = "sore_throat"
    RUNNY_NOSE = "runny_nose"
    BLOCKED_NOSE = "blocked_nose"
    HEADACHE = "headache"
    MUSCLE_ACHE = "muscle_ache"
    JOINT_PAIN = "joint_pain"
    FATIGUE = "fatigue"
    SHORTNESS_OF_BREATH = "shortness_of_breath"
    LOSS_OF_SMELL_OR_TASTE = "loss_of_smell_or_taste"
    NAUSEA = "nausea"
    VOMITING = "vomiting"
    DIARRHOEA = "diarrhoea"
    RASH = "rash"
    RED_EYES = "red_eyes"
    OTHER = "other"


class HealthCode(StrEnum):
    """The colour of the health or venue code, where one is asked for."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


def _read_answer(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:  # one finding for the answer, not one for each thing that it might have been
        raise PydanticCustomError(
            "answer_invalid", "An answer is true, false, a whole number, a code or a list of codes"
        ) from None


Answer = Annotated[
    StrictBool
    | Annotated[int, Field(strict=True, ge=-1000000, le=1000000)]
    | Code
    | Annotated[list[Code], Field(max_length=50), AfterValidator(lambda codes: sorted(set(codes)))],
    WrapValidator(_read_answer),
]
"""Never free text: answers are kept in plain. Of a list the order says nothing, so it is kept in one."""


def _in_one_order(answers: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(answers.items()))


class ChecksIn(Model):
    """The three checks at the door: mask, temperature (told above), code."""

    mask: StrictBool | None = None
    code: HealthCode | None = None
    venue_scan: StrictBool | None = Field(default=None, description="The visitor scanned the shop's venue code")


class ItemIn(Model):
    """A line of the receipt. Any of GTIN, approval number, trace codes and name will do; codes are tried first."""

    gtin: Annotated[str, StringConstraints(pattern=r"^[0-9]{8,14}$")] | None = None
    approval_number: Annotated[ShortText, StringConstraints(max_length=20)] | None = Field(
        default=None, examples=["国药准字H10900089"]
    )
    trace_codes: (
        Annotated[list[Annotated[str, StringConstraints(pattern=r"^[0-9]{20}$")]], Field(max_length=100)] | None
    ) = None
    name: Label | None = Field(default=None, examples=["布洛芬缓释胶囊"])
    quantity: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    batch: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,40}$")] | None = None


class PatientIn(PersonIn):
    """The person who will take the drug, if another than the buyer."""

    temperature_c: Temperature | None = None


class PurchaseIn(Model):
    """What a till tells of one purchase. Nothing but the time, a buyer and an item must be there; the regime may ask for more."""

    purchased_at: UtcInstant
    buyer: PersonIn
    patient: PatientIn | None = None
    temperature_c: Temperature | None = Field(default=None, examples=[37.8])
    symptoms: Annotated[list[Symptom], Field(max_length=20)] = Field(default_factory=list)
    answers: Annotated[dict[Code, Answer], Field(max_length=50), AfterValidator(_in_one_order)] = Field(
        default_factory=dict
    )
    checks: ChecksIn | None = None
    items: Annotated[list[ItemIn], Field(min_length=1, max_length=100)]


class RegistrationIn(PurchaseIn):
    """One purchase and its name. Nothing but the reference, the time, a buyer and an item must be there."""

    client_reference: ClientReference = Field(examples=["POS7-20260215-000123"])
    pharmacy_id: UUID | None = Field(default=None, description="Needed with the key of a chain")


class CorrectedIn(PurchaseIn):
    """The whole purchase as it should have been sent. Its name stays: it may be left out, and must not be another."""

    client_reference: ClientReference | None = None
    pharmacy_id: UUID | None = None


class CorrectionIn(Model):
    """Why a registration is corrected, and what it should have been."""

    reason: Reason = Field(
        description="Kept in plain text; must not name buyer or patient", examples=["Document number misread"]
    )
    registration: CorrectedIn


def named(purchase: PurchaseIn, client_reference: str) -> RegistrationIn:
    """Return a purchase under the name that it has."""
    members = {name: getattr(purchase, name) for name in PurchaseIn.model_fields}
    return RegistrationIn.model_construct(**members, client_reference=client_reference, pharmacy_id=None)


class VoidIn(Model):
    """Why a registration does not hold."""

    reason: Reason = Field(
        description="Kept in plain text; must not name buyer or patient", examples=["Sale cancelled before payment"]
    )


class AdviceOut(Out):
    """What the clerk must do now, in Chinese and English; `text` is the one that `Accept-Language` prefers."""

    code: Literal[
        "report_red_code",
        "not_for_sale",
        "refer_to_fever_clinic",
        "report_yellow_code",
        "ask_about_repeated_purchase",
        "check_quantity",
        "complete_record",
        "scan_trace_codes",
    ]
    zh: str
    en: str
    text: str


class ItemResult(Out):
    """What a line resolved to; an unlisted line is not kept."""

    status: Literal["listed", "unlisted"]
    drug_id: UUID | None
    drug: str | None


class RegistrationAnswer(Out):
    """The answer for the counter. `receipt` is null only for what was received before there were receipts.

    `advice[].text` and `warnings[].detail` are in the language that `Accept-Language` prefers, Chinese if it leaves the choice.
    """

    id: UUID
    received_at: datetime
    revision: int
    items: list[ItemResult]
    flags: list[Flag]
    advice: list[AdviceOut]
    warnings: list[FieldErrorOut]
    receipt: ReceiptOut | None


class VoidAnswer(Out):
    """A registration that does not hold any more."""

    id: UUID
    revision: int
    voided_at: datetime
    reason: str
    receipt: ReceiptOut


class RegistrationRowResult(RowResult):
    """What became of one row. `receipt` is there if it was kept just now; for a duplicate ask `GET /v1/receipts`."""

    receipt: RowReceipt | None


class BatchAnswer(Out):
    """One result per row, in order, and how many there are of each kind; `receipts` vouch for the rows just kept."""

    results: list[RegistrationRowResult]
    created: int
    duplicate: int
    conflict: int
    invalid: int
    not_required: int
    receipts: list[ReceiptHeadOut]


class RegistrationFilter(Filter):
    """Which registrations to show; all conditions must hold."""

    division: DivisionCode | None = Field(default=None, description="This division and those below it")
    pharmacy: UUID | None = None
    drug: UUID | None = Field(default=None, description="A listed drug's id")
    drug_class: Code | None = Field(default=None, alias="class", description="A drug's syndrome class, such as `fever`")
    purchased_from: Instant | None = None
    purchased_to: Instant | None = Field(default=None, description="Not included")
    received_from: Instant | None = None
    received_to: Instant | None = Field(default=None, description="Not included")
    temperature_from: Temperature | None = Field(default=None, description="The buyer's or the patient's, at least")
    flag: Flag | None = None


class ItemOut(Out):
    """A kept line."""

    line: int
    drug_id: UUID
    drug: str
    quantity: int
    resolved_by: str
    gtin: str | None
    approval_number: str | None
    batch: str | None
    trace_codes: list[str] | None


class RegistrationOut(Out):
    """A registration without identities. `buyer_id` and `patient_id` lead to a history and, for a purpose, to a reveal."""

    id: UUID
    pharmacy_id: UUID
    client_reference: str
    revision: int
    division: str
    regime: str
    buyer_id: UUID
    patient_id: UUID | None
    purchased_at: datetime
    received_at: datetime
    temperature_c: TemperatureOut | None
    patient_temperature_c: TemperatureOut | None
    symptoms: list[str]
    answers: dict[str, Any] | None
    checks: dict[str, Any] | None
    flags: list[Flag]
    voided_at: datetime | None
    items: list[ItemOut]


class RevisionOut(Out):
    """An earlier revision: what stood there from `received_at` until it was corrected, why and by which account."""

    revision: int
    received_at: datetime
    replaced_at: datetime
    replaced_by: str
    reason: str
    identity_changed: bool
    regime: str
    purchased_at: datetime
    temperature_c: TemperatureOut | None
    patient_temperature_c: TemperatureOut | None
    symptoms: list[str]
    answers: dict[str, Any] | None
    checks: dict[str, Any] | None
    flags: list[Flag]
    items: list[ItemOut]


class RegistrationDetail(RegistrationOut):
    """A registration with its earlier revisions, the first one first."""

    void_reason: str | None
    revisions: list[RevisionOut]
