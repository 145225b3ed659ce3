"""Enrolment, standing, keys and rosters."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.auth.service import KeyNotActive
from app.core.clock import china_day
from app.core.errors import NotFound
from app.core.http import Keys, Now, Router, Transaction
from app.core.pagination import Page, Paging
from app.pharmacies import queries, rosters, service
from app.pharmacies.models import Pharmacy, PharmacyStanding
from app.pharmacies.rules import Statement, standing_on, uscc_warnings
from app.pharmacies.schemas import (
    ChainKeyIn,
    KeyListOut,
    KeyOut,
    KeyRotationIn,
    Location,
    PharmacyFilter,
    PharmacyIn,
    PharmacyKeyIn,
    PharmacyKeyOut,
    PharmacyOut,
    PharmacyPatch,
    RosterIn,
    RosterOut,
    RotatedKeyOut,
    StandingOut,
    WarningOut,
)

router = Router(prefix="/v1/pharmacies", tags=["pharmacies"])

Reader = Annotated[Actor, Depends(requires(Permission.READ_PHARMACIES))]
Enroller = Annotated[Actor, Depends(requires(Permission.ENROL_PHARMACIES))]
_SEVEN_DAYS = KeyRotationIn()
KeyIssuer = Annotated[Actor, Depends(requires(Permission.ISSUE_PHARMACY_KEYS))]


@router.get("")
async def list_pharmacies(
    session: Transaction,
    now: Now,
    actor: Reader,
    filters: Annotated[PharmacyFilter, Query()],
    paging: Paging,
) -> Page[PharmacyOut]:
    """List the pharmacies of your division, in the order in which they were enrolled."""
    rows = await queries.list_pharmacies(
        session,
        scope=actor.division,
        filters=filters,
        today=china_day(now),
        limit=paging.wanted,
        after=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    said = await queries.standings_of(session, [row.id for row in shown])
    return Page(items=[_out(row, said[row.id], china_day(now)) for row in shown], next_cursor=cursor)


@router.post("", status_code=201, responses={409: {"description": service.PharmacyAlreadyEnrolled.title}})
async def enrol_pharmacy(body: PharmacyIn, session: Transaction, now: Now, actor: Enroller) -> PharmacyOut:
    """Enrol a pharmacy. A wrong check character in the credit code is a warning in the answer."""
    pharmacy = await service.enrol_pharmacy(session, body, actor=actor, now=now)
    said = await queries.standings_of(session, [pharmacy.id])
    return _out(pharmacy, said[pharmacy.id], china_day(now))


@router.get("/{pharmacy_id}")
async def get_pharmacy(pharmacy_id: UUID, session: Transaction, now: Now, actor: Reader) -> PharmacyOut:
    """Show one pharmacy with all that was said about its standing."""
    pharmacy = await queries.get_pharmacy(session, pharmacy_id, actor=actor)
    said = await queries.standings_of(session, [pharmacy.id])
    return _out(pharmacy, said[pharmacy.id], china_day(now))


@router.patch("/{pharmacy_id}")
async def change_pharmacy(
    pharmacy_id: UUID, body: PharmacyPatch, session: Transaction, now: Now, actor: Enroller
) -> PharmacyOut:
    """Change a pharmacy. A standing holds from its day on, whatever was said before about those days."""
    pharmacy = await service.change_pharmacy(session, pharmacy_id, body, actor=actor, now=now)
    said = await queries.standings_of(session, [pharmacy.id])
    return _out(pharmacy, said[pharmacy.id], china_day(now))


@router.post("/{pharmacy_id}/keys", status_code=201)
async def issue_pharmacy_key(
    pharmacy_id: UUID, body: PharmacyKeyIn, session: Transaction, now: Now, actor: KeyIssuer
) -> PharmacyKeyOut:
    """Make a key for a till. The token is shown this once."""
    key = await service.issue_pharmacy_key(session, pharmacy_id, body.name, actor=actor, now=now)
    return PharmacyKeyOut(id=key.id, token=key.token)


@router.post("/keys", status_code=201, responses={404: {"description": NotFound.title}})
async def issue_chain_key(body: ChainKeyIn, session: Transaction, now: Now, actor: KeyIssuer) -> PharmacyKeyOut:
    """Make one key for several pharmacies of a chain; each registration then names its pharmacy. The token is shown this once."""
    key = await service.issue_chain_key(session, body.name, body.pharmacies, actor=actor, now=now)
    return PharmacyKeyOut(id=key.id, token=key.token)


@router.get("/{pharmacy_id}/keys")
async def list_pharmacy_keys(pharmacy_id: UUID, session: Transaction, actor: KeyIssuer) -> KeyListOut:
    """List the keys that speak for a pharmacy, also a chain's, and when each was last used."""
    pharmacy = await queries.get_pharmacy(session, pharmacy_id, actor=actor)
    items = [
        KeyOut(
            id=key.id,
            name=key.name,
            pharmacies=speaks_for,
            created_at=key.created_at,
            last_seen_at=key.last_seen_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )
        for key, speaks_for in await queries.list_keys(session, pharmacy.id)
    ]
    return KeyListOut(items=items)


