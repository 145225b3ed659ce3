"""How an entry becomes a link of the chain."""

import hmac
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
class Integrity:
    """Whether the trail is whole; if not, the position of the first link that is broken or missing."""

    whole: bool
    links: int
    broken_at: int | None


def link_message(previous: bytes, position: int, content: dict[str, Any]) -> bytes:
    """Return what a link's keyed hash is taken of: the previous hash, the position and the entry in canonical JSON.

    Keyed, so that somebody who can write to the database, but has no key, cannot make a false chain.
    """
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return previous + position.to_bytes(8, "big") + canonical.encode()


def verify(mac: Mac, links: Iterable[Link], previous: bytes = GENESIS, start: int = 1) -> Integrity:
    """Check links in order from `start`, given the hash before it."""
    position = start - 1
    for link in links:
        position += 1
        if link.position != position or not hmac.compare_digest(
            link.hash, mac(link.key_id, link_message(previous, position, link.content))
        ):
            return Integrity(whole=False, links=position - 1, broken_at=position)
        previous = link.hash
    return Integrity(whole=True, links=position, broken_at=None)
