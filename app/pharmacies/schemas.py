"""A pharmacy as it is enrolled, changed and shown."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints, field_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from app.auth.rules import DEFAULT_OVERLAP_DAYS, MOST_OVERLAP_DAYS
from app.core.schemas import Day, DivisionCode, Filter, Label, LongText, Model, Out, Reason, ShortText
from app.people.schemas import DocumentIn
from app.pharmacies.rules import USCC_PATTERN, Standing, fold_code

MAX_ROSTER = 500
MAX_CHAIN = 1_000


def _folded(value: Any) -> Any:
    return fold_code(value) if isinstance(value, str) else value


Uscc = Annotated[str, StringConstraints(pattern=USCC_PATTERN), BeforeValidator(_folded)]
"""A unified social credit code (GB 32100-2015): 18 characters. A wrong check character is a warning."""

LicenceNumber = Annotated[ShortText, StringConstraints(min_length=1, max_length=64), BeforeValidator(_folded)]
"""The number of the licence to trade in drugs."""

SiteAddress = Annotated[LongText, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
"""Where the shop is."""


class Location(Model):
    """Degrees, WGS 84."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class PharmacyIn(Model):
    """A site to be enrolled."""

    name: Label = Field(examples=["福田区某药房沙头店"])
    uscc: Uscc = Field(examples=["91440300MA5EXAMPLE"])
    licence_number: LicenceNumber = Field(examples=["粤DA7550001"])
    division: DivisionCode = Field(examples=["440304005"])
    address: SiteAddress
    location: Location | None = None
    chain: Label | None = Field(default=None, description="The chain it belongs to")
    enrolled_on: Day | None = Field(default=None, description="The day from which it reports; today unless told")
    sandbox: bool = Field(
        default=False,
        description=(
            "For trying out tills, and for ever: its registrations are judged and answered like real ones, "
            "reach no match and no figure, and are deleted after 30 days"
        ),
    )


class PharmacyPatch(Model):
    """What changes; members that are left out stay. A change of standing needs a reason."""

    name: Label | SkipJsonSchema[None] = None
    address: SiteAddress | SkipJsonSchema[None] = None
    location: Location | None = None
    chain: Label | None = None
    standing: Standing | SkipJsonSchema[None] = None
    standing_from: Day | SkipJsonSchema[None] = Field(
        default=None, description="The first day of the standing; today unless told, at most a year ahead"
    )
    reason: Reason | SkipJsonSchema[None] = None

    @field_validator("name", "address", "standing", "standing_from", "reason", mode="before")
    @classmethod
    def _is_not_taken_away(cls, value: Any) -> Any:
        if value is None:
            raise PydanticCustomError("null_not_allowed", "This can be changed, but not taken away")
        return value


class PharmacyFilter(Filter):
    """Which pharmacies to show."""

    division: DivisionCode | None = Field(default=None, description="Those of this division and below it")
    standing: Standing | None = Field(default=None, description="Those with this standing today")
    q: ShortText | None = Field(default=None, description="Those whose name begins like this")


class StandingOut(Out):
    """One statement about the standing: it holds from its day on, whatever earlier statements say."""

    standing: Standing
    valid_from: date
    reason: str
    recorded_at: datetime


class WarningOut(Out):
    """What somebody should look at, although the request was taken."""

    pointer: str
    code: str
    detail: str


class PharmacyOut(Out):
    """A pharmacy and its standing today, with all statements about it in the order in which they were made."""

    id: UUID
    name: str
    uscc: str
    licence_number: str
    division: str
    address: str
    location: Location | None
    chain: str | None
    enrolled_on: date
    sandbox: bool
    created_at: datetime
    standing: Standing | None = Field(description="Null before the day of enrolment")
    standings: list[StandingOut]
    warnings: list[WarningOut]


class PharmacyKeyIn(Model):
    """A till that needs a key."""

    name: Label = Field(examples=["till 7"])


class PharmacyKeyOut(Out):
    """A key. The token is shown this once and cannot be found out again."""

    id: UUID
    token: str


class ChainKeyIn(Model):
    """A chain that needs one key for several of its pharmacies."""

    name: Label = Field(examples=["gateway"])
    pharmacies: Annotated[list[UUID], Field(min_length=1, max_length=MAX_CHAIN)]


class KeyRotationIn(Model):
    """How a key is replaced."""

    overlap_days: int = Field(
        default=DEFAULT_OVERLAP_DAYS,
        ge=0,
        le=MOST_OVERLAP_DAYS,
        description="How long the old key goes on beside the new one; 0 ends it at once",
    )


class RotatedKeyOut(PharmacyKeyOut):
    """The new key, shown this once, and when the old one ends."""

    old_expires_at: datetime


class KeyOut(Out):
    """A key, without its token."""

    id: UUID
    name: str
    pharmacies: int = Field(description="For how many pharmacies it speaks; more than one is a chain's")
    created_at: datetime
    last_seen_at: datetime | None = Field(description="The hour in which it was last used")
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyListOut(Out):
    """All keys that speak for a pharmacy, the newest first."""

    items: list[KeyOut]


class RosterMember(Model):
    """Somebody who works at the pharmacy: a document, or a name with a phone."""

    name: ShortText | None = Field(default=None, examples=["王小明"])
    document: DocumentIn | None = None
    phone: ShortText | None = Field(default=None, examples=["13800138000"])


class RosterIn(Model):
    """Everybody who works at the pharmacy from today on."""

    members: Annotated[list[RosterMember], Field(max_length=MAX_ROSTER)]


class RosterOut(Out):
    """How many people are on the roster now, how many of them are new, and how many are on it for the last day today."""

    members: int
    begun: int
    ended: int
