"""Keeping what cases told of their purchases, and judging what of it was registered."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.alerts.rules import AlertKind, severity_of_miss
from app.alerts.service import EndedAlert, NewAlert, raise_alerts
from app.audit import service as audit
from app.auth.rules import Actor
from app.capture.models import DeclaredPurchase
from app.capture.queries import (
    Duties,
    Stored,
    find_pharmacies_named,
    lock_judgement,
    registered_of_cases,
    stored_of_cases,
)
from app.capture.rules import Ground, PurchaseStatus, Verdict, judge, late_until
from app.capture.schemas import DeclaredPurchaseIn, DeclaredPurchasesIn
from app.cases.models import Case
from app.cases.queries import get_case
from app.catalogue.names import squeeze
from app.core.clock import china_day
from app.core.database import driver
from app.core.errors import Conflict, FieldError, InvalidRequest, NotFound
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.divisions.queries import DIVISIONS
from app.people.plain import naming
from app.people.queries import open_people

MOST_OF_A_CASE = 500

_CHANGE = """
UPDATE declared_purchases d SET
    status = row.status, ground = row.ground, registration_id = row.registration_id, judged_at = $6, turn = row.turn
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::smallint[]) AS row (id, status, ground, registration_id, turn)
WHERE d.id = row.id
"""


class DeclaredPurchaseConflict(Conflict):
    """The case has told of this purchase with another tolerance. Nothing was changed; retract the earlier telling first."""

    code, title = "declared_purchase_conflict", "This purchase was told with another tolerance"


class TooManyDeclaredPurchases(Conflict):
    """The case has told of 500 purchases already. Nothing was changed; something sends in a loop."""

    code, title = "too_many_declared_purchases", "The case has too many declared purchases"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What became of an interview: the purchases in its order, and whether any of them is new."""

    purchases: Sequence[DeclaredPurchase]
    created: bool


@dataclass(frozen=True, slots=True)
class News:
    """What must be told: misses that are new, and earlier ones that are none any more."""

    raised: Sequence[NewAlert]
    ended: Sequence[EndedAlert]


Key = tuple[UUID | None, str, Any, str]
"""What names a telling within a case: pharmacy, division, day, drug as told."""


async def declare_purchases(
    session: AsyncSession, case_id: UUID, told: DeclaredPurchasesIn, *, actor: Actor, now: datetime, keyring: Keyring
) -> Declaration:
    """Keep what a case told of its purchases, all of it or nothing, and judge it at once. The same again is the same.

    Raises:
        NotFound: there is no such case in the actor's division.
        InvalidRequest: a place is not known or a day lies ahead, or a drug's name tells who the person is.
        DeclaredPurchaseConflict: a purchase was told before with another tolerance.
        TooManyDeclaredPurchases: the case has told of 500 already.
    """
    case = await get_case(session, case_id, scope=actor.division)
    # Before anything is looked up: what others have told, matched or judged is committed, and seen below.
    await lock_judgement(session)
    places = await _places(session, case, told.items, actor, now, keyring)
    known = {
        (row.pharmacy_id, row.division, row.purchased_on, row.drug_key): row
        for row in await session.scalars(
            select(DeclaredPurchase).where(DeclaredPurchase.case_id == case.id, DeclaredPurchase.retracted_at.is_(None))
        )
    }
    purchases: list[DeclaredPurchase] = []
    created: list[DeclaredPurchase] = []
    for item, (pharmacy_id, division) in zip(told.items, places, strict=True):
        key: Key = (pharmacy_id, division, item.purchased_on, squeeze(item.drug or ""))
        row = known.get(key)
        if row is None:
            row = known[key] = _new(case, item, key, actor, now)
            created.append(row)
        elif row.tolerance_days != item.tolerance_days:
            raise DeclaredPurchaseConflict
        purchases.append(row)
    if not created:
        return Declaration(purchases, created=False)
    if len(known) > MOST_OF_A_CASE:
        raise TooManyDeclaredPurchases
    session.add_all(created)
    await session.flush()
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="purchases.declared",
        subject=("case", case.id),
        division=case.division,
        detail={"purchase_ids": [str(row.id) for row in created]},
    )
    await _conclude(session, case.id, now, keyring)
    await _refresh(session, created)
    return Declaration(purchases, created=True)


