"""Recording case lists, and changing one's mind about a case."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.cases import rows as stored
from app.cases.models import Case, CaseClassification
from app.cases.queries import Held, Name, find_by_name, get_case
from app.cases.rules import Account, Classification, Verdict, check_times, compare
from app.cases.schemas import CaseIn, ClassificationIn
from app.core import jobs
from app.core.clock import china_day
from app.core.errors import AppError, Conflict, FieldError, InvalidRequest
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.divisions.queries import DIVISIONS
from app.divisions.rules import Gazetteer
from app.people.queries import open_people
from app.people.rules import Identity, Presentation, prepare
from app.people.schemas import AddressIn, DocumentIn, PersonIn
from app.people.service import ensure_people

CHANGED = jobs.declare("cases.changed")
"""Follows new and changed cases; payload `{"case_ids": […]}`, at most 500 of them."""
_IDS_PER_JOB = 500


class CaseConflict(Conflict):
    """The authority has told something else of this case before. Nothing was changed."""

    code, title = "case_conflict", "This case number names a case with other content"


class CaseWouldDowngrade(Conflict):
    """A list cannot lower, discard or revive a classification; that needs `POST …/classification` with a reason."""

    code, title = "case_would_downgrade", "A list cannot lower a classification"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a row that is stored."""

    id: UUID
    status: Literal["created", "updated", "duplicate"]


Outcome = Recorded | AppError


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A readable row: the case's name, what is said of it, and the person as presented."""

    name: Name
    account: Account
    presented: Presentation


async def record_cases(
    session: AsyncSession, rows: Sequence[CaseIn], *, actor: Actor, now: datetime, keyring: Keyring
) -> list[Outcome]:
    """Record rows of a case list; return what became of each, in order.

    An outcome that is an error (`CaseConflict`, `CaseWouldDowngrade`, `InvalidRequest`) concerns that row alone. The same case
    twice in one list is taken in the list's order. A dozen statements, whatever the number of rows.
    """
    gazetteer = await DIVISIONS.get(session)
    told = [_read(row, gazetteer, actor, now) for row in rows]
    outcomes: dict[int, Outcome] = {index: row for index, row in enumerate(told) if isinstance(row, AppError)}
    waiting = [(index, row) for index, row in enumerate(told) if isinstance(row, Told)]
    while waiting:
        # One row of each case at a time: the second must see what the first has done.
        this_round = dict[Name, tuple[int, Told]]()
        later = []
        for index, row in waiting:
            if row.name in this_round:
                later.append((index, row))
            else:
                this_round[row.name] = (index, row)
        done = await _record_round(session, [row for _, row in this_round.values()], actor, now, keyring)
        outcomes.update(zip((index for index, _ in this_round.values()), done, strict=True))
        waiting = later
    await _conclude(session, [outcomes[index] for index in range(len(rows))], actor, now)
    return [outcomes[index] for index in range(len(rows))]


def _read(row: CaseIn, gazetteer: Gazetteer, actor: Actor, now: datetime) -> Told | AppError:
    errors = check_times(row.classification, row.onset_on, row.confirmed_at, now)
    if not gazetteer.known(row.division):
        errors.append(FieldError("/division", "division_unknown", "There is no such division"))
    elif not actor.sees(row.division):
        errors.append(FieldError("/division", "out_of_division", "Outside your division"))
    presented = prepare(row.person, china_day(now))
    if isinstance(presented, list):
        errors += [FieldError(f"/person{item.pointer}", item.code, item.detail) for item in presented]
    elif presented.is_anonymous:
        errors.append(FieldError("/person", "identity_missing", "Name, document or phone must be there"))
    elif not errors:
        account = Account(
            row.disease, row.classification, presented.identity, row.onset_on, row.confirmed_at, row.division
        )
        return Told((row.authority, row.case_number), account, presented)
    return InvalidRequest(errors=errors)


async def _record_round(
    session: AsyncSession, rows: Sequence[Told], actor: Actor, now: datetime, keyring: Keyring
) -> list[Outcome]:
    held = await find_by_name(session, [row.name for row in rows])
    fresh = [row for row in rows if row.name not in held]
    created = await _create(session, fresh, actor, now, keyring)
    # Whoever named a case between our look and our insert has committed by now; what it stored is compared with.
    held |= await find_by_name(session, [row.name for row in fresh if row.name not in created])
    compared = await _update(session, [row for row in rows if row.name not in created], held, actor, now, keyring)
    return [created.get(row.name) or compared[row.name] for row in rows]


