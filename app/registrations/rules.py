"""How a purchase is judged: what is refused, what is flagged, what the clerk is told."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from app.core.clock import china_day
from app.core.errors import FieldError
from app.people.rules import Identity, Presentation, prepare, tells_number
from app.registrations.schemas import AdviceOut, Flag, HealthCode, RegistrationIn

FEVER_C = Decimal("37.3")
"""From this temperature on a buyer is sent to a fever clinic (Guangdong, notice of 2021-05-29)."""

ON_TIME = timedelta(hours=24)
OLDEST = timedelta(days=30)
"""How late a till that was offline may report (choice)."""
CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a till's clock may run ahead (choice)."""

DOUBTS = {
    "gtin_invalid": "The GTIN is not one; it was not looked up",
    "approval_number_invalid": "The approval number is not one; it was not looked up",
    "trace_code_invalid": "A trace code is not one; it was not looked up",
    "resembles_listed": "The name holds that of a listed drug, but says another drug or form",
    "class_by_stem": "The drug was taken for a member of a listed class because of its name",
}
"""What is doubtful about how a line was resolved, by the catalogue's code."""

EXPOSURE_ANSWERS = ("stay_in_affected_area_14d", "contact_with_case_14d")

ADVICE = {
    "not_for_sale": AdviceOut(
        code="not_for_sale",
        zh="本地区目录药品暂停销售,请停止售卖。",
        en="Listed drugs are not for sale here now; do not sell.",
    ),
    "refer_to_fever_clinic": AdviceOut(
        code="refer_to_fever_clinic",
        zh="请引导顾客到就近的发热门诊就诊,并立即报告社区。",
        en="Send the customer to the nearest fever clinic and tell the community at once.",
    ),
    "report_red_code": AdviceOut(
        code="report_red_code",
        zh="顾客为红码,请就地留置并立即报告街道。",
        en="The customer has a red code: keep them apart and report to the street office at once.",
    ),
    "complete_record": AdviceOut(
        code="complete_record",
        zh="登记信息不完整,请向顾客补充询问。",
        en="The record is incomplete; ask the customer for what is missing.",
    ),
}


@dataclass(frozen=True, slots=True)
class People:
    """Those whom a purchase concerns, with what is noteworthy about how they were written."""

    buyer: Presentation
    patient: Presentation | None
    warnings: tuple[FieldError, ...]


def read_people(row: RegistrationIn, now: datetime) -> People | list[FieldError]:
    """Return buyer and patient as presented, or everything that is wrong with them.

    A buyer of whom neither name, document nor phone is known is nobody: no case could ever be matched.
    """
    today = china_day(now)
    errors: list[FieldError] = []
    warnings: list[FieldError] = []
    found: list[Presentation | None] = []
    for place, person in (("/buyer", row.buyer), ("/patient", row.patient)):
        if person is None:
            found.append(None)
            continue
        prepared = prepare(person, today)
        if isinstance(prepared, list):
            errors.extend(FieldError(place + item.pointer, item.code, item.detail) for item in prepared)
            continue
        if prepared.is_anonymous:
            errors.append(
                FieldError(place, "identity_missing", "At least one of name, document and phone must be there")
            )
            continue
        errors.extend(_told_in_plain(row, prepared.identity))
        warnings.extend(FieldError(place + item.pointer, item.code, item.detail) for item in prepared.notices)
        found.append(prepared)
    if errors:
        return errors
    buyer, patient = found
    assert buyer is not None
    return People(buyer, patient, tuple(warnings))


def _told_in_plain(row: RegistrationIn, identity: Identity) -> Iterator[FieldError]:
    """Find document number and phone in what is kept unsealed. Names may stand there: many a pharmacy bears one."""
    plain = [("/client_reference", row.client_reference)]
    plain += [(f"/answers/{name}", f"{name}={answer}") for name, answer in row.answers.items()]
    plain += [(f"/items/{line}/batch", item.batch) for line, item in enumerate(row.items) if item.batch is not None]
    if not tells_number("|".join([text for _, text in plain]), identity):
        return
    for pointer, text in plain:
        if tells_number(text, identity):
            code = "client_reference_contains_identity" if pointer == "/client_reference" else "contains_identity"
            yield FieldError(pointer, code, "This is kept in plain text and must not hold a document number or a phone")


def judge_form(row: RegistrationIn, now: datetime) -> list[FieldError]:
    """Return what is wrong with the time of purchase and with the items."""
    errors = []
    if row.purchased_at > now + CLOCK_TOLERANCE:
        errors.append(
            FieldError("/purchased_at", "purchased_in_future", "The purchase lies more than 10 minutes ahead")
        )
    if row.purchased_at < now - OLDEST:
        errors.append(FieldError("/purchased_at", "purchased_too_long_ago", "The purchase lies more than 30 days back"))
    errors += [
        FieldError(f"/items/{line}", "item_unidentified", "Give a GTIN, an approval number, a trace code or a name")
        for line, item in enumerate(row.items)
        if not (item.gtin or item.approval_number or item.trace_codes or item.name)
    ]
    return errors


def missing_fields(row: RegistrationIn, people: People, required: Collection[str]) -> list[FieldError]:
    """Return what the regime requires and the purchase does not tell, buyer's first."""
    missing: list[FieldError] = []
    for place, person, temperature in (
        ("/buyer", people.buyer, row.temperature_c),
        ("/patient", people.patient, row.patient.temperature_c if row.patient else None),
    ):
        if person is None:
            continue
        names = [f"{place}/{name}" for name in person.missing if name in required]
        if temperature is None and "temperature" in required:
            names.append("/temperature_c" if place == "/buyer" else "/patient/temperature_c")
        missing.extend(FieldError(name, "required_by_regime", "The regime requires this field") for name in names)
    return missing


def flags_of(row: RegistrationIn, now: datetime, *, incomplete: bool, suspended: bool) -> list[Flag]:
    """Return what somebody should know about a purchase, in the order of the enum.

    The fever rule looks at the patient, and at the buyer of a purchase for oneself.
    """
    temperature = row.patient.temperature_c if row.patient is not None else row.temperature_c
    code = row.checks.code if row.checks is not None else None
    found = (
        (Flag.FEVER, temperature is not None and temperature >= FEVER_C),
        (Flag.EXPOSURE, row.answers and any(row.answers.get(answer) is True for answer in EXPOSURE_ANSWERS)),
        (Flag.INCOMPLETE, incomplete),
        (Flag.LATE, now - row.purchased_at > ON_TIME),
        (Flag.SOLD_WHILE_SUSPENDED, suspended),
        (Flag.RED_CODE, code is HealthCode.RED),
        (Flag.YELLOW_CODE, code is HealthCode.YELLOW),
    )
    return [flag for flag, raised in found if raised]


def advise(flags: Sequence[str]) -> list[AdviceOut]:
    """Return what the clerk must do now, most urgent first. It follows from the flags alone, so a repeat gets the same."""
    advice = []
    if Flag.RED_CODE in flags:
        advice.append(ADVICE["report_red_code"])
    if Flag.SOLD_WHILE_SUSPENDED in flags:
        advice.append(ADVICE["not_for_sale"])
    if is_clue(flags):
        advice.append(ADVICE["refer_to_fever_clinic"])
    if Flag.INCOMPLETE in flags:
        advice.append(ADVICE["complete_record"])
    return advice


def is_clue(flags: Sequence[str]) -> bool:
    """Return whether a person must act today: fever, or stay in or contact with an affected place within 14 days."""
    return Flag.FEVER in flags or Flag.EXPOSURE in flags
