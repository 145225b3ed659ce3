"""Enrolling and changing pharmacies, their keys, their rosters."""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth import service as auth
from app.auth.rules import Actor, Role
from app.auth.service import NewKey
from app.core import jobs
from app.core.clock import china_day
from app.core.errors import AppError, FieldError, InvalidRequest, NotFound, OutOfDivision
from app.core.ids import new_id
from app.core.snapshots import changed
from app.divisions.service import require_known
from app.pharmacies.models import CHANGED, Pharmacy, PharmacyStanding
from app.pharmacies.queries import PHARMACIES, get_pharmacy, has_key, standings_of
from app.pharmacies.rules import MOST_DAYS_AHEAD, Standing, Statement, changes_something, is_too_far_ahead
from app.pharmacies.schemas import PharmacyIn, PharmacyPatch

ENROLLED = "enrolled"
"""The reason of a pharmacy's first standing."""


class PharmacyAlreadyEnrolled(AppError):
    """A pharmacy with this credit code and licence number is enrolled already; change that one instead."""

    status, code, title = 409, "pharmacy_already_enrolled", "The pharmacy is enrolled already"


async def enrol_pharmacy(session: AsyncSession, enrolled: PharmacyIn, *, actor: Actor, now: datetime) -> Pharmacy:
    """Take a pharmacy in; it is active from its day of enrolment.

    Raises:
        OutOfDivision: its division lies outside the actor's own.
        DivisionUnknown: there is no such division.
        InvalidRequest: the day of enrolment lies in the future (`enrolled_in_future`).
        PharmacyAlreadyEnrolled: credit code and licence number are taken.
    """
    if not actor.sees(enrolled.division):
        raise OutOfDivision(errors=[FieldError("/division", "out_of_division", "Not within your division")])
    await require_known(session, enrolled.division)
    today = china_day(now)
    enrolled_on = enrolled.enrolled_on or today
    if enrolled_on > today:
        raise _invalid("/enrolled_on", "enrolled_in_future", "The day of enrolment lies in the future")
    # Also the lock under which the names are compared: whoever enrols next waits here until this one is committed.
    await changed(session, PHARMACIES.name)
    taken = (
        await session.scalars(
            select(Pharmacy).where(Pharmacy.uscc == enrolled.uscc, Pharmacy.licence_number == enrolled.licence_number)
        )
    ).one_or_none()
    if taken is not None:
        raise PharmacyAlreadyEnrolled(extra={"pharmacy_id": str(taken.id)} if actor.sees(taken.division) else None)
    pharmacy = Pharmacy(
        id=new_id(),
        name=enrolled.name,
        uscc=enrolled.uscc,
        licence_number=enrolled.licence_number,
        division=enrolled.division,
        address=enrolled.address,
        lat=enrolled.location.lat if enrolled.location else None,
        lon=enrolled.location.lon if enrolled.location else None,
        chain=enrolled.chain,
        enrolled_on=enrolled_on,
        sandbox=enrolled.sandbox,
        created_at=now,
    )
    session.add(pharmacy)
    await session.flush()
    _state(session, pharmacy.id, 1, Statement(Standing.ACTIVE, enrolled_on), ENROLLED, actor=actor, now=now)
    detail: dict[str, Any] = {"enrolled_on": enrolled_on.isoformat()} | ({"sandbox": True} if enrolled.sandbox else {})
    await _record(session, "pharmacy.enrolled", pharmacy, detail, actor=actor, now=now)
    return pharmacy


async def change_pharmacy(
    session: AsyncSession, pharmacy_id: UUID, patch: PharmacyPatch, *, actor: Actor, now: datetime
) -> Pharmacy:
    """Change what a pharmacy is called, where it is, what chain it belongs to, or its standing.

    A new standing holds from its day on, whatever was said before about those days; it may be recorded for days gone by,
    and announced up to a year ahead. Nothing is written where nothing changes.

    Raises:
        NotFound: there is no such pharmacy within the actor's division.
        InvalidRequest: `reason_required`, `standing_required`, `standing_before_enrolment`, `standing_too_far_ahead`.
    """
    await changed(session, PHARMACIES.name)
    pharmacy = await get_pharmacy(session, pharmacy_id, actor=actor, lock=True)
    wanted: dict[str, Any] = {
        name: getattr(patch, name) for name in {"name", "address", "chain"} & patch.model_fields_set
    }
    if "location" in patch.model_fields_set:
        wanted["lat"] = patch.location.lat if patch.location else None
        wanted["lon"] = patch.location.lon if patch.location else None
    altered = sorted(name for name, value in wanted.items() if getattr(pharmacy, name) != value)
    for name in altered:
        setattr(pharmacy, name, wanted[name])
    detail: dict[str, Any] = {"changed": altered}

    if patch.standing is None and patch.standing_from is not None:
        raise _invalid("/standing", "standing_required", "standing_from needs a standing")
    if patch.standing is not None:
        if patch.reason is None:
            raise _invalid("/reason", "reason_required", "A change of standing needs a reason")
        statement = Statement(patch.standing, patch.standing_from or china_day(now))
        _check_day(statement.valid_from, pharmacy, china_day(now))
        said = (await standings_of(session, [pharmacy.id]))[pharmacy.id]
        if changes_something([Statement(one.standing, one.valid_from) for one in said], statement):
            _state(session, pharmacy.id, len(said) + 1, statement, patch.reason, actor=actor, now=now)
            altered.append("standing")
            detail |= {"standing": statement.standing.value, "standing_from": statement.valid_from.isoformat()}
    if altered:
        await session.flush()
        await _record(session, "pharmacy.changed", pharmacy, detail, actor=actor, now=now, purpose=patch.reason)
    if "standing" in altered:
        await jobs.enqueue(session, CHANGED, [{"pharmacy_id": pharmacy.id}])
    return pharmacy


