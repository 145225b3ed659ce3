"""How a purchase is judged: what is refused, what is flagged, what the clerk is told."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from app.core.clock import china_day
from app.core.errors import FieldError
from app.core.languages import Language
from app.people.plain import numbering
from app.people.rules import Identity, Presentation, prepare, tells_number
from app.people.schemas import PersonIn
from app.regimes.rules import RequiredField
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

TRACED_FROM = date(2026, 1, 1)
"""Since this day every box of a drug in China bears a trace code of its own."""

_JUDGED = (
    *(Flag.FEVER, Flag.EXPOSURE, Flag.INCOMPLETE, Flag.LATE, Flag.SOLD_WHILE_SUSPENDED),
    *(Flag.RED_CODE, Flag.YELLOW_CODE, Flag.LARGE_QUANTITY, Flag.UNTRACED),
)
"""The flags that follow from a purchase by itself, in the order of the enum."""

ADVICE: Mapping[str, tuple[Flag, str, str]] = {
    "report_red_code": (
        Flag.RED_CODE,
        "顾客为红码,请就地留置并立即报告街道。",
        "The customer has a red code: keep them apart and report to the street office at once.",
    ),
    "not_for_sale": (
        Flag.SOLD_WHILE_SUSPENDED,
        "本地区目录药品暂停销售,请停止售卖。",
        "Listed drugs are not for sale here now; do not sell.",
    ),
    "refer_to_fever_clinic": (
        Flag.FEVER,
        "请引导顾客到就近的发热门诊就诊,并立即报告社区。",
        "Send the customer to the nearest fever clinic and tell the community at once.",
    ),
    "report_yellow_code": (
        Flag.YELLOW_CODE,
        "顾客为黄码,请与其他顾客分开,引导其到指定地点检测,并报告社区。",
        "The customer has a yellow code: keep a distance, send them to be tested and tell the community.",
    ),
    "ask_about_repeated_purchase": (
        Flag.REPEATED_PURCHASE,
        "顾客近期已多次购买本药品,请询问用药情况,症状未好转的建议就医。",
        "The customer has bought this drug repeatedly: ask how it is taken, and advise a doctor if it has not helped.",
    ),
    "check_quantity": (
        Flag.LARGE_QUANTITY,
        "购买数量超过本药品的限量,请核对数量并询问用途。",
        "This is more of the drug than one purchase should hold: check the number and ask what it is for.",
    ),
    "complete_record": (
        Flag.INCOMPLETE,
        "登记信息不完整,请向顾客补充询问。",
        "The record is incomplete; ask the customer for what is missing.",
    ),
    "scan_trace_codes": (
        Flag.UNTRACED,
        "追溯码与盒数不符,请扫描每一盒的追溯码并更正登记。",
        "There is not one trace code for each box: scan every box and correct the registration.",
    ),
}
"""What the clerk must do, in Chinese and English, and the flag that asks for it; most urgent first."""

_SAID: Mapping[Language, Mapping[str, AdviceOut]] = {
    language: {
        code: AdviceOut.model_validate(
            {"code": code, "zh": zh, "en": en, "text": en if language is Language.EN else zh}
        )
        for code, (_, zh, en) in ADVICE.items()
    }
    for language in Language
}


@dataclass(slots=True)  # not frozen: each row of a batch makes one, at a fifth of the cost
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
    buyer = _read_person(row, "/buyer", row.buyer, today, errors, warnings)
    patient = None if row.patient is None else _read_person(row, "/patient", row.patient, today, errors, warnings)
    if errors or buyer is None:
        return errors
    return People(buyer, patient, tuple(warnings))


def _read_person(
    row: RegistrationIn,
    place: str,
    person: PersonIn,
    today: date,
    errors: list[FieldError],
    warnings: list[FieldError],
) -> Presentation | None:
    prepared = prepare(person, today)
    if isinstance(prepared, list):
        errors += [FieldError(place + item.pointer, item.code, item.detail) for item in prepared]
        return None
    if prepared.is_anonymous:
        errors.append(FieldError(place, "identity_missing", "At least one of name, document and phone must be there"))
        return None
    errors += _told_in_plain(row, prepared.identity)
    warnings += [FieldError(place + item.pointer, item.code, item.detail) for item in prepared.notices]
    return prepared


def _told_in_plain(row: RegistrationIn, identity: Identity) -> list[FieldError]:
    """Find document number and phone in what is kept unsealed. Names may stand there: many a pharmacy bears one."""
    plain = [("/client_reference", row.client_reference)]
    if row.answers:
        plain += [(f"/answers/{name}", f"{name}={answer}") for name, answer in row.answers.items()]
    plain += [(f"/items/{line}/batch", item.batch) for line, item in enumerate(row.items) if item.batch is not None]
    errors: list[FieldError] = []
    if tells_number("|".join([text for _, text in plain]), identity):
        for pointer, text in plain:
            is_reference = pointer == "/client_reference"
            code = "client_reference_contains_identity" if is_reference else "contains_identity"
            errors += numbering(pointer, code, text, identity)
    return errors


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
        missing += [FieldError(name, "required_by_regime", "The regime requires this field") for name in names]
    return missing


def trace_findings(
    row: RegistrationIn, day: date, listed: Iterable[int], required: Collection[str]
) -> tuple[list[FieldError], list[FieldError]]:
    """Return which listed lines lack trace codes though they are required, and which have another number than there are boxes.

    A line without any code is not complained of unless they are required: many tills have no scanner that reads them, and a
    warning with each answer would be read by nobody.
    """
    lacking: list[FieldError] = []
    unlike: list[FieldError] = []
    if day < TRACED_FROM:
        return lacking, unlike
    for line in listed:
        item, pointer = row.items[line], f"/items/{line}/trace_codes"
        if item.trace_codes:
            if len(set(item.trace_codes)) != item.quantity:
                unlike.append(FieldError(pointer, "trace_codes_differ", "There is not one trace code for each box"))
        elif RequiredField.TRACE_CODES in required:
            lacking.append(FieldError(pointer, "required_by_regime", "The regime requires this field"))
    return lacking, unlike


def large_lines(row: RegistrationIn, drugs: Sequence[tuple[int, UUID, int | None]]) -> list[FieldError]:
    """Return the lines with which a purchase holds more of a drug than it should; `drugs` are line, drug and the most."""
    held: Counter[UUID] = Counter()
    found = []
    for line, drug, most in drugs:
        held[drug] += row.items[line].quantity
        if most is not None and held[drug] > most:
            detail = f"One purchase should hold no more than {most} of this drug"
            found.append(FieldError(f"/items/{line}/quantity", "large_quantity", detail))
    return found


def most_in_a_row(bought: Iterable[tuple[date, int]], day: date, days: int) -> int:
    """Return the most that was bought within any so many calendar days in a row, one of them this one."""
    near = [(on, quantity) for on, quantity in bought if abs((on - day).days) < days]
    firsts = {on for on, _ in near if on <= day} | {day}
    return max(sum(q for on, q in near if 0 <= (on - first).days < days) for first in firsts)


def flags_of(
    row: RegistrationIn,
    now: datetime,
    *,
    incomplete: bool = False,
    suspended: bool = False,
    exposed: bool = False,
    large: bool = False,
    untraced: bool = False,
) -> list[Flag]:
    """Return what somebody should know about a purchase, in the order of the enum.

    The fever rule looks at the patient, and at the buyer of a purchase for oneself.
    """
    temperature = row.patient.temperature_c if row.patient is not None else row.temperature_c
    code = row.checks.code if row.checks is not None else None
    raised = (
        temperature is not None and temperature >= FEVER_C,
        exposed,
        incomplete,
        now - row.purchased_at > ON_TIME,
        suspended,
        code is HealthCode.RED,
        code is HealthCode.YELLOW,
        large,
        untraced,
    )
    return [flag for flag, holds in zip(_JUDGED, raised, strict=True) if holds] if any(raised) else []


def advise(flags: Sequence[str], language: Language = Language.ZH) -> list[AdviceOut]:
    """Return what the clerk must do now, most urgent first. It follows from the flags alone, so a repeat gets the same."""
    if not flags:
        return []
    said, raised = _SAID[language], {*flags, *([Flag.FEVER] if is_clue(flags) else [])}
    return [said[code] for code, (flag, _, _) in ADVICE.items() if flag in raised]


def is_clue(flags: Sequence[str]) -> bool:
    """Return whether a person must act today: fever, or an answer that the questionnaire calls a clue."""
    return Flag.FEVER in flags or Flag.EXPOSURE in flags