@router.post(
    "/{pharmacy_id}/keys/{key_id}/rotate", status_code=201, responses={409: {"description": KeyNotActive.title}}
)
async def rotate_pharmacy_key(
    pharmacy_id: UUID,
    key_id: UUID,
    session: Transaction,
    now: Now,
    actor: KeyIssuer,
    body: KeyRotationIn = _SEVEN_DAYS,
) -> RotatedKeyOut:
    """Make a key that takes another's place. The old one goes on for a while, so that the till can be changed over in peace."""
    key, ends = await service.rotate_pharmacy_key(
        session, pharmacy_id, key_id, overlap=timedelta(days=body.overlap_days), actor=actor, now=now
    )
    return RotatedKeyOut(id=key.id, token=key.token, old_expires_at=ends)


@router.delete("/{pharmacy_id}/keys/{key_id}", status_code=204)
async def revoke_pharmacy_key(
    pharmacy_id: UUID, key_id: UUID, session: Transaction, now: Now, actor: KeyIssuer
) -> None:
    """Make a key useless; it is refused everywhere within two seconds."""
    await service.revoke_pharmacy_key(session, pharmacy_id, key_id, actor=actor, now=now)


@router.put("/{pharmacy_id}/roster")
async def set_roster(
    pharmacy_id: UUID,
    body: RosterIn,
    session: Transaction,
    now: Now,
    keyring: Keys,
    actor: Annotated[Actor, Depends(requires(Permission.SET_ROSTER))],
) -> RosterOut:
    """Name everybody who works at a pharmacy. Whoever is no longer named is on the roster for the last day today."""
    return RosterOut.model_validate(
        await rosters.set_roster(session, pharmacy_id, body, actor=actor, now=now, keyring=keyring)
    )


def _out(pharmacy: Pharmacy, said: Sequence[PharmacyStanding], today: date) -> PharmacyOut:
    location = None
    if pharmacy.lat is not None and pharmacy.lon is not None:
        location = Location(lat=pharmacy.lat, lon=pharmacy.lon)
    return PharmacyOut(
        id=pharmacy.id,
        name=pharmacy.name,
        uscc=pharmacy.uscc,
        licence_number=pharmacy.licence_number,
        division=pharmacy.division,
        address=pharmacy.address,
        location=location,
        chain=pharmacy.chain,
        enrolled_on=pharmacy.enrolled_on,
        sandbox=pharmacy.sandbox,
        created_at=pharmacy.created_at,
        standing=standing_on([Statement(one.standing, one.valid_from) for one in said], today),
        standings=[StandingOut.model_validate(one) for one in said],
        warnings=[WarningOut.model_validate(found) for found in uscc_warnings(pharmacy.uscc)],
    )
