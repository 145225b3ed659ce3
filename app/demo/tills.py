"""What the tills send: each purchase as the body of a registration, when it is sent, and how often.

Good tills send a purchase within the hour or the day; some are cut off for days and deliver everything at once; some never hear the answer
and send again; a few send another content under the same reference, or rows with mistakes that are put right later.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random

from app.demo.city import STREETS, City, Till
from app.demo.counter import Purchase, Shown
from app.demo.papers import Hand, Kind, check_character
from app.demo.script import Calendar, Door, Json
from app.demo.shelf import Scanner, has_listed
from app.demo.stage import BACK_ONLINE_HOUR, Stage

CLOSING_HOUR = 22
REPEATED = 0.04
ALTERED = 12
MALFORMED = 14
"""Rows at scale 1 that are sent with other content later, and with a mistake first."""


class Cause(StrEnum):
    """Why a slip is sent."""

    FIRST = "first"
    AGAIN = "again"
    ALTERED = "altered"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Slip:
    """One row on its way; `wave` parts the requests of one till in one hour."""

    purchase: Purchase
    reference: str
    sent_at: datetime
    door: Door
    cause: Cause
    wave: int
    body: Json


def write_slips(
    rng: Random, city: City, stage: Stage, calendar: Calendar, purchases: Iterable[Purchase], scale: float
) -> list[Slip]:
    """Return everything that the tills send until the story ends, in order of sending."""
    writer = Writer(rng, city)
    counts = [0] * len(city.pharmacies)
    slips = []
    for purchase in sorted(purchases, key=lambda purchase: (purchase.at, purchase.pharmacy, purchase.buyer.resident)):
        counts[purchase.pharmacy] += 1
        reference = f"POS{purchase.pharmacy + 1:02d}-{purchase.at:%Y%m%d}-{counts[purchase.pharmacy]:06d}"
        sent_at, door = _sending(city, stage, calendar, purchase)
        body = writer.registration(purchase, reference)
        slips.append(Slip(purchase, reference, sent_at, door, Cause.FIRST, 0, body))
    slips = [slip for slip in slips if slip.sent_at <= calendar.last_hour]
    troubles = Troubles(rng, city, stage, calendar)
    return sorted(troubles.afflict(slips, scale), key=lambda slip: (slip.sent_at, slip.purchase.pharmacy, slip.wave))


def _sending(city: City, stage: Stage, calendar: Calendar, purchase: Purchase) -> tuple[datetime, Door]:
    day = calendar.day_of(purchase.at)
    till = city.pharmacies[purchase.pharmacy].till
    outage = stage.outage_on(purchase.pharmacy, day)
    if outage is not None:
        return calendar.at(outage.back_day, BACK_ONLINE_HOUR), Door.BATCH
    if till is Till.NIGHTLY:
        return calendar.at(day, CLOSING_HOUR), Door.NDJSON
    next_hour = purchase.at.replace(minute=0, second=0) + timedelta(hours=1)
    return next_hour, Door.SINGLE if till is Till.COUNTER else Door.BATCH


class Writer:
    """Writes purchases as bodies of `POST /v1/registrations`."""

    def __init__(self, rng: Random, city: City) -> None:
        """Draw from `rng`."""
        self._rng = rng
        self._city = city
        self._hand = Hand(rng)
        self._scanner = Scanner(rng)

    def registration(self, purchase: Purchase, reference: str) -> Json:
        """Return the whole body."""
        exposed = ("stay_in_affected_area_14d", "contact_with_case_14d")
        answers = dict.fromkeys(exposed, False)
        if purchase.exposed:
            answers[self._rng.choice(exposed)] = True
        patient = purchase.patient
        return {
            "client_reference": reference,
            "purchased_at": purchase.at.isoformat(),
            "buyer": self._person(purchase.buyer),
            "patient": None if patient is None else {**self._person(patient), "temperature_c": patient.temperature_c},
            "temperature_c": purchase.buyer.temperature_c,
            "symptoms": list(purchase.symptoms),
            "answers": answers,
            "checks": {"mask": self._rng.random() < 0.95, "code": purchase.code},
            "items": self._scanner.items(purchase.basket),
        }

    def _person(self, shown: Shown) -> Json:
        resident = self._city.residents[shown.resident]
        household = self._city.household_of(shown.resident)
        street = STREETS[household.street]
        person: Json = {
            "name": self._hand.name(resident.name) if shown.name else None,
            "document": None,
            "phone": self._hand.phone(shown.phone) if shown.phone else None,
            "address": {"division": street.code, "line": f"{street.name}{household.line}"} if shown.address else None,
        }
        if shown.paper is not None:
            person["document"] = {"type": shown.paper.kind.value, "number": self._hand.document(shown.paper)}
        elif shown.no_paper_because is not None:
            person["document_missing_reason"] = shown.no_paper_because
        return person


class Troubles:
    """What goes wrong between a till and the server. No purchase meets with more than one trouble."""

    def __init__(self, rng: Random, city: City, stage: Stage, calendar: Calendar) -> None:
        """Draw from `rng`; nothing is sent after the last hour."""
        self._rng = rng
        self._city = city
        self._stage = stage
        self._calendar = calendar

    def afflict(self, slips: list[Slip], scale: float) -> list[Slip]:
        """Return the slips with repeats, alterations and mistakes among them."""
        background = [slip for slip in slips if slip.purchase.story == "background" and self._is_plain(slip)]
        clumsy = [
            slip for slip in background if slip.purchase.pharmacy in self._stage.clumsy and _has_checked_number(slip)
        ]
        malformed = self._sample(clumsy, MALFORMED, scale)
        chosen = {slip.reference for slip in malformed}
        altered = self._sample([slip for slip in background if slip.reference not in chosen], ALTERED, scale)
        chosen |= {slip.reference for slip in altered}
        repeated = [slip for slip in slips if slip.reference not in chosen and self._rng.random() < REPEATED]
        wrong = {slip.reference for slip in malformed}
        sent = [slip for slip in slips if slip.reference not in wrong]
        for place, slip in enumerate(malformed):
            sent += self._put_right_later(slip, MISTAKES[place % len(MISTAKES)])
        sent += [self._later(slip, Cause.ALTERED, _altered(slip.body)) for slip in altered]
        sent += [self._again(slip) for slip in repeated]
        sent += self._whole_batch_again(slips, {slip.reference for slip in repeated})
        return [slip for slip in sent if slip.sent_at <= self._calendar.last_hour]

    def _is_plain(self, slip: Slip) -> bool:
        # Rows with troubles are created at first (or at last) whatever else goes on, and their follow-up still fits into the story.
        day = self._calendar.day_of(slip.purchase.at)
        return (
            slip.sent_at + timedelta(hours=8) <= self._calendar.last_hour
            and has_listed(slip.purchase.basket)
            and self._stage.is_plain(self._city, slip.purchase.pharmacy, day)
        )

    def _sample(self, slips: list[Slip], count: int, scale: float) -> list[Slip]:
        return self._rng.sample(slips, min(len(slips), max(1, round(count * scale))))

    def _put_right_later(self, slip: Slip, mistake: Callable[[Json], None]) -> list[Slip]:
        body = deepcopy(slip.body)
        mistake(body)
        wrong = Slip(slip.purchase, slip.reference, slip.sent_at, slip.door, Cause.MALFORMED, 0, body)
        return [wrong, self._later(slip, Cause.FIRST, slip.body)]

    def _later(self, slip: Slip, cause: Cause, body: Json) -> Slip:
        sent_at = slip.sent_at + timedelta(hours=self._rng.randrange(1, 7))
        return Slip(slip.purchase, slip.reference, sent_at, slip.door, cause, 0, body)

    def _again(self, slip: Slip) -> Slip:
        way = self._rng.choice(("at once", "in the same request", "later"))
        if way == "later":
            return self._later(slip, Cause.AGAIN, slip.body)
        wave = 1 if way == "at once" else 0
        return Slip(slip.purchase, slip.reference, slip.sent_at, slip.door, Cause.AGAIN, wave, slip.body)

    def _whole_batch_again(self, slips: list[Slip], repeated: set[str]) -> list[Slip]:
        # The line breaks once more before the answer to the long delivery comes: all of it is sent again.
        pharmacy = self._stage.long_outage.pharmacy
        batch = [slip for slip in slips if slip.purchase.pharmacy == pharmacy and slip.reference not in repeated]
        batch = [slip for slip in batch if slip.sent_at.hour == BACK_ONLINE_HOUR]
        hour = timedelta(hours=1)
        return [
            Slip(slip.purchase, slip.reference, slip.sent_at + hour, slip.door, Cause.AGAIN, 0, slip.body)
            for slip in batch
        ]


def _has_checked_number(slip: Slip) -> bool:
    paper = slip.purchase.buyer.paper
    return paper is not None and paper.kind is Kind.RESIDENT_ID and slip.purchase.buyer.phone is not None


def _altered(body: Json) -> Json:
    other = deepcopy(body)
    other["items"][0]["quantity"] += 1
    other["items"][0].pop("trace_codes", None)
    return other


def _wrong_check_character(body: Json) -> None:
    first_17 = "44030419900101000"
    body["buyer"]["document"]["number"] = first_17 + ("1" if check_character(first_17) == "0" else "0")


def _short_phone(body: Json) -> None:
    body["buyer"]["phone"] = "1540012"


def _no_decimal_point(body: Json) -> None:
    body["temperature_c"] = 366


def _nothing_bought(body: Json) -> None:
    body["items"] = []


def _no_quantity(body: Json) -> None:
    body["items"][0]["quantity"] = 0


def _clock_ahead(body: Json) -> None:
    body["purchased_at"] = (datetime.fromisoformat(body["purchased_at"]) + timedelta(days=2)).isoformat()


def _nobody(body: Json) -> None:
    body["buyer"] = {"name": None, "document": None, "phone": None, "address": None}
    body["patient"] = None


MISTAKES = (
    _wrong_check_character,
    _short_phone,
    _no_decimal_point,
    _nothing_bought,
    _no_quantity,
    _clock_ahead,
    _nobody,
)