async def retract_purchase(
    session: AsyncSession,
    case_id: UUID,
    purchase_id: UUID,
    reason: str,
    *,
    actor: Actor,
    now: datetime,
    keyring: Keyring,
) -> DeclaredPurchase:
    """Take back what a case told: it stays visible and says nothing any more. The same again changes nothing.

    Raises:
        NotFound: there is no such case in the actor's division, or it did not tell of that purchase.
        InvalidRequest: the reason names the person.
    """
    case = await get_case(session, case_id, scope=actor.division)
    await lock_judgement(session)
    row = await session.get(DeclaredPurchase, purchase_id)
    if row is None or row.case_id != case.id:
        raise NotFound
    identities = await open_people(session, [case.person_id], keyring)
    if errors := naming("/reason", "reason_contains_identity", reason, identities.values()):
        raise InvalidRequest(errors=errors)
    if row.retracted_at is not None:
        return row
    row.retracted_at, row.retracted_by, row.retract_reason = now, actor.name, reason
    await session.flush()
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="purchase.retracted",
        subject=("declared_purchase", row.id),
        division=case.division,
        detail={"case_id": str(case.id)},
    )
    await _conclude(session, case.id, now, keyring)
    await _refresh(session, [row])
    return row


async def judge_purchases(session: AsyncSession, case_ids: Collection[UUID], *, now: datetime) -> News:
    """Bring what is known of these cases' purchases into line with the facts; return what must be told of it.

    Part of the story: it runs after the matches of the same transaction have been written. Repeating it changes nothing.
    """
    if not case_ids:
        return News((), ())
    await lock_judgement(session)
    duties = await Duties.read(session)
    stored = await stored_of_cases(session, case_ids, duties)
    if not stored:
        return News((), ())
    by_case: defaultdict[UUID, list[Stored]] = defaultdict(list)
    for one in stored:
        by_case[one.case_id].append(one)
    registered = await registered_of_cases(session, by_case.keys())
    changes: list[tuple[Stored, Verdict]] = []
    for case_id, told in by_case.items():
        declared = [one.declared for one in told]
        waived = {one.id: ground for one in declared if (ground := duties.waived(one)) is not None}
        verdicts = judge(told[0].subject, declared, registered.get(case_id, ()), waived)
        changes += [(one, verdicts[one.declared.id]) for one in told if verdicts[one.declared.id] != one.verdict]
    await _write(session, changes, now)
    return _news(changes)


async def _places(
    session: AsyncSession,
    case: Case,
    items: Sequence[DeclaredPurchaseIn],
    actor: Actor,
    now: datetime,
    keyring: Keyring,
) -> list[tuple[UUID | None, str]]:
    """Return pharmacy and division of each item, or raise with everything that is wrong with any."""
    gazetteer = await DIVISIONS.get(session)
    pharmacies = (await Duties.read(session)).pharmacies
    named = await find_pharmacies_named(session, {i.pharmacy_name for i in items if i.pharmacy_name}, actor.division)
    identities = await open_people(session, [case.person_id], keyring)
    today = china_day(now)
    errors: list[FieldError] = []
    places: list[tuple[UUID | None, str]] = []
    for at, item in enumerate(items):
        here = f"/items/{at}"
        if item.purchased_on > today:
            errors.append(FieldError(f"{here}/purchased_on", "day_in_future", "The day has not begun yet"))
        errors += naming(f"{here}/drug", "drug_contains_identity", item.drug, identities.values())
        pharmacy_id = item.pharmacy_id
        if item.pharmacy_name is not None:
            bearing = named.get(item.pharmacy_name, [])
            if len(bearing) > 1:
                text = "Several pharmacies of your division bear this name; give the id of one"
                errors.append(FieldError(f"{here}/pharmacy_name", "pharmacy_ambiguous", text))
                continue
            pharmacy_id = bearing[0] if bearing else None
        facts = None if pharmacy_id is None else pharmacies.get(pharmacy_id)
        if facts is not None and not facts.sandbox:
            places.append((facts.id, facts.division))
        elif item.division is None:
            member = "pharmacy_id" if item.pharmacy_name is None else "pharmacy_name"
            errors.append(FieldError(f"{here}/{member}", "pharmacy_unknown", "There is no such pharmacy"))
        elif gazetteer.known(item.division):
            places.append((None, item.division))
        else:
            errors.append(FieldError(f"{here}/division", "division_unknown", "There is no such division"))
    if errors:
        raise InvalidRequest(errors=errors)
    return places


