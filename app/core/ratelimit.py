"""How much one key may ask for: budgets that refill, so that one till's storm slows only itself.

Each budget is a token bucket, kept as one number a key (GCRA, the generic cell rate algorithm: the moment at which the
budget is full again). Nothing has to run to refill it, and a key that has not asked for a while costs no memory that
matters. The state lives in the process: with several API processes each gives every key a budget of its own, so the
bound on the whole is the budget times the processes.

Told in the fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) of every answer.
"""

from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple
from uuid import UUID

from app.core.errors import AppError

MOST_KEYS = 50_000
"""How many keys are remembered at most; those whose budget is full are forgotten first, at no loss."""

Header = tuple[bytes, bytes]


class RateLimited(AppError):
    """The key has used up its budget for requests of this kind; send again after `Retry-After` seconds. Other keys are not affected."""

    status, code, title = 429, "rate_limited", "Too many requests with this key"


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """At most `burst` units at once, and `per_second` again each second."""

    name: str
    per_second: float
    burst: int
    policy: Header = field(init=False)

    def __post_init__(self) -> None:
        """Write the policy once: the quota and the seconds in which an empty budget fills."""
        written = f'"{self.name}";q={self.burst};w={ceil(self.burst / self.per_second)}'.encode()
        object.__setattr__(self, "policy", (b"ratelimit-policy", written))


class Standing(NamedTuple):
    """What is left of a budget after a request: units now, seconds until it is full, seconds to wait if it was refused."""

    remaining: int
    full_in_seconds: int
    wait_seconds: int

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.wait_seconds == 0


class Meter:
    """One budget, as far as each key has used it. Moments are seconds of a monotonic clock."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._rate = float(budget.per_second)
        self._most_used = budget.burst - 0.99  # a hundredth of tolerance: seconds of uptime are not exact in binary
        self._full_at: dict[UUID, float] = {}
        self._name = budget.name.encode()

    def spend(self, key: UUID, moment: float, units: int = 1) -> Standing:
        """Take units if at least one is left; a refused request takes nothing.

        Whoever sends many at once may run into debt once, and then waits until it is paid: a batch is never refused for its
        size, only after another.
        """
        rate = self._rate
        full_at = self._full_at.get(key)
        if full_at is None:
            if len(self._full_at) >= MOST_KEYS:
                self._forget(moment)
            full_at = moment
        elif full_at < moment:
            full_at = moment
        used = (full_at - moment) * rate
        if used > self._most_used:
            return Standing(0, ceil(used / rate), max(1, ceil((used + 1 - self.budget.burst) / rate)))
        self._full_at[key] = full_at = full_at + units / rate
        left = int(self.budget.burst - used - units + 0.01)
        return Standing(left if left > 0 else 0, int(full_at - moment) + 1, 0)

    def fields(self, standing: Standing) -> tuple[Header, Header]:
        """Return the fields that tell a caller where it stands."""
        told = b'"%b";r=%d;t=%d' % (self._name, standing.remaining, standing.full_in_seconds)
        return self.budget.policy, (b"ratelimit", told)

    def _forget(self, moment: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > moment}
        if len(self._full_at) >= MOST_KEYS:
            self._full_at.clear()
