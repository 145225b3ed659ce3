"""What the tills and the authority were told, row by row, beside what the plan expects.

An answer can get lost when a process is killed: the row is sent again and is then a `duplicate` of itself. Whoever sent it
knows that it is the first, and so does this notebook: of the rows that were sent again in an hour one is read as what it
would have been. Nothing else is forgiven.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.demo.script import Row
from app.demo.truth import RESULTS

_DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Told:
    """The result of one row. `who` is a pharmacy's index, or None for the health authority."""

    who: int | None
    sign: str
    status: str
    id: str | None
    codes: tuple[str, ...]
    expected: tuple[str, ...]
    resent: bool
    sent_at: float


def told(who: int | None, row: Row, result: dict[str, object], *, resent: bool, sent_at: float) -> Told:
    """Return the note on one row and its result, as a batch answers it."""
    errors = result["errors"]
    codes = tuple(error["code"] for error in errors) if isinstance(errors, list) else ()
    sign = str(row.body["case_number" if who is None else "client_reference"])
    row_id = result["id"]
    return Told(
        who,
        sign,
        str(result["status"]),
        None if row_id is None else str(row_id),
        codes,
        row.expected,
        resent,
        sent_at,
    )


@dataclass(slots=True)
class Notebook:
    """All results, and what is needed to speak about them later."""

    pharmacy_ids: list[str] = field(default_factory=list)
    case_ids: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Registration id → pharmacy's index and reference, for every row that the service said it had."""
    sent_at: dict[str, float] = field(default_factory=dict)
    """Registration id → when its first request left."""
    results: dict[str, Counter[str]] = field(default_factory=lambda: {"registrations": Counter(), "cases": Counter()})
    surprises: list[str] = field(default_factory=list)
    """Rows with another result than the plan's, by reference and code."""

    @property
    def registered(self) -> int:
        """How many purchases have been acknowledged."""
        return len(self.acknowledged)

    def note(self, hour: Sequence[Told]) -> None:
        """Take down all results of one hour."""
        groups: dict[tuple[int | None, str], list[Told]] = defaultdict(list)
        for one in hour:
            groups[one.who, one.sign].append(one)
        for group in groups.values():
            settled = _recognise_own(group)
            for one in settled:
                self._note(one)
            first = settled[0].expected[0]
            times = sum(one.status == first for one in settled)
            if len(settled[0].expected) > 1 and times != 1:
                self.surprises.append(f"{settled[0].sign}: {times} of {len(settled)} rows were {first}")

    def _note(self, one: Told) -> None:
        self.results["cases" if one.who is None else "registrations"][one.status] += 1
        if one.status not in one.expected:
            codes = f" ({', '.join(one.codes)})" if one.codes else ""
            wanted = " or ".join(one.expected)
            self.surprises.append(f"{one.sign}: {wanted} expected, {one.status} answered{codes}")
        if one.id is None:
            return
        if one.who is None:
            self.case_ids[one.sign] = one.id
        elif one.status in RESULTS[:2]:
            self.acknowledged[one.id] = (one.who, one.sign)
            self.sent_at.setdefault(one.id, one.sent_at)


def _recognise_own(group: list[Told]) -> list[Told]:
    """Read one `duplicate` as what it would have been, where the first answer was lost."""
    first = group[0].expected[0]
    lost = any(one.resent for one in group) and first not in {one.status for one in group}
    place = next((at for at, one in enumerate(group) if one.status == _DUPLICATE), None)
    if first == _DUPLICATE or not lost or place is None:
        return group
    return [replace(one, status=first) if at == place else one for at, one in enumerate(group)]
