"""A labelled city: purchases and cases of synthetic residents, and for each record who it truly is.

The same seed makes the same city, whatever the day: times are days before the day on which it is made.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from app.cases.rules import Classification
from app.cases.schemas import CaseIn
from app.core.clock import china_day
from app.matching.rules import MatchRole, in_window
from app.people.schemas import PersonIn
from benchmarks import mishaps
from benchmarks.mishaps import CASE_LIST, COUNTER
from benchmarks.residents import City, found

DIVISIONS = ("440303001", "440304002", "440304005", "440305002", "440306017", "440304008")
DISEASE = "covid-19"
AUTHORITY = "SYN-CDC"
DAYS = 90
"""Days over which purchases lie."""
ON_BEHALF = 0.08
STRANGERS = 0.8
"""Of cases, so many have never bought anything here: visitors, and those who went to a doctor at once."""
CONFIRMED = 0.7


@dataclass(frozen=True, slots=True)
class Purchase:
    """A registration as it was written, and who buyer and patient truly are (places in `City.residents`)."""

    buyer: PersonIn
    patient: PersonIn | None
    purchased_at: datetime
    received_at: datetime
    who_buys: int
    who_is_ill: int | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """A case as the list has it, and who it truly is."""

    row: CaseIn
    who: int


Pair = tuple[int, int, MatchRole]
"""Number of a purchase, number of a case, and as whom the case appears there."""


class LabelledCity:
    """The records, made as they are asked for, and the truth about them."""

    def __init__(self, purchases: int, cases: int, seed: int, now: datetime) -> None:
        """Found a city in which as many people live as purchases are made; nothing is written yet."""
        self.now = now
        self.size = purchases
        self._rng = Random(seed)
        self.city: City = found(int(purchases * 1.1) + 10, DIVISIONS, self._rng)
        self._buyers = purchases
        self._cases = cases
        self._seed = seed
        self.made: list[tuple[int, int | None, datetime]] = []

    def purchases(self) -> Iterator[Purchase]:
        """Yield all purchases; call it once. Who buys lives here, the last sixth of the residents has other shops."""
        rng = Random(self._seed + 1)
        city = self.city
        for _ in range(self.size):
            who = rng.randrange(self._buyers)
            ill: int | None = None
            if rng.random() < ON_BEHALF:
                others = [one for one in city.households[city.residents[who].household] if one != who]
                ill = rng.choice(others) if others else None
            purchased = self.now - timedelta(minutes=30 + rng.randrange(DAYS * 24 * 60))
            delay = timedelta(minutes=rng.randrange(20) if rng.random() < 0.9 else rng.randrange(60 * 48))
            self.made.append((who, ill, purchased))
            yield Purchase(
                mishaps.write(city, who, COUNTER, rng),
                None if ill is None else mishaps.write(city, ill, COUNTER, rng),
                purchased,
                min(purchased + delay, self.now),
                who,
                ill,
            )

    def cases(self) -> list[Labelled]:
        """Return the case list; nobody is on it twice."""
        rng = Random(self._seed + 2)
        strangers = len(self.city.residents) - self._buyers
        outside = min(int(self._cases * STRANGERS), strangers)
        chosen = rng.sample(range(self._buyers), self._cases - outside)
        chosen += rng.sample(range(self._buyers, len(self.city.residents)), outside)
        rng.shuffle(chosen)
        return [self._case(number, who, rng) for number, who in enumerate(chosen)]

    def _case(self, number: int, who: int, rng: Random) -> Labelled:
        onset = self.now - timedelta(minutes=rng.randrange(60, 45 * 24 * 60))
        is_confirmed = rng.random() < CONFIRMED
        confirmed = min(onset + timedelta(hours=rng.randrange(12, 120)), self.now - timedelta(minutes=5))
        row = CaseIn(
            authority=AUTHORITY,
            case_number=f"SYN-{number:07d}",
            disease=DISEASE,
            classification=Classification.CONFIRMED if is_confirmed else Classification.PROBABLE,
            person=mishaps.write(self.city, who, CASE_LIST, rng),
            onset_on=china_day(onset) if rng.random() < 0.9 else None,
            confirmed_at=confirmed.astimezone(UTC) if is_confirmed else None,
            division=self.city.residents[who].division,
        )
        return Labelled(row, who)

    def truth(self, cases: Sequence[Labelled]) -> Collection[Pair]:
        """Return every pair that a perfect matching finds: the same person, the purchase within the window of the case."""
        numbers: dict[int, list[tuple[int, MatchRole]]] = defaultdict(list)
        for purchase, (buyer, patient, _) in enumerate(self.made):
            numbers[buyer].append((purchase, MatchRole.BUYER))
            if patient is not None:
                numbers[patient].append((purchase, MatchRole.PATIENT))
        return {
            (purchase, number, role)
            for number, case in enumerate(cases)
            for purchase, role in numbers[case.who]
            if in_window(self.made[purchase][2], case.row.onset_on, case.row.confirmed_at)
        }
