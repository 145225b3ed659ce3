"""Who works at a pharmacy, so that nobody is rewarded for a colleague."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.core import jobs
from app.core.clock import china_day
from app.core.database import driver
from app.core.errors import FieldError, InvalidRequest
from app.core.ids import new_ids
from app.core.sealing import Keyring
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from app.people.service import ensure_people
from app.pharmacies.models import CHANGED
from app.pharmacies.queries import get_pharmacy
from app.pharmacies.schemas import RosterIn


@dataclass(frozen=True, slots=True)
class RosterSet:
    """How many people are on the roster now, how many are new, how many leave it after today."""

    members: int
    begun: int
    ended: int


async def set_roster(
    session: AsyncSession, pharmacy_id: UUID, roster: RosterIn, *, actor: Actor, now: datetime, keyring: Keyring
) -> RosterSet:
    """Replace a pharmacy's roster as of today.

    Whoever is named anew is on it from today. Whoever is no longer named is on it for the last time today: the purchases of this
    morning were a colleague's, whatever is said about the roster in the afternoon. Naming somebody twice counts once.

    Raises:
        NotFound: there is no such pharmacy within the actor's division, or it is not the actor's own.
        InvalidRequest: a member's document or phone is malformed, or nothing is told by which a buyer could be recognised
            (`member_unrecognisable`).
    """
    pharmacy = await get_pharmacy(session, pharmacy_id, actor=actor, lock=True)
    today = china_day(now)
    people = sorted(set(await ensure_people(session, _prepared(roster, today), now=now, keyring=keyring)))
    tomorrow = today + timedelta(days=1)
    connection = await driver(session)
    ended = await connection.fetch(
        """UPDATE roster_entries SET valid_to = $3
        WHERE pharmacy_id = $1 AND valid_to IS NULL AND person_id <> ALL($2::uuid[]) RETURNING id""",
        pharmacy.id,
        people,
        tomorrow,
    )
    # Left out this morning and named again this afternoon: never gone.
    returned = await connection.fetch(
        """UPDATE roster_entries SET valid_to = NULL
        WHERE pharmacy_id = $1 AND valid_to = $3 AND person_id = ANY($2::uuid[]) RETURNING id""",
        pharmacy.id,
        people,
        tomorrow,
    )
    begun = await connection.fetch(
        """INSERT INTO roster_entries (id, pharmacy_id, person_id, valid_from)
        SELECT new.id, $1, new.person_id, $4 FROM unnest($2::uuid[], $3::uuid[]) AS new (id, person_id)
        ON CONFLICT (pharmacy_id, person_id) WHERE valid_to IS NULL DO NOTHING RETURNING id""",
        pharmacy.id,
        new_ids(len(people)),
        people,
        today,
    )
    outcome = RosterSet(members=len(people), begun=len(begun) + len(returned), ended=len(ended))
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="roster.set",
        subject=("pharmacy", pharmacy.id),
        division=pharmacy.division,
        detail={"members": outcome.members, "begun": outcome.begun, "ended": outcome.ended},
    )
    if outcome.begun or outcome.ended:
        await jobs.enqueue(session, CHANGED, [{"pharmacy_id": pharmacy.id}])
    return outcome


def _prepared(roster: RosterIn, today: date) -> list[Presentation]:
    people: list[Presentation] = []
    errors: list[FieldError] = []
    for index, member in enumerate(roster.members):
        place = f"/members/{index}"
        prepared = prepare(PersonIn(name=member.name, document=member.document, phone=member.phone), today)
        if not isinstance(prepared, Presentation):
            errors.extend(FieldError(place + found.pointer, found.code, found.detail) for found in prepared)
        elif prepared.document is None and (prepared.name is None or prepared.phone is None):
            detail = "A document is needed, or a name with a phone"
            errors.append(FieldError(place, "member_unrecognisable", detail))
        else:
            people.append(prepared)
    if errors:
        raise InvalidRequest(errors=errors)
    return people
