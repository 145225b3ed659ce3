"""Taking a day's sales."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.catalogue.misses import misses_of
from app.catalogue.queries import CATALOGUE
from app.catalogue.rows import Sighting, note_sightings
from app.catalogue.rules import Resolution
from app.core.errors import Conflict, FieldError, InvalidRequest
from app.core.ids import new_id
from app.core.sealing import HashKind, Keyring
from app.core.snapshots import versions
from app.pharmacies.models import Pharmacy
from app.pharmacies.queries import PHARMACIES
from app.pharmacies.rules import PharmacyFacts
from app.registrations.rules import DOUBTS
from app.registrations.service import PharmacyClosed, PharmacyNotYours
from app.sales.models import SalesItem, SalesStatement
from app.sales.queries import lines_of, statements_of
from app.sales.rules import Fate, judge, judge_times
from app.sales.schemas import SalesIn

MOST_REVISIONS = 1_000

# Which pharmacy a chain's key names, and when the till drew it up, are parts of the name, not of the content.
_NOT_CONTENT = {"pharmacy_id", "stated_at"}


class SalesStatementConflict(Conflict):
    """The pharmacy has stated other sales of this day with the same `stated_at`. Nothing was changed; state them anew."""

    code, title = "sales_statement_conflict", "Another statement of this day bears this time"


class TooManyRevisions(Conflict):
    """This day has been stated a thousand times already. Nothing was changed; something sends in a loop."""

    code, title = "too_many_revisions", "The day has too many revisions"


@dataclass(frozen=True, slots=True)
class Reported:
    """A statement that is kept: newly, or since an earlier time (`duplicate`). `drugs` has the listed lines by number."""

    id: UUID
    pharmacy_id: UUID
    duplicate: bool
    revision: int
    in_force: bool
    received_at: datetime
    drugs: Mapping[int, tuple[UUID, str]]
    warnings: Sequence[FieldError]


async def report_sales(
    session: AsyncSession, stated: SalesIn, *, actor: Actor, now: datetime, keyring: Keyring
) -> Reported:
    """Keep what a pharmacy says it sold on a day, in every regime. The statement stated last holds as a whole.

    Raises:
        PharmacyNotYours: the key does not speak for that pharmacy, or a chain's key named none.
        PharmacyClosed: it was closed on that day.
        InvalidRequest: the day lies ahead or more than 30 days back, or the statement lies ahead.
        SalesStatementConflict: another statement of that day bears the same time.
        TooManyRevisions: the day has been stated a thousand times.
    """
    known = await versions(session)
    pharmacy = _speaker(actor, stated.pharmacy_id, await PHARMACIES.get(session, known))
    if errors := judge_times(stated.day, stated.stated_at, now):
        raise InvalidRequest(errors=errors)
    if pharmacy.is_closed_on(stated.day):
        raise PharmacyClosed
    # Statements of one pharmacy wait for each other; its registrations, which only point to the row, do not.
    await session.execute(select(Pharmacy.id).where(Pharmacy.id == pharmacy.id).with_for_update(key_share=True))
    earlier = await statements_of(session, pharmacy.id, stated.day)
    digest = keyring.hash(HashKind.CONTENT, stated.model_dump_json(exclude=_NOT_CONTENT))
    verdict = judge(digest, stated.stated_at, earlier, now)
    if verdict.fate is Fate.CONFLICT:
        raise SalesStatementConflict
    if verdict.fate is Fate.REPEAT and verdict.meets is not None:
        return await _repeat(session, verdict.meets.id)
    if len(earlier) >= MOST_REVISIONS:
        raise TooManyRevisions
    if verdict.fate is Fate.SUPERSEDES and verdict.meets is not None:
        replaced = update(SalesStatement).where(SalesStatement.id == verdict.meets.id)
        await session.execute(replaced.values(in_force=False))
    catalogue = await CATALOGUE.get(session, known)
    resolver = catalogue.resolver_for(pharmacy.division, stated.day)
    found = [
        resolver.resolve(
            gtin=item.gtin, approval_number=item.approval_number, trace_codes=item.trace_codes, name=item.name
        )
        for item in stated.items
    ]
    drugs = {
        line: (one.drug_id, catalogue.drug(one.drug_id).wording)
        for line, one in enumerate(found)
        if one.drug_id is not None
    }
    statement = SalesStatement(
        id=new_id(),
        pharmacy_id=pharmacy.id,
        day=stated.day,
        revision=max((one.revision for one in earlier), default=0) + 1,
        division=pharmacy.division,
        in_force=verdict.fate is Fate.SUPERSEDES,
        stated_at=stated.stated_at,
        received_at=now,
        lines=len(stated.items),
        warnings=[doubt.as_json() for doubt in _doubts(found)],
        content_digest=digest,
        sent_by=actor.key_id,
    )
    session.add(statement)
    await session.flush()
    await _keep_items(session, statement, stated, drugs)
    if not pharmacy.sandbox:
        await note_sightings(session, _sightings(pharmacy, stated, found))
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="sales.reported",
        subject=("sales_statement", statement.id),
        division=pharmacy.division,
        detail={
            "pharmacy_id": str(pharmacy.id),
            "day": stated.day.isoformat(),
            "revision": statement.revision,
            "in_force": statement.in_force,
            "lines": statement.lines,
            "listed": len(drugs),
        },
    )
    return _reported(statement, drugs, duplicate=False)


def _speaker(actor: Actor, wanted: UUID | None, directory: Mapping[UUID, PharmacyFacts]) -> PharmacyFacts:
    if wanted is None and len(actor.pharmacy_ids) == 1:
        wanted = next(iter(actor.pharmacy_ids))
    if wanted is None:
        raise PharmacyNotYours(errors=[FieldError("/pharmacy_id", "required", "A chain's key must name the pharmacy")])
    if wanted not in actor.pharmacy_ids or wanted not in directory:
        raise PharmacyNotYours(errors=[FieldError("/pharmacy_id", "pharmacy_not_yours", PharmacyNotYours.title)])
    return directory[wanted]


async def _repeat(session: AsyncSession, statement_id: UUID) -> Reported:
    statement = await session.get_one(SalesStatement, statement_id)
    return _reported(statement, await lines_of(session, statement_id), duplicate=True)


async def _keep_items(
    session: AsyncSession, statement: SalesStatement, stated: SalesIn, drugs: Mapping[int, tuple[UUID, str]]
) -> None:
    if drugs:
        rows = [
            {"statement_id": statement.id, "line": line, "drug_id": drug_id, "quantity": stated.items[line].quantity}
            for line, (drug_id, _) in drugs.items()
        ]
        await session.execute(insert(SalesItem), rows)


def _sightings(pharmacy: PharmacyFacts, stated: SalesIn, found: Sequence[Resolution]) -> Counter[Sighting]:
    return Counter(
        Sighting(pharmacy.id, pharmacy.division, stated.day, miss)
        for item, one in zip(stated.items, found, strict=True)
        for miss in misses_of(item, one, lambda _: False)  # counts concern nobody
    )


def _doubts(found: Sequence[Resolution]) -> list[FieldError]:
    return [
        FieldError(f"/items/{line}", warning, DOUBTS[warning])
        for line, one in enumerate(found)
        for warning in one.warnings
    ]


def _reported(statement: SalesStatement, drugs: Mapping[int, tuple[UUID, str]], *, duplicate: bool) -> Reported:
    return Reported(
        id=statement.id,
        pharmacy_id=statement.pharmacy_id,
        duplicate=duplicate,
        revision=statement.revision,
        in_force=statement.in_force,
        received_at=statement.received_at,
        drugs=drugs,
        warnings=[FieldError(**warning) for warning in statement.warnings],
    )
