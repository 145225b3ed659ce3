"""Looking at cases."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.models import Case, CaseClassification
from app.cases.rules import Account, Classification
from app.cases.schemas import CaseFilter, CaseOut, ClassificationOut
from app.core.database import driver
from app.core.errors import NotFound
from app.people.rules import Identity

Name = tuple[str, str]
"""Authority and case number."""

_LISTS = 0x5E17_0011

# Locked against reclassification meanwhile, in the order of the names, in which matching locks them too.
_FIND = """
SELECT c.id, c.authority, c.case_number, c.disease, c.person_id, c.classification, c.onset_on, c.confirmed_at, c.division
FROM cases c
JOIN unnest($1::text[], $2::text[]) AS wanted (authority, case_number) USING (authority, case_number)
ORDER BY c.authority, c.case_number
FOR NO KEY UPDATE OF c
"""


# Another time of confirmation is an entry as well, and no other classification.
_SINCE = """
SELECT c.id, (
    SELECT coalesce(max(h.number), 0) + 1 FROM case_classifications h
    WHERE h.case_id = c.id AND h.classification <> c.classification
) AS since
FROM cases c WHERE c.id = ANY($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A case as it is stored, locked for the transaction."""

    id: UUID
    name: Name
    disease: str
    person_id: UUID
    classification: Classification
    onset_on: date | None
    confirmed_at: datetime | None
    division: str

    def account(self, identity: Identity) -> Account:
        """Return what is held of the case, with the identity of its person."""
        return Account(self.disease, self.classification, identity, self.onset_on, self.confirmed_at, self.division)


async def lock_lists(session: AsyncSession, authorities: Collection[str]) -> None:
    """Wait for other lists of these authorities to be committed; held until the transaction ends.

    An authority's lists are then taken one after the other: of two with the same new cases, the second finds them.
    """
    connection = await driver(session)
    # In one order, so that two lists that name several authorities never wait for each other in a ring.
    await connection.execute(
        "SELECT pg_advisory_xact_lock($1, key) FROM (SELECT DISTINCT hashtext(name) AS key"
        " FROM unnest($2::text[]) AS name ORDER BY 1) AS locks",
        _LISTS,
        list(authorities),
    )


async def find_by_name(session: AsyncSession, names: Collection[Name]) -> dict[Name, Held]:
    """Return the cases that (authority, case number) name, as far as they exist, and lock them."""
    if not names:
        return {}
    connection = await driver(session)
    rows = await connection.fetch(_FIND, [name[0] for name in names], [name[1] for name in names])
    return {
        (row["authority"], row["case_number"]): Held(
            row["id"],
            (row["authority"], row["case_number"]),
            row["disease"],
            row["person_id"],
            Classification(row["classification"]),
            row["onset_on"],
            row["confirmed_at"],
            row["division"],
        )
        for row in rows
    }


async def get_case(session: AsyncSession, case_id: UUID, *, scope: str | None, lock: bool = False) -> Case:
    """Return a case of the actor's division; with `lock`, verbs that change it wait for each other.

    Raises:
        NotFound: there is none, or it lies outside.
    """
    query = select(Case).where(Case.id == case_id)
    if scope:
        query = query.where(Case.division.startswith(scope))
    case = (await session.scalars(query.with_for_update(key_share=True) if lock else query)).one_or_none()
    if case is None:
        raise NotFound
    return case


async def count_cases(session: AsyncSession) -> int:
    """Return how many cases there are, discarded ones too."""
    return (await session.execute(select(func.count()).select_from(Case))).scalar_one()


async def case_ids_after(session: AsyncSession, after: UUID | None, limit: int) -> Sequence[UUID]:
    """Return the next ids, in order of receipt."""
    query = select(Case.id).order_by(Case.id).limit(limit)
    return (await session.scalars(query if after is None else query.where(Case.id > after))).all()


async def classified_since(session: AsyncSession, case_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return, for each of these cases, the number of the entry of its history since which it is classified as it is now."""
    connection = await driver(session)
    rows = await connection.fetch(_SINCE, list(case_ids))
    return {row["id"]: row["since"] for row in rows}


async def list_cases(
    session: AsyncSession, *, scope: str | None, filters: CaseFilter, limit: int, before: UUID | None
) -> Sequence[Case]:
    """Return cases, the last received first (ids are in order of receipt)."""
    query = select(Case).order_by(Case.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Case.id < before)
    for division in (scope, filters.division):
        if division:
            query = query.where(Case.division.startswith(division))
    if filters.disease is not None:
        query = query.where(Case.disease == filters.disease)
    if filters.classification is not None:
        query = query.where(Case.classification == filters.classification)
    if filters.onset_from is not None:
        query = query.where(Case.onset_on >= filters.onset_from)
    if filters.onset_to is not None:
        query = query.where(Case.onset_on < filters.onset_to)
    return (await session.scalars(query)).all()


async def show_cases(session: AsyncSession, cases: Sequence[Case]) -> list[CaseOut]:
    """Return cases with their histories, in the same order."""
    histories: defaultdict[UUID, list[ClassificationOut]] = defaultdict(list)
    rows = await session.scalars(
        select(CaseClassification)
        .where(CaseClassification.case_id.in_([case.id for case in cases]))
        .order_by(CaseClassification.case_id, CaseClassification.number)
    )
    for row in rows:
        histories[row.case_id].append(ClassificationOut.model_validate(row))
    columns = [name for name in CaseOut.model_fields if name != "history"]
    return [
        CaseOut.model_validate({**{name: getattr(case, name) for name in columns}, "history": histories[case.id]})
        for case in cases
    ]
