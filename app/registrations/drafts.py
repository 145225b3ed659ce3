"""A row on its way: as it came, with its name, and as it will be kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.auth.rules import Actor
from app.catalogue.rules import Resolution
from app.core.errors import FieldError
from app.pharmacies.rules import PharmacyFacts
from app.regimes.rules import Regime
from app.registrations.chain import Receipt
from app.registrations.rules import People
from app.registrations.schemas import Flag, RegistrationIn


@dataclass(slots=True)
class Recorded:
    """A row that is kept: newly, or since an earlier time (`duplicate`)."""

    id: UUID
    duplicate: bool
    received_at: datetime
    revision: int
    flags: Sequence[Flag]
    warnings: Sequence[FieldError]
    lines: Mapping[int, tuple[UUID, str]] = field(default_factory=dict)
    """Drug id and name of each listed line; filled for duplicates only on demand (`rows.find_lines`)."""
    is_newest: bool = True
    """Whether this is how the registration stands; what was sent before it was corrected gets the answer that it got then."""
    receipt: Receipt | None = None
    """Filled for duplicates only on demand (`receipts.find_receipts`)."""
    told: bytes | None = None
    """What its caller is told, made before the commit or after it (`Submission.tell`)."""


@dataclass(slots=True)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Submission:
    """One row as it came, and who sent it."""

    actor: Actor
    row: RegistrationIn
    tell: Callable[[Recorded], bytes] | None = None
    """How its caller will be told; done before the commit, while the database writes, and told after it."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A purchase as it came in a request of its own: `read` gives it, or raises the `AppError` that says what is wrong with its form.

    A crowd's purchases are read one right after the other, which takes less than each at its arrival: reading then finds its code and
    data in the processor's caches.
    """

    actor: Actor
    read: Callable[[], Submission]


@dataclass(slots=True, eq=False)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Named:
    """A row whose pharmacy is known: its name for ever, its canonical content, and the digest that tells a repeat from a
    conflict.
    """

    submission: Submission
    pharmacy: PharmacyFacts
    name: tuple[UUID, str]
    content: bytes
    digest: bytes


@dataclass(slots=True, eq=False)
class Draft:
    """A row that will be kept unless somebody is faster."""

    named: Named
    people: People
    regime: Regime
    resolutions: Sequence[Resolution]
    flags: list[Flag]
    warnings: list[FieldError]
    id: UUID
    buyer_id: UUID | None = None
    patient_id: UUID | None = None
