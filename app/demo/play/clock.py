"""The clock of the simulated days: the machine's time, moved by what a small file says.

The file holds one number, the offset in microseconds. The driver writes it (`Hand`), the demo's own processes read it
(`DemoClock`) through a memory map, so looking costs no system call and an hour begins for all of them at once.
"""

import mmap
from datetime import UTC, datetime, timedelta
from pathlib import Path

_BYTES = 8


class DemoClock:
    """Business time of the demo's processes. Time goes on between two settings, at the pace of the machine."""

    def __init__(self, path: Path) -> None:
        """Read the file that a `Hand` has made."""
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ)
        # One aligned machine word: a reader sees the old offset or the new one, never half of each.
        self._offset = memoryview(self._map).cast("q")

    def now(self) -> datetime:
        """Return the simulated instant, aware, in UTC."""
        return datetime.now(UTC) + timedelta(microseconds=self._offset[0])


class Hand:
    """Moves the clock."""

    def __init__(self, path: Path) -> None:
        """Make the file anew; the clock shows the machine's time."""
        path.unlink(missing_ok=True)
        with path.open("w+b") as file:
            file.write(bytes(_BYTES))
            file.flush()
            self._map = mmap.mmap(file.fileno(), _BYTES)
        self._offset = memoryview(self._map).cast("q")

    def set_to(self, instant: datetime) -> None:
        """Let it be `instant` now."""
        self._offset[0] = (instant - datetime.now(UTC)) // timedelta(microseconds=1)

    def release(self) -> None:
        """Show the machine's time again."""
        self._offset[0] = 0
