"""Writing cases, set-based: one statement for a list of any length."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.rules import Account
from app.core.database import driver

_INSERT = """
INSERT INTO cases (
    id, authority, case_number, disease, person_id, classification, onset_on, confirmed_at, division,
    received_at, updated_at
)
SELECT row.*, $10, $10
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::date[], $8::timestamptz[], $9::text[]
) AS row
"""

_UPDATE = """
UPDATE cases SET
    person_id = row.person_id, classification = row.classification, onset_on = row.onset_on,
    confirmed_at = row.confirmed_at, updated_at = $6
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::date[], $5::timestamptz[])
    AS row (id, person_id, classification, onset_on, confirmed_at)
WHERE cases.id = row.id
"""

_APPEND_CLASSIFICATIONS = """
INSERT INTO case_classifications (case_id, number, classification, confirmed_at, recorded_by, at)
SELECT row.case_id,
       coalesce((SELECT max(number) FROM case_classifications earlier WHERE earlier.case_id = row.case_id), 0)
       + row_number() OVER (PARTITION BY row.case_id ORDER BY row.position),
       row.classification, row.confirmed_at, $4, $5
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) WITH ORDINALITY
    AS row (case_id, classification, confirmed_at, position)
"""


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case as it is to stand in the table."""

    id: UUID
    name: tuple[str, str]
    person_id: UUID
    account: Account


async def insert_cases(session: AsyncSession, cases: Sequence[CaseRow], now: datetime) -> None:
    """Insert cases whose names, which the transaction has locked, nobody has taken."""
    if not cases:
        return
    connection = await driver(session)
    await connection.execute(
        _INSERT,
        [case.id for case in cases],
        [case.name[0] for case in cases],
        [case.name[1] for case in cases],
        [case.account.disease for case in cases],
        [case.person_id for case in cases],
        [case.account.classification.value for case in cases],
        [case.account.onset_on for case in cases],
        [case.account.confirmed_at for case in cases],
        [case.account.division for case in cases],
        now,
    )


async def update_cases(session: AsyncSession, cases: Sequence[CaseRow], now: datetime) -> None:
    """Give cases, which the transaction has locked, their new content."""
    if not cases:
        return
    connection = await driver(session)
    await connection.execute(
        _UPDATE,
        [case.id for case in cases],
        [case.person_id for case in cases],
        [case.account.classification.value for case in cases],
        [case.account.onset_on for case in cases],
        [case.account.confirmed_at for case in cases],
        now,
    )


async def append_classifications(
    session: AsyncSession, cases: Sequence[tuple[UUID, Account]], recorded_by: str, now: datetime
) -> None:
    """Append to the histories of cases what a list told, in the list's order."""
    if not cases:
        return
    connection = await driver(session)
    await connection.execute(
        _APPEND_CLASSIFICATIONS,
        [case_id for case_id, _ in cases],
        [account.classification.value for _, account in cases],
        [account.confirmed_at for _, account in cases],
        recorded_by,
        now,
    )
