"""The trail as an auditor reads it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from app.core.schemas import Filter, Out, ShortText


class AuditFilter(Filter):
    """Which entries to show."""

    action: ShortText | None = Field(default=None, description="Such as `buyer.revealed`")
    subject_id: ShortText | None = Field(default=None, description="The thing that was acted upon")
    account_id: UUID | None = Field(default=None, description="Who acted")


class AuditEntryOut(Out):
    """One act."""

    id: int
    at: datetime
    account_id: UUID | None
    account_name: str
    role: str
    key_id: UUID | None
    action: str
    subject_type: str
    subject_id: str | None
    division: str | None
    purpose: str | None
    detail: dict[str, Any]


class IntegrityOut(Out):
    """Whether the trail is whole: each entry as it was written, none taken out.

    A patrol verifies the chain from one end to the other, over and over; each page verifies what it shows besides. All links
    up to `verified_up_to` were found whole, the last of them at `verified_at`. `broken_at` is the first link that is broken
    or missing, as far as anybody has looked.
    """

    whole: bool
    links: int
    broken_at: int | None
    verified_up_to: int
    verified_at: datetime | None


class AuditPage(Out):
    """One page of the trail, newest first, and what is known of whether all of it is whole."""

    items: list[AuditEntryOut]
    next_cursor: str | None
    integrity: IntegrityOut
