"""One after the other, for each name: whoever comes with a name that is busy waits until it is free."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """A lock for each name, as long as somebody holds it or waits for it; nothing is kept of names that nobody uses."""

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        """Return how many names are in use."""
        return len(self._held)

    @asynccontextmanager
    async def take(self, name: Hashable) -> AsyncIterator[None]:
        """Wait for the name's turn, and hold it for the block; in the order of coming."""
        lock, users = self._held.get(name) or (asyncio.Lock(), 0)
        self._held[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            users = self._held[name][1] - 1
            if users:
                self._held[name] = lock, users
            else:
                del self._held[name]