def _new(case: Case, item: DeclaredPurchaseIn, key: Key, actor: Actor, now: datetime) -> DeclaredPurchase:
    pharmacy_id, division, purchased_on, drug_key = key
    return DeclaredPurchase(
        id=new_id(),
        case_id=case.id,
        pharmacy_id=pharmacy_id,
        division=division,
        purchased_on=purchased_on,
        tolerance_days=item.tolerance_days,
        drug=item.drug,
        drug_key=drug_key,
        declared_at=now,
        declared_by=actor.name,
        # What it is until it is judged, in the same transaction.
        status=PurchaseStatus.NOT_JUDGED,
        ground=Ground.NOT_REGISTERED,
        turn=0,
        judged_at=now,
    )


async def _conclude(session: AsyncSession, case_id: UUID, now: datetime, keyring: Keyring) -> None:
    """Judge what the case told, and say what must be said of it: the last step."""
    news = await judge_purchases(session, [case_id], now=now)
    await raise_alerts(session, news.raised, ended=news.ended, now=now, keyring=keyring)


async def _refresh(session: AsyncSession, rows: Sequence[DeclaredPurchase]) -> None:
    query = select(DeclaredPurchase).where(DeclaredPurchase.id.in_([row.id for row in rows]))
    await session.execute(query.execution_options(populate_existing=True))


async def _write(session: AsyncSession, changes: Sequence[tuple[Stored, Verdict]], now: datetime) -> None:
    if not changes:
        return
    rows = [
        (one.declared.id, verdict.status.value, verdict.ground.value, verdict.registration_id, _turn(one, verdict))
        for one, verdict in changes
    ]
    connection = await driver(session)
    await connection.execute(_CHANGE, *(list(column) for column in zip(*rows, strict=True)), now)


def _turn(one: Stored, verdict: Verdict) -> int:
    return one.turn + (verdict.status is not one.verdict.status)


def _news(changes: Sequence[tuple[Stored, Verdict]]) -> News:
    raised, ended = [], []
    for one, verdict in changes:
        before, after = one.verdict.status, verdict.status
        if before is after:
            continue
        if after is PurchaseStatus.MISSED:
            raised.append(_miss(one, verdict))
        elif before is PurchaseStatus.MISSED:
            ended.append(_no_miss(one, verdict))
    return News(raised, ended)


def _miss(one: Stored, verdict: Verdict) -> NewAlert:
    return NewAlert(
        key=_alert_key(one, _turn(one, verdict)),
        kind=AlertKind.PURCHASE_MISSED,
        severity=severity_of_miss(one.subject.classification),
        division=one.declared.division,
        disease=one.disease,
        pharmacy_id=one.declared.pharmacy_id,
        case_id=one.case_id,
        person_id=one.person_id,
        facts=_facts(one, verdict),
    )


def _no_miss(one: Stored, verdict: Verdict) -> EndedAlert:
    return EndedAlert(
        key=_alert_key(one, one.turn),
        feedback=_ENDINGS[verdict.status],
        facts=_facts(one, verdict) | {"registration_id": verdict.registration_id},
    )


_ENDINGS = {
    PurchaseStatus.COVERED: "有登记与该购药相符,漏登预警自动关闭。/ A registration covers the purchase now.",
    PurchaseStatus.NOT_REQUIRED: "该购药无需登记,漏登预警自动关闭。/ The purchase did not have to be registered.",
    PurchaseStatus.NOT_JUDGED: "该购药不再计入,漏登预警自动关闭。/ The purchase was retracted, or the case or its days changed.",
}
"""What is fed back where a miss is none any more."""


def _alert_key(one: Stored, turn: int) -> str:
    return f"{AlertKind.PURCHASE_MISSED.value}:{one.declared.id}:{turn}"


def _facts(one: Stored, verdict: Verdict) -> dict[str, Any]:
    told = one.declared
    return {
        "purchase_id": told.id,
        "case_number": one.case_number,
        "classification": one.subject.classification.value,
        "purchased_on": told.purchased_on.isoformat(),
        "tolerance_days": told.tolerance_days,
        "drug": told.drug,
        "status": verdict.status.value,
        "ground": verdict.ground.value,
        "late_until": late_until(told.purchased_on, told.tolerance_days).isoformat(),
    }
