"""What is done later: a sandbox forgets what was sent to it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.handlers import Job, Registry
from app.core.jobs import declare
from app.core.schedule import DAY_SECONDS

SANDBOX_KEPT_FOR = timedelta(days=30)
"""How long registrations of a sandbox are kept."""
TRIALS = declare("registrations.trials_due")
"""Registrations of sandboxes may have grown old; comes round once a day."""
_AT_NIGHT = 20 * 3_600  # 20:00 UTC is 04:00 in China
_ROWS_AT_ONCE = 1_000

# The chain of receipts stays whole; with the salt goes the last way to try what a link committed to.
_DELETE = """
WITH old AS (
    SELECT id, buyer_id, patient_id FROM registrations WHERE sandbox AND received_at < $1 LIMIT $2 FOR UPDATE
), items AS (
    DELETE FROM registration_items WHERE registration_id IN (SELECT id FROM old)
), revisions AS (
    DELETE FROM registration_revisions WHERE registration_id IN (SELECT id FROM old) RETURNING buyer_id, patient_id
), salts AS (
    UPDATE receipt_links SET salt_seed = NULL WHERE registration_id IN (SELECT id FROM old)
), gone AS (
    DELETE FROM registrations WHERE id IN (SELECT id FROM old)
)
SELECT buyer_id AS person_id FROM old UNION SELECT patient_id FROM old
UNION SELECT buyer_id FROM revisions UNION SELECT patient_id FROM revisions
"""

_DELETE_PEOPLE = """
DELETE FROM people p WHERE p.id = ANY($1::uuid[])
AND NOT EXISTS (SELECT FROM registrations r WHERE r.buyer_id = p.id)
AND NOT EXISTS (SELECT FROM registrations r WHERE r.patient_id = p.id)
AND NOT EXISTS (SELECT FROM registration_revisions r WHERE r.buyer_id = p.id)
AND NOT EXISTS (SELECT FROM registration_revisions r WHERE r.patient_id = p.id)
"""


def register(registry: Registry) -> None:
    """Let a worker clear the sandboxes."""
    registry.transactional(TRIALS, forget_trials)
    registry.every(DAY_SECONDS, "forget-trials", TRIALS, offset_seconds=_AT_NIGHT)


async def forget_trials(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
    """Delete what sandboxes received more than thirty days ago, and the invented people who appear nowhere else."""
    connection = await driver(session)
    while True:
        rows = await connection.fetch(_DELETE, now - SANDBOX_KEPT_FOR, _ROWS_AT_ONCE)
        if not rows:
            return
        await connection.execute(_DELETE_PEOPLE, [row["person_id"] for row in rows if row["person_id"] is not None])
