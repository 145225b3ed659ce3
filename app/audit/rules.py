"""How an entry becomes a link of the chain, and how the chain is verified: link by link, on a patrol that never ends."""

import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

Mac = Callable[[int, bytes], bytes]
"""Takes a key id and a message, gives the keyed hash."""

GENESIS = bytes(32)
"""What stands before the first link."""


class Doer(Protocol):
    """Whoever acts: an account with its role, through one of its keys."""

    @property
    def account_id(self) -> UUID | None:
        """The account, or None for the service itself."""

    @property
    def name(self) -> str:
        """The account's name."""

    @property
    def role(self) -> str:
        """The role in which it acts."""

    @property
    def key_id(self) -> UUID | None:
        """The key that was presented."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link as stored, together with the content of its entry."""

    position: int
    key_id: int
    hash: bytes
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether links are whole; if not, the position of the first one that is broken or missing."""

    whole: bool
    links: int
    broken_at: int | None


@dataclass(frozen=True, slots=True)
class Patrol:
    """Where the verification of the whole chain stands: round after round, some links at a time.

    `position` and `hash` are the last link that was verified in this round. All links up to `verified_up_to` were found whole,
    the last of them at `verified_at`. The patrol stands still before a break, and goes on when it is mended.
    """

    position: int = 0
    hash: bytes = GENESIS
    verified_up_to: int = 0
    verified_at: datetime | None = None
    broken_at: int | None = None


@dataclass(frozen=True, slots=True)
class Integrity:
    """What is known of the trail: no break, or the position of the first one; and how far the patrol has verified it, when."""

    whole: bool
    links: int
    broken_at: int | None
    verified_up_to: int
    verified_at: datetime | None


def link_message(previous: bytes, position: int, content: dict[str, Any]) -> bytes:
    """Return what a link's keyed hash is taken of: the previous hash, the position and the entry in canonical JSON.

    Keyed, so that somebody who can write to the database, but has no key, cannot make a false chain.
    """
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return previous + position.to_bytes(8, "big") + canonical.encode()


def verify(mac: Mac, links: Iterable[Link], previous: bytes = GENESIS, start: int = 1) -> Verdict:
    """Check links in order from `start`, given the hash before it."""
    position = start - 1
    for link in links:
        position += 1
        if link.position != position or not hmac.compare_digest(
            link.hash, mac(link.key_id, link_message(previous, position, link.content))
        ):
            return Verdict(whole=False, links=position - 1, broken_at=position)
        previous = link.hash
    return Verdict(whole=True, links=position, broken_at=None)


def go_on(patrol: Patrol, mac: Mac, links: Sequence[Link], *, ended: bool, now: datetime) -> Patrol:
    """Verify the links behind the patrol's place, and say where it stands then; `ended` where the chain has no more.

    At the end it turns back to the beginning. A chain that ends before what was verified once has lost its last links.
    """
    found = verify(mac, links, patrol.hash, patrol.position + 1)
    broken_at = found.broken_at
    if broken_at is None and ended and found.links < patrol.verified_up_to:
        broken_at = found.links + 1
    if broken_at is not None:
        return replace(patrol, broken_at=broken_at)
    if ended:
        return Patrol(verified_up_to=found.links, verified_at=now)
    came_further = found.links > patrol.verified_up_to
    return Patrol(
        position=found.links,
        hash=links[-1].hash if links else patrol.hash,
        verified_up_to=found.links if came_further else patrol.verified_up_to,
        verified_at=now if came_further else patrol.verified_at,
    )


def patrol_message(patrol: Patrol) -> bytes:
    """Return what the keyed hash of the patrol's row is taken of."""
    told = [
        patrol.position,
        patrol.hash.hex(),
        patrol.verified_up_to,
        patrol.verified_at and patrol.verified_at.timestamp(),
        patrol.broken_at,
    ]
    return json.dumps(told).encode()