async def _create(
    session: AsyncSession, rows: Sequence[Told], actor: Actor, now: datetime, keyring: Keyring
) -> dict[Name, Outcome]:
    if not rows:
        return {}
    people = await ensure_people(session, [row.presented for row in rows], now=now, keyring=keyring)
    new = [
        stored.NewCase(new_id(), row.name, person_id, row.account) for row, person_id in zip(rows, people, strict=True)
    ]
    inserted = await stored.insert_cases(session, new, now)
    kept = [case for case in new if case.id in inserted]
    await stored.insert_classifications(session, [(case.id, case.account) for case in kept], actor.name, now)
    return {case.name: Recorded(case.id, "created") for case in kept}


async def _update(
    session: AsyncSession,
    rows: Sequence[Told],
    held: Mapping[Name, Held],
    actor: Actor,
    now: datetime,
    keyring: Keyring,
) -> dict[Name, Outcome]:
    identities = await open_people(session, [held[row.name].person_id for row in rows], keyring)
    outcomes: dict[Name, Outcome] = {}
    gains: list[tuple[Held, Account]] = []
    for row in rows:
        case = held[row.name]
        verdict, merged = compare(_account(case, identities[case.person_id]), row.account)
        match verdict:
            case Verdict.SAME:
                outcomes[row.name] = Recorded(case.id, "duplicate")
            case Verdict.GAIN:
                outcomes[row.name] = Recorded(case.id, "updated")
                gains.append((case, merged))
            case Verdict.DOWNGRADE:
                outcomes[row.name] = CaseWouldDowngrade()
            case Verdict.CONTRADICTION:
                outcomes[row.name] = CaseConflict()
    if gains:
        presented = [_present(merged.identity, now) for _, merged in gains]
        people = await ensure_people(session, presented, now=now, keyring=keyring)
        await stored.update_cases(
            session,
            [stored.NewCase(case.id, case.name, person, m) for (case, m), person in zip(gains, people, strict=True)],
            now,
        )
        raised = [(case.id, m) for case, m in gains if m.classification is not case.classification]
        await stored.insert_classifications(session, raised, actor.name, now)
    return outcomes


def _account(case: Held, identity: Identity) -> Account:
    return Account(case.disease, case.classification, identity, case.onset_on, case.confirmed_at, case.division)


def _present(identity: Identity, now: datetime) -> Presentation:
    # Normalised values stay as they are when they are normalised again.
    number, kind = identity.document_number, identity.document_type
    presented = prepare(
        PersonIn(
            name=identity.name,
            document=DocumentIn(type=kind, number=number) if kind is not None and number is not None else None,
            document_missing_reason=identity.document_missing_reason,
            phone=identity.phone,
            address=AddressIn(division=identity.address_division, line=identity.address_line),
        ),
        china_day(now),
    )
    assert isinstance(presented, Presentation)
    return presented


async def _conclude(session: AsyncSession, outcomes: Sequence[Outcome], actor: Actor, now: datetime) -> None:
    """Audit the list as one act, and enqueue what follows from the cases that it changed."""
    changed = [o.id for o in outcomes if isinstance(o, Recorded) and o.status != "duplicate"]
    counts = Counter(o.status if isinstance(o, Recorded) else o.code for o in outcomes)
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="cases.recorded",
        subject=("cases", None),
        division=actor.division,
        detail=dict(counts),
    )
    await _enqueue(session, list(dict.fromkeys(changed)))


async def _enqueue(session: AsyncSession, case_ids: Sequence[UUID]) -> None:
    chunks = [case_ids[start : start + _IDS_PER_JOB] for start in range(0, len(case_ids), _IDS_PER_JOB)]
    await jobs.enqueue(session, CHANGED, [{"case_ids": list(chunk)} for chunk in chunks])


async def reclassify_case(
    session: AsyncSession, case_id: UUID, change: ClassificationIn, *, actor: Actor, now: datetime
) -> Case:
    """Change a case's classification, up or down, and say why. The same again changes nothing.

    Raises:
        NotFound: there is no such case in the actor's division.
        InvalidRequest: the time of confirmation does not go with the classification.
    """
    case = await get_case(session, case_id, scope=actor.division, lock=True)
    errors = check_times(change.classification, None, change.confirmed_at, now)
    if errors:
        raise InvalidRequest(errors=errors)
    if (case.classification, case.confirmed_at) == (change.classification, change.confirmed_at):
        return case
    before: Classification = case.classification
    case.classification, case.confirmed_at, case.updated_at = change.classification, change.confirmed_at, now
    last = await session.scalar(
        select(func.max(CaseClassification.number)).where(CaseClassification.case_id == case.id)
    )
    session.add(
        CaseClassification(
            case_id=case.id,
            number=(last or 0) + 1,
            classification=change.classification,
            confirmed_at=change.confirmed_at,
            reason=change.reason,
            recorded_by=actor.name,
            at=now,
        )
    )
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="case.reclassified",
        subject=("case", case.id),
        division=case.division,
        detail={"from": before.value, "to": change.classification.value},
    )
    await _enqueue(session, [case.id])
    await session.flush()
    return case
