"""What is asked about a buyer, and what is told."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from app.core.schemas import Model, Out, Reason, ShortText
from app.matching.passes import Strength
from app.matching.rules import MatchRole, MatchStatus
from app.people.documents import DocumentType
from app.people.schemas import DocumentIn, RevealedOut
from app.registrations.schemas import Flag


class PurposeIn(Model):
    """Why somebody looks. Kept in the audit trail, in plain text."""

    purpose: Reason = Field(
        description="Kept in the audit trail; must not name the person whom it is about",
        examples=["contact tracing of case 2026-0217-001"],
    )


class BuyerSearchIn(PurposeIn):
    """Whom to look for. What is given must all hold for a buyer; at least one of the three must be given."""

    document: DocumentIn | None = None
    phone: ShortText | None = Field(default=None, examples=["13800138000"])
    name: ShortText | None = Field(default=None, examples=["王小明"])


class SearchField(StrEnum):
    """By what a buyer was found."""

    DOCUMENT = "document"
    PHONE = "phone"
    NAME = "name"


class BuyerOut(Out):
    """A buyer without identity. Counts and times are of what lies in your division; voided registrations do not count."""

    id: UUID
    presentations: int
    document_type: DocumentType | None
    registrations: int
    first_purchase_at: datetime | None
    last_purchase_at: datetime | None
    matched_fields: list[SearchField]


class BuyersOut(Out):
    """Buyers found, the most recent purchase first; `truncated` says that there are more."""

    items: list[BuyerOut]
    truncated: bool


class SiteOut(Out):
    """Where a purchase was made; `division` is the pharmacy's at the time of receipt."""

    id: UUID
    name: str
    division: str


class BoughtOut(Out):
    """A listed drug that was bought."""

    line: int
    drug_id: UUID
    drug: str
    quantity: int


class MatchedOut(Out):
    """A case that the person is held to be, in this purchase."""

    id: UUID
    case_id: UUID
    role: MatchRole
    strength: Strength
    status: MatchStatus


class PurchaseOut(Out):
    """One purchase by or for the person; `roles` says as whom. Matches of the other person in it are left out.

    One with `voided_at` is shown and counts for nothing: the pharmacy has said that it does not hold.
    """

    registration_id: UUID
    purchased_at: datetime
    received_at: datetime
    roles: list[MatchRole]
    pharmacy: SiteOut
    items: list[BoughtOut]
    flags: list[Flag]
    voided_at: datetime | None
    matches: list[MatchedOut]


class HistoryPage(Out):
    """One page of a person's purchases in time order. `id` is the buyer's, whichever presentation was asked for."""

    id: UUID
    items: list[PurchaseOut]
    next_cursor: str | None


class ExposureOut(Out):
    """The purchase by or for the person whose contacts are traced; `roles` says as whom that person stands in it."""

    registration_id: UUID
    purchased_at: datetime
    roles: list[MatchRole]


class CoPresentOut(Out):
    """Somebody else, without identity; `buyer_id` leads to a history and, for a purpose, to a reveal."""

    buyer_id: UUID
    roles: list[MatchRole]


class ContactOut(Out):
    """A registration of somebody else near one of the person's purchases, at the same pharmacy.

    `seconds_after` is negative where it came first. A patient need not have been at the counter. Whoever stands beside the
    person in the person's own registration is shown with it, at no distance.
    """

    registration_id: UUID
    purchased_at: datetime
    received_at: datetime
    seconds_after: int
    pharmacy: SiteOut
    people: list[CoPresentOut]
    flags: list[Flag]
    exposure: ExposureOut


class ContactsPage(Out):
    """One page of contacts: in the order of the person's purchases, and within each in time order.

    `id` is the case's, or the buyer's whichever presentation was asked for.
    """

    id: UUID
    minutes: int
    items: list[ContactOut]
    next_cursor: str | None


class PresentationOut(RevealedOut):
    """What was presented, and when for the first time."""

    id: UUID
    presented_at: datetime


class RevealOut(Out):
    """A person's presentations in plain text, the newest first; `truncated` says that there are older ones."""

    id: UUID
    presentations: list[PresentationOut]
    truncated: bool
