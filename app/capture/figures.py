"""The net in figures: what is asked for, what is answered, and how counts become rates."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.capture.estimates import FEWEST_IN_BOTH, Caution, Estimate, NoEstimate, estimate_total, wilson
from app.capture.rules import Declared, PurchaseStatus, Registered
from app.core.schemas import Code, DivisionCode, Out
from app.regimes.rules import RequiredField
from app.sales.schemas import Period

ASSUMPTIONS = (
    "closed: the period's purchases are what they are; none is added or taken away between interview and count",
    "independent: whether a purchase is told of does not depend on whether it was registered",
    "linked: a purchase that is in both is recognised as such, and no other is",
    "equal: each purchase of these people is as likely to be told of as any other, and as likely to be registered",
)
"""What the estimate rests on. Interviewers who read the registrations aloud break the second, and the estimate is too low."""


class GroupBy(StrEnum):
    """What a line stands for."""

    PHARMACY = "pharmacy"
    DIVISION = "division"


class FigureFilter(Period):
    """Days of purchase, where, and what a line stands for."""

    division: DivisionCode | None = None
    group_by: GroupBy = GroupBy.DIVISION


class CaptureFilter(FigureFilter):
    """Which declared purchases to count."""

    disease: Code | None = None


Share = Annotated[float, Field(ge=0, le=1)]


class CaptureLineOut(Out):
    """Declared purchases of one pharmacy or division; `rate` is covered / (covered + missed), with its 95 % Wilson interval.

    `key` is null where the case knew no pharmacy and lines stand for pharmacies.
    """

    key: str | None
    name: str | None
    covered: int
    missed: int
    not_required: int
    not_judged: int
    rate: Share | None
    low: Share | None
    high: Share | None


class NeverRegisteredOut(Out):
    """How many purchases of the interviewed nobody registered (Chapman's estimate with its exact 95 % interval).

    `declared`, `registered` and `both` are the two samples and what is in both, each counted in drugs: a receipt with two is two.
    The estimate is null, and `reason` says why, where it cannot be computed. `caution`: fewer than seven in both.
    """

    declared: int
    registered: int
    both: int
    purchases: float | None
    purchases_low: float | None
    purchases_high: float | None
    variance: float | None
    never_registered: float | None
    never_registered_low: float | None
    never_registered_high: float | None
    reason: NoEstimate | None
    caution: Caution | None
    assumptions: list[str]


class CaptureOut(Out):
    """How much of what cases told was registered; the worst line first."""

    from_day: date
    to_day: date
    group_by: GroupBy
    lines: list[CaptureLineOut]
    total: CaptureLineOut
    estimate: NeverRegisteredOut


class FieldOut(Out):
    """How often a field that the regime required was there, of buyers and of patients who are another person."""

    field: RequiredField
    required: int
    given: int
    share: Share


class TimelinessLineOut(Out):
    """How soon registrations of one pharmacy or division came, and how whole they are.

    Seconds from purchase to first receipt: `median_seconds` and `p90_seconds` are continuous percentiles (linear between the two
    nearest values, as PostgreSQL's `percentile_cont`); a till's clock that runs ahead counts as no delay. `on_time` came within 24 h.
    """

    key: str | None
    name: str | None
    registrations: int
    on_time: int
    on_time_share: Share | None
    median_seconds: float | None
    p90_seconds: float | None
    complete: int
    complete_share: Share | None
    fields: list[FieldOut]


class TimelinessOut(Out):
    """How soon and how whole registrations came; the slowest line first."""

    from_day: date
    to_day: date
    group_by: GroupBy
    lines: list[TimelinessLineOut]
    total: TimelinessLineOut


def capture_lines(
    counts: Iterable[tuple[str | None, PurchaseStatus, int]], names: Mapping[str, str]
) -> list[CaptureLineOut]:
    """Return a line for each key, the most misses first, then the lowest rate, then the key."""
    by_key: dict[str | None, dict[PurchaseStatus, int]] = {}
    for key, status, count in counts:
        line = by_key.setdefault(key, {})
        line[status] = line.get(status, 0) + count
    lines = [_line(key, names.get(key or ""), found) for key, found in by_key.items()]
    return sorted(lines, key=lambda line: (-line.missed, 1 if line.rate is None else line.rate, line.key or ""))


def capture_total(lines: Collection[CaptureLineOut]) -> CaptureLineOut:
    """Return the sum of all lines."""
    return _line(None, None, {status: sum(getattr(line, status.value) for line in lines) for status in PurchaseStatus})


def _line(key: str | None, name: str | None, found: Mapping[PurchaseStatus, int]) -> CaptureLineOut:
    covered, missed = found.get(PurchaseStatus.COVERED, 0), found.get(PurchaseStatus.MISSED, 0)
    interval = wilson(covered, covered + missed)
    return CaptureLineOut(
        key=key,
        name=name,
        covered=covered,
        missed=missed,
        not_required=found.get(PurchaseStatus.NOT_REQUIRED, 0),
        not_judged=found.get(PurchaseStatus.NOT_JUDGED, 0),
        rate=share(covered, covered + missed),
        low=None if interval is None else round(interval.low, 4),
        high=None if interval is None else round(interval.high, 4),
    )


def share(part: int, whole: int) -> float | None:
    """Return a share with four decimals; None of nothing."""
    return round(part / whole, 4) if whole else None


@dataclass(frozen=True, slots=True)
class Counted:
    """A declared purchase that counts: covered or missed. `covered_on` is the day of what covers it."""

    declared: Declared
    case_id: UUID
    covered_on: date | None


def never_registered(
    told: Sequence[Counted], registered: Iterable[Registered], first: date, end: date
) -> NeverRegisteredOut:
    """Return the estimate from what the interviewed told of a period and what was registered of the same people in it.

    Left out are drugs that are on no list, of which registrations keep nothing, and purchases that are covered from outside the
    period: both samples are then of one population, and what is in both is part of each.
    """
    sample = [
        one
        for one in told
        if (one.declared.drug is None or one.declared.entry is not None)
        and (one.covered_on is None or first <= one.covered_on < end)
    ]
    both = sum(one.covered_on is not None for one in sample)
    units = sum(max(len(one.entries), 1) for one in registered if first <= one.day < end)
    found = estimate_total(len(sample), units, both)
    estimate = found if isinstance(found, Estimate) else None
    return NeverRegisteredOut(
        declared=len(sample),
        registered=units,
        both=both,
        purchases=estimate and round(estimate.total, 1),
        purchases_low=estimate and round(estimate.interval.low, 1),
        purchases_high=estimate and round(estimate.interval.high, 1),
        variance=estimate and round(estimate.variance, 3),
        never_registered=estimate and round(estimate.total - units, 1),
        never_registered_low=estimate and round(estimate.interval.low - units, 1),
        never_registered_high=estimate and round(estimate.interval.high - units, 1),
        reason=found if isinstance(found, NoEstimate) else None,
        caution=Caution.FEW_IN_BOTH if estimate and both < FEWEST_IN_BOTH else None,
        assumptions=list(ASSUMPTIONS),
    )


@dataclass(slots=True)
class Wholeness:
    """How often each field was required, and how often it was missing though it was."""

    required: dict[RequiredField, int] = field(default_factory=dict)
    missing: dict[RequiredField, int] = field(default_factory=dict)

    def require(self, name: RequiredField, times: int) -> None:
        """Note that a field was required so many times."""
        self.required[name] = self.required.get(name, 0) + times

    def miss(self, name: RequiredField, times: int) -> None:
        """Note that a required field was missing so many times."""
        self.missing[name] = self.missing.get(name, 0) + times

    def fields(self) -> list[FieldOut]:
        """Return what was required, in the order of the enum."""
        return [
            FieldOut(
                field=name,
                required=times,
                given=times - self.missing.get(name, 0),
                share=round((times - self.missing.get(name, 0)) / times, 4),
            )
            for name in RequiredField
            if (times := self.required.get(name, 0))
        ]
