"""Declaring what is asked."""

from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.core.clock import china_day
from app.core.errors import FieldError, InvalidRequest, OutOfDivision
from app.core.ids import new_id
from app.core.snapshots import changed, versions
from app.divisions.queries import DIVISIONS
from app.divisions.service import insist_on_known, require_known
from app.questionnaires.models import Questionnaire
from app.questionnaires.queries import QUESTIONNAIRES, find_newest, find_questionnaires
from app.questionnaires.schemas import QuestionnaireIn
from app.regimes.queries import REGIMES

_SHIPPED: TypeAdapter[list[QuestionnaireIn]] = TypeAdapter(list[QuestionnaireIn])


@dataclass(frozen=True, slots=True)
class Declared:
    """The version that holds what was declared, and whether it is a new one."""

    questionnaire: Questionnaire
    created: bool


async def read_asked(session: AsyncSession, division: str, on: date) -> list[Questionnaire]:
    """Return what is asked in a division on a calendar day in China: nothing where nobody is registered.

    Raises:
        DivisionUnknown: there is no such division.
    """
    known = await versions(session)
    insist_on_known(await DIVISIONS.get(session, known), division, "?division")
    regime = (await REGIMES.get(session, known)).regime_on(division, on)
    asked = (await QUESTIONNAIRES.get(session, known)).asked(division, on, regime.asking)
    found = await find_questionnaires(session, [form.id for form in asked.forms])
    return [found[form.id] for form in asked.forms]


async def declare_questionnaire(
    session: AsyncSession, wanted: QuestionnaireIn, *, actor: Actor, now: datetime, shipped: bool = False
) -> Declared:
    """Declare a new version of what is asked in a division for a disease. The same as the latest makes no new version.

    Raises:
        OutOfDivision: the division lies outside the actor's own.
        DivisionUnknown: there is no such division.
        InvalidRequest: it would begin on a day that is over; what was asked then cannot be changed.
    """
    if not actor.sees(wanted.division):
        raise OutOfDivision(errors=[FieldError("/division", "out_of_division", "Not within your division")])
    await require_known(session, wanted.division)
    await changed(session, QUESTIONNAIRES.name)  # also the lock under which versions are counted
    newest = await find_newest(session, wanted.division, wanted.disease)
    told = wanted.model_dump(mode="python", exclude={"questions"}) | {
        "questions": [question.model_dump(mode="json") for question in wanted.questions]
    }
    if newest is not None and all(getattr(newest, name) == value for name, value in told.items()):
        return Declared(newest, created=False)
    if wanted.valid_from < china_day(now) and not shipped:
        raise InvalidRequest(
            errors=[FieldError("/valid_from", "begins_in_past", "What was asked on a past day cannot be changed")]
        )
    questionnaire = Questionnaire(
        id=new_id(),
        version=1 if newest is None else newest.version + 1,
        shipped=shipped,
        declared_by=actor.account_id,
        declared_at=now,
        **told,
    )
    session.add(questionnaire)
    await session.flush()
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="questionnaire.declared",
        subject=("questionnaire", questionnaire.id),
        division=questionnaire.division,
        detail={
            "disease": questionnaire.disease,
            "version": questionnaire.version,
            "questions": len(wanted.questions),
            "valid_from": questionnaire.valid_from.isoformat(),
        },
    )
    return Declared(questionnaire, created=True)


async def load_shipped(session: AsyncSession, *, actor: Actor, now: datetime) -> list[Declared]:
    """Declare the questionnaires that ship with the package, each unless its division has one for the disease already."""
    shipped = (files("app.questionnaires") / "data" / "questionnaires.json").read_bytes()
    return [
        await declare_questionnaire(session, wanted, actor=actor, now=now, shipped=True)
        for wanted in _SHIPPED.validate_json(shipped)
        if await find_newest(session, wanted.division, wanted.disease) is None
    ]
