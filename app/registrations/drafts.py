"""A row on its way: as it came, with its name, and as it will be kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.auth.rules import Actor
from app.catalogue.rules import Resolution
from app.core.errors import FieldError
from app.pharmacies.rules import PharmacyFacts
from app.regimes.rules import Regime
from app.registrations.rules import People
from app.registrations.schemas import Flag, RegistrationIn


@dataclass(slots=True)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Submission:
    """One row as it came, and who sent it."""

    actor: Actor
    row: RegistrationIn


@dataclass(slots=True, eq=False)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Named:
    """A row whose pharmacy is known: its name for ever, its canonical content, and the digest that tells a repeat from a
    conflict.
    """

    submission: Submission
    pharmacy: PharmacyFacts
    name: tuple[UUID, str]
    content: str
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