async def issue_pharmacy_key(
    session: AsyncSession, pharmacy_id: UUID, name: str, *, actor: Actor, now: datetime
) -> NewKey:
    """Make a key with which one of the pharmacy's tills may speak for it.

    Raises:
        NotFound: there is no such pharmacy within the actor's division.
    """
    # Locked, so that two first keys at once do not make two accounts of one pharmacy.
    pharmacy = await get_pharmacy(session, pharmacy_id, actor=actor, lock=True)
    key = await auth.create_key(
        session,
        actor=actor,
        now=now,
        role=Role.PHARMACY,
        name=pharmacy.name,
        key_name=name,
        division=pharmacy.division,
        pharmacy_ids=[pharmacy.id],
    )
    await _record(session, "pharmacy.key_issued", pharmacy, {"key_id": str(key.id)}, actor=actor, now=now)
    return key


async def issue_chain_key(
    session: AsyncSession, name: str, pharmacy_ids: Collection[UUID], *, actor: Actor, now: datetime
) -> NewKey:
    """Make one key with which a chain may speak for several of its pharmacies, each row naming its own.

    Raises:
        NotFound: one of them does not exist within the actor's division.
    """
    # Locked in the order of their ids, so that two keys for overlapping chains do not wait for each other in a ring.
    pharmacies = [
        await get_pharmacy(session, pharmacy_id, actor=actor, lock=True) for pharmacy_id in sorted(set(pharmacy_ids))
    ]
    key = await auth.create_key(
        session,
        actor=actor,
        now=now,
        role=Role.PHARMACY,
        name=name,
        division=actor.division,
        pharmacy_ids=[pharmacy.id for pharmacy in pharmacies],
    )
    for pharmacy in pharmacies:
        await _record(session, "pharmacy.key_issued", pharmacy, {"key_id": str(key.id)}, actor=actor, now=now)
    return key


async def rotate_pharmacy_key(
    session: AsyncSession, pharmacy_id: UUID, key_id: UUID, *, overlap: timedelta, actor: Actor, now: datetime
) -> tuple[NewKey, datetime]:
    """Make a key that takes another's place; return it, and when the old one ends.

    Raises:
        NotFound: there is no such pharmacy within the actor's division, or no such key of it.
        KeyNotActive: the key is revoked or has expired.
    """
    pharmacy = await get_pharmacy(session, pharmacy_id, actor=actor, lock=True)
    if not await has_key(session, pharmacy.id, key_id, actor=actor):
        raise NotFound
    key, ends = await auth.rotate_key(session, key_id, overlap=overlap, actor=actor, now=now)
    detail = {"key_id": str(key_id), "new_key_id": str(key.id)}
    await _record(session, "pharmacy.key_rotated", pharmacy, detail, actor=actor, now=now)
    return key, ends


async def revoke_pharmacy_key(
    session: AsyncSession, pharmacy_id: UUID, key_id: UUID, *, actor: Actor, now: datetime
) -> None:
    """Make one of the pharmacy's keys useless, also a chain's; revoking it again changes nothing.

    Raises:
        NotFound: there is no such pharmacy within the actor's division, or the key is not this pharmacy's. A chain's key is
            everybody's in the chain: who does not see all its pharmacies does not see its key.
    """
    pharmacy = await get_pharmacy(session, pharmacy_id, actor=actor, lock=True)
    if not await has_key(session, pharmacy.id, key_id, actor=actor):
        raise NotFound
    await auth.revoke_key(session, key_id, actor=actor, now=now)
    await _record(session, "pharmacy.key_revoked", pharmacy, {"key_id": str(key_id)}, actor=actor, now=now)


def _check_day(day: date, pharmacy: Pharmacy, today: date) -> None:
    if day < pharmacy.enrolled_on:
        raise _invalid("/standing_from", "standing_before_enrolment", "The pharmacy was not enrolled yet on that day")
    if is_too_far_ahead(day, today):
        detail = f"A standing can be announced {MOST_DAYS_AHEAD} days ahead at most"
        raise _invalid("/standing_from", "standing_too_far_ahead", detail)


def _invalid(pointer: str, code: str, detail: str) -> InvalidRequest:
    return InvalidRequest(errors=[FieldError(pointer, code, detail)])


def _state(
    session: AsyncSession, pharmacy_id: UUID, number: int, said: Statement, reason: str, *, actor: Actor, now: datetime
) -> None:
    session.add(
        PharmacyStanding(
            pharmacy_id=pharmacy_id,
            number=number,
            standing=said.standing,
            valid_from=said.valid_from,
            reason=reason,
            recorded_by=actor.account_id,
            recorded_at=now,
        )
    )


async def _record(
    session: AsyncSession,
    action: str,
    pharmacy: Pharmacy,
    detail: dict[str, Any],
    *,
    actor: Actor,
    now: datetime,
    purpose: str | None = None,
) -> None:
    await audit.record(
        session,
        actor=actor,
        now=now,
        action=action,
        subject=("pharmacy", pharmacy.id),
        division=pharmacy.division,
        purpose=purpose,
        detail=detail,
    )
    await session.flush()
