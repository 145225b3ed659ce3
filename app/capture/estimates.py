"""Shares with their intervals, and how many purchases nobody registered. Formulas only, each with its source."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import exp, lgamma, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
FEWEST_IN_BOTH = 7
"""With seven in both samples or more the bias of Chapman's estimator is negligible (Robson and Regier 1964)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of a 95 % confidence interval."""

    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval | None:
    """Return the score interval of a share (Wilson 1927, JASA 22:209-212), without correction for continuity; None without trials.

    It keeps its promise with few trials and near 0 and 1 (Newcombe 1998, Stat Med 17:857-872), where a pharmacy's figures lie.

    Raises:
        ValueError: the counts are none of a share.
    """
    if not 0 <= successes <= trials:
        raise ValueError("more successes than trials, or fewer than none")
    if trials == 0:
        return None
    share = successes / trials
    centre = (share + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    half = _Z * sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2)) / (1 + _Z**2 / trials)
    # The ends are exact where nothing or everything succeeded; rounding must not take them beyond.
    return Interval(
        0.0 if successes == 0 else max(0.0, centre - half), 1.0 if successes == trials else min(1.0, centre + half)
    )


class NoEstimate(StrEnum):
    """Why there is none."""

    NOTHING_DECLARED = "nothing_declared"
    NOTHING_REGISTERED = "nothing_registered"
    NOTHING_IN_BOTH = "nothing_in_both"
    """No declared purchase is covered: the estimate would be as large as the samples allow, and mean nothing."""


class Caution(StrEnum):
    """Why an estimate should be read with care."""

    FEW_IN_BOTH = "few_in_both"


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many purchases there were in all, from two samples that each know some of them."""

    total: float
    variance: float
    interval: Interval


def estimate_total(declared: int, registered: int, both: int) -> Estimate | NoEstimate:
    """Return Chapman's estimate of all purchases from those declared, those registered and those that are both.

    N = (n1 + 1)(n2 + 1) / (m + 1) - 1 (Chapman 1951, Univ Calif Publ Stat 1:131-160), with the variance of Seber (1970, Biometrika
    57:315-320). The interval is the exact one of the hypergeometric model: every N under which neither as many in both nor as few
    has a chance of 2.5 % or less. It keeps its promise for the small numbers of an outbreak, and where one sample has found all that
    the other knows, in which the usual approximations give no width at all or one without bound.

    Raises:
        ValueError: more in both than in one.
    """
    if not 0 <= both <= min(declared, registered):
        raise ValueError("more in both than in one, or fewer than none")
    if declared == 0:
        return NoEstimate.NOTHING_DECLARED
    if registered == 0:
        return NoEstimate.NOTHING_REGISTERED
    if both == 0:
        return NoEstimate.NOTHING_IN_BOTH
    pairs = (declared + 1) * (registered + 1)
    unseen = pairs * (declared - both) * (registered - both)
    return Estimate(pairs / (both + 1) - 1, unseen / ((both + 1) ** 2 * (both + 2)), _exact(declared, registered, both))


def _exact(declared: int, registered: int, both: int) -> Interval:
    known = declared + registered - both
    tail = (1 - CONFIDENCE) / 2

    def as_few(total: int) -> float:
        return _chance(total, declared, registered, range(max(0, declared + registered - total), both + 1))

    def as_many(total: int) -> float:
        return _chance(total, declared, registered, range(both, min(declared, registered) + 1))

    # The larger the total, the likelier so few in both, and the less likely so many.
    low = known if as_few(known) > tail else _last(known, lambda total: as_few(total) <= tail) + 1
    return Interval(low, _last(known, lambda total: as_many(total) > tail))


def _chance(total: int, declared: int, registered: int, in_both: range) -> float:
    """Return the chance that so many of the declared are among the registered, where there are `total` in all."""
    ways = _log_ways(total, declared)
    return sum(
        exp(_log_ways(registered, both) + _log_ways(total - registered, declared - both) - ways) for both in in_both
    )


def _log_ways(many: int, few: int) -> float:
    return lgamma(many + 1) - lgamma(few + 1) - lgamma(many - few + 1)


def _last(start: int, holds: Callable[[int], bool]) -> int:
    """Return the last number for which something holds, from one on for which it does, if it never holds again afterwards."""
    step = 1
    while holds(start + step):
        start += step
        step *= 2
    while step > 1:
        step //= 2
        if holds(start + step):
            start += step
    return start
