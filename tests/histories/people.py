"""What a synthetic person left behind: purchases at a counter and cases on a list, as rows."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import update

from app.cases.models import Case
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from app.people.service import ensure_people
from app.registrations.models import Registration
from tests.conftest import MOMENT
from tests.factories.rewards import PURCHASED, World

NUMBER, OTHER_NUMBER = "11010519491231002X", "440304199003070018"
WANG = {"name": "王小明", "document": {"type": "resident_id", "number": NUMBER}, "phone": "13800138000"}


async def presented(world: World, now: datetime = MOMENT, **members: Any) -> UUID:
    """Keep what somebody presented; Wang Xiaoming with his document and phone unless said otherwise."""
    presentation = prepare(PersonIn.model_validate(WANG | members), MOMENT.date())
    assert isinstance(presentation, Presentation), presentation
    return (await ensure_people(world.session, [presentation], now=now, keyring=world.keyring))[0]


async def bought(
    world: World,
    pharmacy: UUID,
    buyer: UUID | None,
    *,
    patient: UUID | None = None,
    at: datetime = PURCHASED,
    flags: list[str] | None = None,
) -> UUID:
    """A purchase with one listed item, by somebody (else) for somebody."""
    registration = await world.registration(pharmacy, buyer=buyer, purchased_at=at, flags=flags)
    if patient is not None:
        await world.session.execute(
            update(Registration).where(Registration.id == registration).values(patient_id=patient)
        )
    return registration


async def listed(world: World, person: UUID, division: str) -> UUID:
    """A confirmed case."""
    case = await world.case(division=division)
    await world.session.execute(update(Case).where(Case.id == case).values(person_id=person))
    return case
