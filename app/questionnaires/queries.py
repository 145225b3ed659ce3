"""Looking up questionnaires."""

from collections.abc import Collection, Sequence
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.snapshots import Snapshot
from app.divisions.rules import ancestors
from app.questionnaires.models import Questionnaire
from app.questionnaires.rules import Form, FormBook
from app.questionnaires.schemas import Question, QuestionnaireFilter

_QUESTIONS: TypeAdapter[list[Question]] = TypeAdapter(list[Question])


async def load_forms(session: AsyncSession) -> FormBook:
    """Read all versions of all questionnaires."""
    return FormBook(
        Form(
            row.id,
            row.division,
            row.disease,
            row.version,
            row.valid_from,
            row.valid_to,
            _QUESTIONS.validate_python(row.questions),
        )
        for row in await session.scalars(select(Questionnaire))
    )


QUESTIONNAIRES = Snapshot("questionnaires", load_forms)
"""All questionnaires in memory: `(await QUESTIONNAIRES.get(session)).asked(division, day, diseases).judge(answers)`."""


async def find_newest(session: AsyncSession, division: str, disease: str) -> Questionnaire | None:
    """Return the latest version that this very division has declared for a disease."""
    query = (
        select(Questionnaire)
        .where(Questionnaire.division == division, Questionnaire.disease == disease)
        .order_by(Questionnaire.version.desc())
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def find_questionnaires(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, Questionnaire]:
    """Return these versions by their ids."""
    rows = await session.scalars(select(Questionnaire).where(Questionnaire.id.in_(ids)))
    return {row.id: row for row in rows}


async def list_questionnaires(
    session: AsyncSession, *, scope: str | None, filters: QuestionnaireFilter, limit: int, before: UUID | None
) -> Sequence[Questionnaire]:
    """Return versions, the one declared last first: those of the scope, those below it, and those above it, which hold there
    as well.
    """
    query = select(Questionnaire).order_by(Questionnaire.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Questionnaire.id < before)
    if scope is not None:
        query = query.where(Questionnaire.division.startswith(scope) | Questionnaire.division.in_(ancestors(scope)))
    if filters.division is not None:
        query = query.where(Questionnaire.division.startswith(filters.division))
    if filters.disease is not None:
        query = query.where(Questionnaire.disease == filters.disease)
    return (await session.scalars(query)).all()
