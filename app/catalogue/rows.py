"""Misses on their way from tills to the list of what did not resolve.

A till's transaction appends one row, whatever the number of its lines: arrays, no look-up, no index but the key, no row
that another till could hold. A job folds these rows into `unresolved_products`, which the list is read from.
"""

from collections import Counter
from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.catalogue.misses import Miss
from app.core.database import driver

MOST_PER_PHARMACY = 1_000
"""What one pharmacy may have on the list; beyond that what it has not sent for longest goes."""
KEPT_DAYS = 90
"""After so many days in which nobody sent it an entry goes."""
KEPT_DAYS_ALONE = 30
"""The same for a name that only one pharmacy ever sent."""
_ROWS_PER_FOLD = 2_000


class Sighting(NamedTuple):
    """A miss, by whom, where and on which day of purchase."""

    pharmacy_id: UUID
    division: str
    seen_on: date
    miss: Miss


_NOTE = """
INSERT INTO unresolved_sightings (kinds, codes, pharmacies, divisions, days, drugs, resemble, times)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

_FOLD = """
WITH taken AS (
    DELETE FROM unresolved_sightings
    WHERE id IN (SELECT id FROM unresolved_sightings ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING id, kinds, codes, pharmacies, divisions, days, drugs, resemble, times
), seen AS (
    SELECT taken.id, one.*
    FROM taken, unnest(kinds, codes, pharmacies, divisions, days, drugs, resemble, taken.times)
        AS one (kind, value, pharmacy_id, division, seen_on, drug_id, resembles, times)
), folded AS (
    INSERT INTO unresolved_products AS known (
        kind, value, pharmacy_id, division, drug_id, resembles, times, first_seen_on, last_seen_on
    )
    SELECT kind, value, pharmacy_id, (array_agg(division ORDER BY id DESC))[1],
           (array_agg(drug_id ORDER BY id DESC) FILTER (WHERE drug_id IS NOT NULL))[1],
           bool_or(resembles), sum(times), min(seen_on), max(seen_on)
    FROM seen
    GROUP BY kind, value, pharmacy_id
    ORDER BY kind, value, pharmacy_id
    ON CONFLICT (kind, value, pharmacy_id) DO UPDATE SET
        division = excluded.division,
        drug_id = coalesce(excluded.drug_id, known.drug_id),
        resembles = excluded.resembles,
        times = known.times + excluded.times,
        first_seen_on = least(known.first_seen_on, excluded.first_seen_on),
        last_seen_on = greatest(known.last_seen_on, excluded.last_seen_on)
)
SELECT (SELECT count(*) FROM taken) AS taken, (SELECT array_agg(DISTINCT pharmacy_id) FROM seen) AS pharmacies
"""

_TRIM = """
DELETE FROM unresolved_products AS known
USING (
    SELECT kind, value, pharmacy_id,
           row_number() OVER (PARTITION BY pharmacy_id ORDER BY last_seen_on DESC, times DESC, kind, value) AS place
    FROM unresolved_products
    WHERE pharmacy_id = ANY($1::uuid[])
) AS ranked
WHERE ranked.place > $2
AND (known.kind, known.value, known.pharmacy_id) = (ranked.kind, ranked.value, ranked.pharmacy_id)
"""

_FORGET = """
DELETE FROM unresolved_products AS known
WHERE last_seen_on < $1
OR (kind = 'name' AND last_seen_on < $2 AND NOT EXISTS (
    SELECT FROM unresolved_products AS other
    WHERE other.kind = 'name' AND other.value = known.value AND other.pharmacy_id <> known.pharmacy_id
))
"""


async def note_sightings(session: AsyncSession, sightings: Counter[Sighting]) -> None:
    """Append what tills sent and nobody knew; one statement, none if there is nothing."""
    if not sightings:
        return
    seen = list(sightings)
    await (await driver(session)).execute(
        _NOTE,
        [one.miss.kind.value for one in seen],
        [one.miss.value for one in seen],
        [one.pharmacy_id for one in seen],
        [one.division for one in seen],
        [one.seen_on for one in seen],
        [one.miss.drug_id for one in seen],
        [one.miss.resembles for one in seen],
        list(sightings.values()),
    )


async def fold_sightings(session: AsyncSession) -> bool:
    """Add waiting sightings to the list; return whether more may wait."""
    connection = await driver(session)
    taken = await connection.fetchrow(_FOLD, _ROWS_PER_FOLD)
    if taken["pharmacies"]:
        await connection.execute(_TRIM, taken["pharmacies"], MOST_PER_PHARMACY)
    return bool(taken["taken"] == _ROWS_PER_FOLD)


async def forget_products(session: AsyncSession, today: date) -> None:
    """Drop what nobody has sent for a while, sooner what only one pharmacy ever did."""
    await (await driver(session)).execute(
        _FORGET, today - timedelta(days=KEPT_DAYS), today - timedelta(days=KEPT_DAYS_ALONE)
    )
