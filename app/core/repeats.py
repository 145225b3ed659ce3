"""Batches that come again and again, byte for byte, are answered from memory.

A sender's fault can repeat the same file hundreds of thousands of times a day. The second time a batch is read in full, and
finds that every row is a duplicate; from then on, for a few minutes, telling that it is the same bytes is enough. Equal batches
that come at the same moment wait for the first of them. Nothing is remembered of batches that bring something new.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from app.core.turns import Turns

REMEMBERED_FOR_SECONDS = 300.0
MOST_BYTES = 16 * 1024 * 1024
_IN_A_THREAD_FROM = 64 * 1024

Name = tuple[UUID | None, bytes]
"""Whose batch, and the digest of its bytes."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """What a batch was answered that held nothing but duplicates."""

    answer: bytes
    rows: int
    until: float


class Repeats:
    """Answers by key and content, the oldest forgotten first. Hold the turn of a name while its batch is worked on."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.turns = Turns()
        self._most_bytes = most_bytes
        self._bytes = 0
        self._known: OrderedDict[Name, Repeat] = OrderedDict()

    def find(self, name: Name) -> Repeat | None:
        """Return the answer to this batch, if all of it was there lately."""
        found = self._known.get(name)
        if found is not None and found.until <= time.monotonic():
            self._forget(name)
            return None
        return found

    def remember(self, name: Name, answer: bytes, rows: int) -> None:
        """Keep the answer to a batch of duplicates for a while."""
        if len(answer) > self._most_bytes:
            return
        if name in self._known:
            self._forget(name)
        self._known[name] = Repeat(answer, rows, time.monotonic() + REMEMBERED_FOR_SECONDS)
        self._bytes += len(answer)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._known)))

    def _forget(self, name: Name) -> None:
        self._bytes -= len(self._known.pop(name).answer)


async def name_of(key: UUID | None, kind: str, body: bytes) -> Name:
    """Return the name of a batch: the key that sent it, and a digest of its media type and bytes."""

    def digest() -> bytes:
        return hashlib.sha256(kind.encode() + b"\0" + body).digest()

    # Hashing lets go of the interpreter, so that the loop goes on with others' purchases meanwhile.
    return key, await asyncio.to_thread(digest) if len(body) >= _IN_A_THREAD_FROM else digest()
