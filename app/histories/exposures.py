"""Where somebody was, and who else was registered there at the time. One query, whoever that somebody is.

For each purchase the others are read from the index over pharmacy and time of purchase, as many as a page shows: what it costs
depends on what happened at that counter in that hour, and not on the size of the city.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.histories.schemas import ContactOut, CoPresentOut, ExposureOut, SiteOut
from app.matching.rules import COUNTING, MatchRole
from app.people.queries import Buyer, buyers_of

_OF_CASE = """
SELECT r.id, r.pharmacy_id, r.purchased_at, array_agg(DISTINCT m.role ORDER BY m.role) AS roles,
       array_agg(DISTINCT CASE m.role WHEN 'buyer' THEN r.buyer_id ELSE r.patient_id END) AS people
FROM matches m JOIN registrations r ON r.id = m.registration_id
WHERE m.case_id = $1 AND m.status = ANY($2::text[])
  AND r.voided_at IS NULL AND NOT r.sandbox AND starts_with(r.division, $3)
GROUP BY r.id ORDER BY r.purchased_at, r.id
"""

_OF_BUYER = """
SELECT r.id, r.pharmacy_id, r.purchased_at, array_agg(DISTINCT side.role ORDER BY side.role) AS roles
FROM (
    SELECT id, 'buyer' AS role FROM registrations WHERE buyer_id = ANY($1::uuid[])
    UNION ALL
    SELECT id, 'patient' FROM registrations WHERE patient_id = ANY($1::uuid[])
) AS side JOIN registrations r ON r.id = side.id
WHERE r.voided_at IS NULL AND NOT r.sandbox AND starts_with(r.division, $2)
GROUP BY r.id ORDER BY r.purchased_at, r.id
"""

# The limit inside keeps the planner from joining the whole table: it reads, for each purchase, one stretch of the index.
_OTHERS = """
SELECT e.id AS exposure_id, near.*, p.name
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS e (id, pharmacy_id, purchased_at, position)
CROSS JOIN LATERAL (
    SELECT r.id, r.pharmacy_id, r.purchased_at, r.received_at, r.division, r.buyer_id, r.patient_id, r.flags
    FROM registrations r
    WHERE r.pharmacy_id = e.pharmacy_id
      AND r.purchased_at BETWEEN e.purchased_at - $4::interval AND e.purchased_at + $4::interval
      AND r.voided_at IS NULL AND NOT r.sandbox AND starts_with(r.division, $5)
      AND NOT (r.buyer_id = ANY($6::uuid[]) AND (r.patient_id IS NULL OR r.patient_id = ANY($6::uuid[])))
      AND (e.position > 1 OR $7::timestamptz IS NULL OR (r.purchased_at, r.id) > ($7::timestamptz, $8::uuid))
    ORDER BY r.purchased_at, r.id LIMIT $9
) AS near
JOIN pharmacies p ON p.id = near.pharmacy_id
ORDER BY e.position, near.purchased_at, near.id LIMIT $9
"""

_IN_SIGHT = """
SELECT person_id FROM cases WHERE id = $1 AND (
    starts_with(division, $2)
    OR EXISTS (SELECT FROM matches m WHERE m.case_id = cases.id AND starts_with(m.division, $2))
)
"""

Place = tuple[datetime, UUID, datetime, UUID]
"""Where in a list of contacts: time and registration of the exposure, then those of the contact."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """A purchase by, or for, the person whose contacts are traced."""

    id: UUID
    pharmacy_id: UUID
    purchased_at: datetime
    roles: Sequence[MatchRole]


@dataclass(frozen=True, slots=True)
class Trace:
    """All purchases of a person in somebody's division, and the presentations that are this person's own."""

    exposures: Sequence[Exposure]
    own: Collection[UUID]


async def find_listed_person(session: AsyncSession, case_id: UUID, *, scope: str | None) -> UUID | None:
    """Return the person of a case that is listed in a division or has a match there."""
    connection = await driver(session)
    person_id: UUID | None = await connection.fetchval(_IN_SIGHT, case_id, scope or "")
    return person_id


async def trace_case(session: AsyncSession, case_id: UUID, person_id: UUID, *, scope: str | None) -> Trace:
    """Return the purchases that are matched with a case. Its own are all presentations of whoever was matched as well."""
    connection = await driver(session)
    rows = await connection.fetch(_OF_CASE, case_id, [status.value for status in COUNTING], scope or "")
    people = {person_id, *(one for row in rows for one in row["people"])}
    buyers = await buyers_of(session, people)
    return Trace(_exposures(rows), {one for buyer in buyers.values() for one in buyer.presentations})


async def trace_buyer(session: AsyncSession, buyer: Buyer, *, scope: str | None) -> Trace:
    """Return the purchases of a buyer, as buyer and as patient."""
    connection = await driver(session)
    rows = await connection.fetch(_OF_BUYER, list(buyer.presentations), scope or "")
    return Trace(_exposures(rows), buyer.presentations)


def _exposures(rows: Sequence[Any]) -> list[Exposure]:
    return [
        Exposure(row["id"], row["pharmacy_id"], row["purchased_at"], [MatchRole(role) for role in row["roles"]])
        for row in rows
    ]


async def find_contacts(
    session: AsyncSession, trace: Trace, within: timedelta, *, scope: str | None, limit: int, after: Place | None
) -> list[ContactOut]:
    """Return who else was registered at the same pharmacies within a time before and after, purchase by purchase."""
    exposures = [one for one in trace.exposures if after is None or (one.purchased_at, one.id) >= after[:2]]
    if not exposures:
        return []
    goes_on = after is not None and (exposures[0].purchased_at, exposures[0].id) == after[:2]
    begins_at = after[2:] if after is not None and goes_on else (None, None)
    connection = await driver(session)
    # A plan made while the tables were small would be kept for the life of the connection.
    await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    rows = await connection.fetch(
        _OTHERS,
        [one.id for one in exposures],
        [one.pharmacy_id for one in exposures],
        [one.purchased_at for one in exposures],
        within,
        scope or "",
        list(trace.own),
        *begins_at,
        limit,
    )
    others = {one for row in rows for one in (row["buyer_id"], row["patient_id"]) if one not in (None, *trace.own)}
    buyers = await buyers_of(session, others) if others else {}
    by_id = {one.id: one for one in exposures}
    return [_contact(row, by_id[row["exposure_id"]], buyers) for row in rows]


def _contact(row: Any, exposure: Exposure, buyers: dict[UUID, Buyer]) -> ContactOut:
    roles: dict[UUID, list[MatchRole]] = {}
    for role, presented in ((MatchRole.BUYER, row["buyer_id"]), (MatchRole.PATIENT, row["patient_id"])):
        if presented in buyers:
            roles.setdefault(buyers[presented].id, []).append(role)
    return ContactOut(
        registration_id=row["id"],
        purchased_at=row["purchased_at"],
        received_at=row["received_at"],
        seconds_after=round((row["purchased_at"] - exposure.purchased_at).total_seconds()),
        pharmacy=SiteOut(id=row["pharmacy_id"], name=row["name"], division=row["division"]),
        people=[CoPresentOut(buyer_id=buyer_id, roles=those) for buyer_id, those in roles.items()],
        flags=row["flags"],
        exposure=ExposureOut(
            registration_id=exposure.id, purchased_at=exposure.purchased_at, roles=list(exposure.roles)
        ),
    )
