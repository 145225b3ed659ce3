"""Which statement of a day holds, what may be stated, and what is missing between counter and count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.core.clock import china_day
from app.core.errors import FieldError
from app.regimes.rules import RegimeKind
from app.sales.schemas import DayTotalsOut, DrugTotalsOut, ReconciliationOut, StatementOut

OLDEST_DAYS = 30
"""How far back a day may lie, as for registrations (choice)."""
CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a till's clock may run ahead (choice)."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A statement of the same pharmacy and day that is stored already."""

    id: UUID
    revision: int
    digest: bytes
    stated_at: datetime | None
    received_at: datetime
    in_force: bool

    @property
    def holds_since(self) -> datetime:
        """The instant by which statements are ordered: the till's, or that of receipt where it told none."""
        return self.stated_at or self.received_at


class Fate(StrEnum):
    """What becomes of a statement that arrives."""

    REPEAT = "repeat"
    CONFLICT = "conflict"
    SUPERSEDES = "supersedes"
    """It is the first of its day, or takes the place of the one in force."""
    SUPERSEDED = "superseded"
    """One that was stated later is in force already; this one is kept as a revision."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a statement, and which stored one it meets: its equal, its rival, or the one in force."""

    fate: Fate
    meets: Earlier | None


def judge(digest: bytes, stated_at: datetime | None, earlier: Sequence[Earlier], now: datetime) -> Verdict:
    """Return what becomes of a statement, given all those of its pharmacy and day.

    A statement with a time is named by it: the same content again is a repeat, other content a conflict. One without is a
    repeat only of the one in force, so that a till may return to an earlier count.
    """
    current = next((one for one in earlier if one.in_force), None)
    if stated_at is not None:
        namesake = next((one for one in earlier if one.stated_at == stated_at), None)
        if namesake is not None:
            return Verdict(Fate.REPEAT if namesake.digest == digest else Fate.CONFLICT, namesake)
    elif current is not None and current.digest == digest:
        return Verdict(Fate.REPEAT, current)
    if current is None or (stated_at or now) >= current.holds_since:
        return Verdict(Fate.SUPERSEDES, current)
    return Verdict(Fate.SUPERSEDED, current)


def judge_times(day: date, stated_at: datetime | None, now: datetime) -> list[FieldError]:
    """Return what is wrong with the day and with the time of a statement."""
    today = china_day(now)
    errors = []
    if day > today:
        errors.append(FieldError("/day", "day_in_future", "The day has not begun yet"))
    if day < today - timedelta(days=OLDEST_DAYS):
        errors.append(FieldError("/day", "day_too_long_ago", "The day lies more than 30 days back"))
    if stated_at is not None and stated_at > now + CLOCK_TOLERANCE:
        errors.append(FieldError("/stated_at", "stated_in_future", "The statement lies more than 10 minutes ahead"))
    return errors


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a drug list whatever its version: the list's code and the entry's wording."""

    list: str
    wording: str


@dataclass(frozen=True, slots=True)
class Received:
    """Registrations of purchases on one day."""

    count: int = 0
    late: int = 0
    incomplete: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server has of a pharmacy's days. `ids` has an id for each entry that occurs."""

    received: Mapping[date, Received]
    registered: Mapping[tuple[date, Entry], int]
    stated: Mapping[date, StatementOut]
    sold: Mapping[tuple[date, Entry], int]
    ids: Mapping[Entry, UUID]


def reconcile(
    pharmacy_id: UUID, first: date, end: date, regimes: Mapping[date, RegimeKind], facts: Facts
) -> ReconciliationOut:
    """Set counter against count for every day of a half-open period.

    What a statement does not name was not sold. Where nothing had to be registered (`counts`), and where nothing was stated,
    there is no gap to speak of.
    """
    entries: dict[date, set[Entry]] = {}
    for day, entry in (*facts.registered, *facts.sold):
        entries.setdefault(day, set()).add(entry)
    days = [
        _day(day, regimes[day], sorted(entries.get(day, ()), key=lambda entry: (entry.list, entry.wording)), facts)
        for day in (first + timedelta(days=number) for number in range((end - first).days))
    ]
    drugs = [drug for day in days for drug in day.drugs]
    return ReconciliationOut(
        pharmacy_id=pharmacy_id,
        from_day=first,
        to_day=end,
        days=days,
        registrations=sum(day.registrations for day in days),
        registered=sum(drug.registered for drug in drugs),
        sold=sum(drug.sold or 0 for drug in drugs),
        unregistered=sum(max(drug.gap or 0, 0) for drug in drugs),
        days_without_statement=sum(day.statement is None for day in days),
    )


def _day(day: date, regime: RegimeKind, entries: Sequence[Entry], facts: Facts) -> DayTotalsOut:
    received = facts.received.get(day, Received())
    statement = facts.stated.get(day)
    drugs = []
    for entry in entries:
        registered = facts.registered.get((day, entry), 0)
        sold = None if statement is None else facts.sold.get((day, entry), 0)
        gap = None if sold is None or regime is RegimeKind.COUNTS else sold - registered
        drugs.append(
            DrugTotalsOut(
                drug_id=facts.ids[entry],
                list=entry.list,
                drug=entry.wording,
                registered=registered,
                sold=sold,
                gap=gap,
            )
        )
    return DayTotalsOut(
        day=day,
        regime=regime,
        registrations=received.count,
        on_time=received.count - received.late,
        late=received.late,
        incomplete=received.incomplete,
        statement=statement,
        drugs=drugs,
    )
