"""Recording case lists, and changing one's mind about a case."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.cases import rows as stored
from app.cases.models import Case, CaseClassification
from app.cases.queries import Held, Name, find_by_name, get_case, lock_lists
from app.cases.rules import Account, Classification, Verdict, check_times, compare
from app.cases.schemas import CaseIn, ClassificationIn
from app.core import jobs
from app.core.clock import china_day
from app.core.errors import AppError, Conflict, FieldError, InvalidRequest
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.divisions.queries import DIVISIONS
from app.divisions.rules import Gazetteer
from app.people.plain import naming, numbering
from app.people.queries import open_people
from app.people.rules import prepare, present
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
    """A readable row: the case's name, and what is said of it."""

    name: Name
    account: Account


@dataclass(slots=True, eq=False)
class _Course:
    """What a list does to one case, row by row: what it makes of it, and each classification on the way."""

    name: Name
    held: Held | None
    account: Account | None
    id: UUID
    changed: bool = False
    steps: list[Account] = field(default_factory=list)

    def take(self, told: Account) -> Outcome:
        """Judge the next row against what the rows before it have left."""
        if self.account is None:
            self.account, self.changed = told, True
            self.steps.append(told)
            return Recorded(self.id, "created")
        verdict, merged = compare(self.account, told)
        match verdict:
            case Verdict.SAME:
                return Recorded(self.id, "duplicate")
            case Verdict.DOWNGRADE:
                return CaseWouldDowngrade()
            case Verdict.CONTRADICTION:
                return CaseConflict()
            case Verdict.GAIN:
                if merged.classification is not self.account.classification:
                    self.steps.append(merged)
                self.account, self.changed = merged, True
                return Recorded(self.id, "updated")


async def record_cases(
    session: AsyncSession, rows: Sequence[CaseIn], *, actor: Actor, now: datetime, keyring: Keyring
) -> list[Outcome]:
    """Record rows of a case list; return what became of each, in order.

    An outcome that is an error (`CaseConflict`, `CaseWouldDowngrade`, `InvalidRequest`) concerns that row alone. The same case
    twice in one list is taken in the list's order. A dozen statements, whatever the number of rows.
    """
    gazetteer = await DIVISIONS.get(session)
    told = [_read(row, gazetteer, actor, now) for row in rows]
    names = list(dict.fromkeys(row.name for row in told if isinstance(row, Told)))
    courses = await _open_courses(session, names, keyring)
    outcomes = [courses[row.name].take(row.account) if isinstance(row, Told) else row for row in told]
    changed = [course for course in courses.values() if course.changed]
    await _store(session, changed, actor, now, keyring)
    await _conclude(session, outcomes, actor, now)
    await _enqueue(session, [course.id for course in changed])
    return outcomes


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
    elif told := numbering("/case_number", "case_number_contains_identity", row.case_number, presented.identity):
        errors += told
    elif not errors:
        account = Account(
            row.disease, row.classification, presented.identity, row.onset_on, row.confirmed_at, row.division
        )
        return Told((row.authority, row.case_number), account)
    return InvalidRequest(errors=errors)


async def _open_courses(session: AsyncSession, names: Sequence[Name], keyring: Keyring) -> dict[Name, _Course]:
    """Lock the cases that a list names, known or not, and return how each stands."""
    await lock_lists(session, {authority for authority, _ in names})
    held = await find_by_name(session, names)
    identities = await open_people(session, [case.person_id for case in held.values()], keyring) if held else {}
    courses = {}
    for name in names:
        case = held.get(name)
        if case is None:
            courses[name] = _Course(name, None, None, new_id())
        else:
            courses[name] = _Course(name, case, case.account(identities[case.person_id]), case.id)
    return courses


async def _store(
    session: AsyncSession, courses: Sequence[_Course], actor: Actor, now: datetime, keyring: Keyring
) -> None:
    """Write what the courses came to. All people in one call: `ensure_people` keeps its order only within one."""
    final = [(course, course.account) for course in courses if course.account is not None]
    people = await ensure_people(session, [present(a.identity) for _, a in final], now=now, keyring=keyring)
    written = [
        (course, stored.CaseRow(course.id, course.name, person_id, account))
        for (course, account), person_id in zip(final, people, strict=True)
    ]
    await stored.insert_cases(session, [row for course, row in written if course.held is None], now)
    await stored.update_cases(session, [row for course, row in written if course.held is not None], now)
    steps = [(course.id, step) for course in courses for step in course.steps]
    await stored.append_classifications(session, steps, actor.name, now)


async def _conclude(session: AsyncSession, outcomes: Sequence[Outcome], actor: Actor, now: datetime) -> None:
    """Audit the list as one act."""
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


async def _enqueue(session: AsyncSession, case_ids: Sequence[UUID]) -> None:
    chunks = [case_ids[start : start + _IDS_PER_JOB] for start in range(0, len(case_ids), _IDS_PER_JOB)]
    await jobs.enqueue(session, CHANGED, [{"case_ids": list(chunk)} for chunk in chunks])


async def reclassify_case(
    session: AsyncSession,
    case_id: UUID,
    change: ClassificationIn,
    *,
    actor: Actor,
    now: datetime,
    keyring: Keyring,
) -> Case:
    """Change a case's classification, up or down, and say why. The same again changes nothing.

    Raises:
        NotFound: there is no such case in the actor's division.
        InvalidRequest: the time of confirmation does not go with the classification, or the reason names the person.
    """
    case = await get_case(session, case_id, scope=actor.division, lock=True)
    errors = check_times(change.classification, None, change.confirmed_at, now)
    identities = await open_people(session, [case.person_id], keyring)
    errors += naming("/reason", "reason_contains_identity", change.reason, identities.values())
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
