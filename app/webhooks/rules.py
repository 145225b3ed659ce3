"""How deliveries are decided: when to try again, what an answer means, when a subscription is given up.

Periods are `timedelta`; nothing here reads a clock or throws a die: the jitter is an argument.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

RETRY_SCHEDULE: Final = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""What passes before each attempt (Standard Webhooks' example); ten attempts, a little over three days."""

MAX_ATTEMPTS: Final = len(RETRY_SCHEDULE)

JITTER: Final = 0.1
"""At most this share is added to a period, so that a subscriber that comes back is not met by all at once. It is less than
the smallest growth between two steps (20 h to 24 h), which keeps the periods in order whatever is drawn."""

MAX_RETRY_AFTER: Final = timedelta(hours=24)
"""A subscriber may ask to be left alone for so long; a longer wish is cut."""

GIVE_UP_AFTER: Final = timedelta(days=5)
"""A subscription none of whose deliveries has succeeded for so long is disabled."""

ROTATION_OVERLAP: Final = timedelta(hours=24)
"""The old secret keeps signing for so long after a rotation."""

_EXCERPT_BYTES: Final = 1024


class Detail(StrEnum):
    """How much a subscriber may see; each level holds what the one before it holds, and more."""

    THIN = "thin"
    PSEUDONYMOUS = "pseudonymous"
    IDENTIFIED = "identified"


class Scheme(StrEnum):
    """How a subscription's events are signed."""

    V1 = "v1"
    """HMAC-SHA256: both sides hold the secret."""
    V1A = "v1a"
    """Ed25519: the subscriber holds the public key only."""


class DisabledReason(StrEnum):
    """Why a subscription rests."""

    OWNER = "owner"
    """Somebody switched it off."""
    GONE = "gone"
    """The subscriber answered 410 Gone."""
    FAILING = "failing"
    """Nothing could be delivered for five days."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """An attempt is to come."""
    DELIVERED = "delivered"
    """The subscriber answered 2xx."""
    FAILED = "failed"
    """The schedule is exhausted, or the subscription was disabled; it can be resent."""
    CANCELLED = "cancelled"
    """The subscription was deleted before its turn."""


class Judgement(StrEnum):
    """What one attempt's outcome means for its delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"


class Failure(StrEnum):
    """Why an attempt failed, as kept in the attempt; stable codes."""

    STATUS = "status"
    """An answer other than 2xx."""
    REDIRECT = "redirect"
    """A redirect: it is not followed, because nobody has judged where it leads."""
    TIMEOUT = "timeout"
    """No answer in time."""
    NAME_NOT_RESOLVED = "name_not_resolved"
    """The host name has no address."""
    ADDRESS_FORBIDDEN = "address_forbidden"
    """The address lies in a network to which nothing is sent."""
    CONNECTION = "connection"
    """Refused, reset or closed before an answer."""
    TLS = "tls"
    """No trusted encryption: certificate or handshake."""
    ANSWER_MALFORMED = "answer_malformed"
    """What came back is not HTTP."""
    URL_REFUSED = "url_refused"
    """The URL does not meet the rules any more."""
    SUBSCRIPTION_DISABLED = "subscription_disabled"
    """Of a delivery: its turn came while the subscription was disabled; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: an answer's status, or a failure without one."""

    status: int | None
    failure: Failure | None
    duration_ms: int
    excerpt: str = ""
    retry_after: timedelta | None = None


def failure_of_status(status: int) -> Failure | None:
    """2xx is success; everything else that answers is a failure, redirects included."""
    if 200 <= status < 300:
        return None
    return Failure.REDIRECT if 300 <= status < 400 else Failure.STATUS


def judge(outcome: Outcome) -> Judgement:
    """2xx delivers; 410 Gone says "never again" and ends the subscription; all else is tried again.

    Other 4xx are retried too: subscribers answer 401 or 404 in the minutes of a faulty release, and the schedule ends anyway.
    """
    if outcome.failure is None:
        return Judgement.DELIVERED
    return Judgement.GONE if outcome.status == 410 else Judgement.RETRY


def next_attempt_in(attempts_made: int, *, jitter: float, asked: timedelta | None = None) -> timedelta | None:
    """How long to wait after so many failed attempts; None when the schedule is exhausted.

    `jitter` is drawn from [0, 1). `asked` is the subscriber's Retry-After: it can lengthen the wait up to
    `MAX_RETRY_AFTER`, never shorten it.
    """
    if attempts_made < 1 or not 0 <= jitter < 1:
        raise ValueError("attempts_made counts from 1, jitter lies in [0, 1)")
    if attempts_made >= MAX_ATTEMPTS:
        return None
    wait = RETRY_SCHEDULE[attempts_made] * (1 + JITTER * jitter)
    if asked is not None:
        wait = max(wait, min(asked, MAX_RETRY_AFTER))
    return wait


def parse_retry_after(value: str, *, now: datetime) -> timedelta | None:
    """Read a Retry-After header: seconds (fractions are rounded up) or an HTTP date; None for anything else.

    A date in the past is no wait. RFC 9110 allows whole seconds only; fractions are seen in the wild and are harmless.
    """
    text = value.strip()
    if len(text) > 64 or not text.isascii():
        return None
    whole, _, fraction = text.partition(".")
    if whole.isdigit() and (fraction.isdigit() or "." not in text):
        # Cut before arithmetic, so that no number of digits overflows a period.
        seconds = min(float(text), MAX_RETRY_AFTER.total_seconds() * 2)
        return timedelta(seconds=math.ceil(seconds))
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return max(instant - now, timedelta(0))


def gives_up(failing_since: datetime | None, *, now: datetime) -> bool:
    """Has this subscription failed, and nothing but failed, for too long?"""
    return failing_since is not None and now - failing_since >= GIVE_UP_AFTER


def excerpt(body: bytes) -> str:
    """The beginning of an answer, as it may be stored and shown: at most 1 KiB, printable, whatever was sent."""
    text = body[:_EXCERPT_BYTES].decode("utf-8", "replace")
    clean = "".join(character if character.isprintable() else " " for character in text).strip()
    # A replacement character takes three bytes: cut again, on a character's border.
    return clean.encode()[:_EXCERPT_BYTES].decode("utf-8", "ignore")
