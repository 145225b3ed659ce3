"""Questionnaires: tills read what to ask, officials declare it."""

import hashlib
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Query, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.clock import china_day
from app.core.http import Now, Router, Transaction, unless_held
from app.core.pagination import Page, Paging
from app.questionnaires import queries, service
from app.questionnaires.schemas import (
    AskedFilter,
    AskedOut,
    QuestionnaireFilter,
    QuestionnaireIn,
    QuestionnaireOut,
)

router = Router(prefix="/v1/questionnaires", tags=["questionnaires"])

Reader = Annotated[Actor, Depends(requires(Permission.READ_QUESTIONNAIRES))]


@router.get(
    "",
    response_model=AskedOut,
    responses={304: {"description": "Nothing has changed since the answer that carried this ETag"}},
)
async def read_questionnaires(
    place: Annotated[AskedFilter, Query()],
    session: Transaction,
    now: Now,
    actor: Reader,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """What to ask at a place on a day: for each disease for which purchases are registered there, its questionnaire.

    A till keeps the answer and sends its ETag along the next time: 304 means that what it has still holds.
    """
    rows = await service.read_asked(session, place.division, place.on or china_day(now))
    body = AskedOut(questionnaires=[QuestionnaireOut.model_validate(row) for row in rows]).model_dump_json().encode()
    fingerprint = hashlib.sha256(body).hexdigest()[:32]
    return unless_held(if_none_match, fingerprint, lambda: body)


@router.get("/versions")
async def list_questionnaires(
    session: Transaction,
    actor: Reader,
    filters: Annotated[QuestionnaireFilter, Query()],
    paging: Paging,
) -> Page[QuestionnaireOut]:
    """List all versions, the one declared last first: of your division, of those below it and of those above it."""
    rows = await queries.list_questionnaires(
        session,
        scope=actor.division,
        filters=filters,
        limit=paging.wanted,
        before=paging.after(UUID),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.id,))
    return Page(items=[QuestionnaireOut.model_validate(row) for row in shown], next_cursor=cursor)


@router.post(
    "",
    status_code=201,
    responses={200: {"model": QuestionnaireOut, "description": "The latest version says the same already"}},
)
async def declare_questionnaire(
    body: QuestionnaireIn,
    session: Transaction,
    now: Now,
    actor: Annotated[Actor, Depends(requires(Permission.DECLARE_QUESTIONNAIRES))],
    response: Response,
) -> QuestionnaireOut:
    """Declare what shall be asked in a division for a disease, from today or a later day on. Earlier versions stay."""
    declared = await service.declare_questionnaire(session, body, actor=actor, now=now)
    if not declared.created:
        response.status_code = 200
    return QuestionnaireOut.model_validate(declared.questionnaire)
