"""The schedule: jobs that come round, each tick created once however many workers run.

A tick is a multiple of its period on the database's clock. Its row is unique, and the worker whose insert wins enqueues
the job in the same transaction. Only the present tick is ever created: after a night without workers one job follows,
not a night's worth; and while a tick's job still waits, no other is put behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, driver
from app.core.jobs import Kind, enqueue

KEPT_TICKS = 100
DAY_SECONDS = 86_400


class ScheduleTick(Base):
    """A tick that some worker has created."""

    __tablename__ = "schedule_ticks"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    tick_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), primary_key=True)


@dataclass(frozen=True, slots=True)
class Every:
    """Enqueue a job of `kind` every `seconds`, counted from the Unix epoch plus `offset_seconds`.

    The payload is `{"schedule": name, "tick_at": instant}`. A daily job at 02:00 in China has a period of
    `DAY_SECONDS` and an offset of 18 hours (02:00 at UTC+8 is 18:00 UTC of the day before).

    Raises:
        ValueError: the period is shorter than a second, or the kind has lanes.
    """

    name: str
    kind: Kind
    seconds: int
    offset_seconds: int = 0

    def __post_init__(self) -> None:
        if self.seconds < 1 or self.kind.laned:
            raise ValueError(f"schedule {self.name}: the period is at least one second, and the kind has no lanes")


_TICK = """
WITH entries AS (
    SELECT entry.name, entry.kind,
           to_timestamp(entry.shift + entry.period
               * floor((extract(epoch FROM clock_timestamp()) - entry.shift) / entry.period)) AS tick_at
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS entry (name, kind, period, shift)
)
INSERT INTO schedule_ticks (name, tick_at)
SELECT name, tick_at FROM entries
WHERE NOT EXISTS (
    SELECT FROM jobs WHERE jobs.kind = entries.kind AND state = 'ready' AND lane IS NULL
    AND payload ->> 'schedule' = entries.name
)
ORDER BY name
ON CONFLICT DO NOTHING
RETURNING name, tick_at
"""

_FORGET = """
DELETE FROM schedule_ticks USING unnest($1::text[], $2::bigint[]) AS entry (name, period)
WHERE schedule_ticks.name = entry.name
AND tick_at < clock_timestamp() - make_interval(secs => (entry.period * $3)::float8)
"""


async def tick(session: AsyncSession, schedule: Sequence[Every]) -> list[str]:
    """Create the present ticks that do not exist yet, with their jobs, and return the names of those created."""
    if not schedule:
        return []
    kinds = {entry.name: entry.kind for entry in schedule}
    connection = await driver(session)
    created = await connection.fetch(
        _TICK,
        [entry.name for entry in schedule],
        [entry.kind.name for entry in schedule],
        [entry.seconds for entry in schedule],
        [entry.offset_seconds % entry.seconds for entry in schedule],
    )
    for name, tick_at in created:
        await enqueue(session, kinds[name], [{"schedule": name, "tick_at": tick_at.isoformat()}])
    if created:
        names = {name for name, _ in created}
        due = [entry for entry in schedule if entry.name in names]
        await connection.execute(_FORGET, [entry.name for entry in due], [entry.seconds for entry in due], KEPT_TICKS)
    return [name for name, _ in created]
