"""Batches that come again and again, byte for byte, are answered from memory.

A sender's fault can repeat the same file hundreds of thousands of times a day. The second time a batch is read in full, and
finds that every row is a duplicate; from then on, for a minute at a time, telling that it is the same bytes is enough. Costs
nothing for batches that bring something new: nothing is remembered of them.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

REMEMBERED_FOR_SECONDS = 60.0
MOST_BYTES = 16 * 1024 * 1024
_IN_A_THREAD_FROM = 64 * 1024


@dataclass(frozen=True, slots=True)
class Repeat:
    """What a batch was answered that held nothing but duplicates."""

    answer: bytes
    rows: int
    until: float


class Repeats:
    """Answers by key and content, the oldest forgotten first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._known: OrderedDict[tuple[UUID, bytes], Repeat] = OrderedDict()
        self._of_key: dict[UUID, int] = {}

    async def find(self, key: UUID | None, kind: str, body: bytes) -> Repeat | None:
        """Return the answer to this body, if the key has sent it lately and all of it was there."""
        if key is None or key not in self._of_key:
            return None
        name = (key, await _digest(kind, body))
        found = self._known.get(name)
        if found is not None and found.until <= time.monotonic():
            self._forget(name)
            return None
        return found

    async def remember(self, key: UUID | None, kind: str, body: bytes, answer: bytes, rows: int) -> None:
        """Keep the answer to a body of duplicates for a minute."""
        if key is None or len(answer) > self._most_bytes:
            return
        name = (key, await _digest(kind, body))
        if name in self._known:
            self._forget(name)
        self._known[name] = Repeat(answer, rows, time.monotonic() + REMEMBERED_FOR_SECONDS)
        self._of_key[key] = self._of_key.get(key, 0) + 1
        self._bytes += len(answer)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._known)))

    def _forget(self, name: tuple[UUID, bytes]) -> None:
        self._bytes -= len(self._known.pop(name).answer)
        self._of_key[name[0]] -= 1
        if not self._of_key[name[0]]:
            del self._of_key[name[0]]


async def _digest(kind: str, body: bytes) -> bytes:
    def digest() -> bytes:
        return hashlib.sha256(kind.encode() + b"\0" + body).digest()

    # Hashing lets go of the interpreter, so that the loop goes on with others' purchases meanwhile.
    return await asyncio.to_thread(digest) if len(body) >= _IN_A_THREAD_FROM else digest()
