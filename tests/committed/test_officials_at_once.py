"""Two officials at the same moment: what each checks must still be true when it is written."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.models import Account
from app.auth.rules import SYSTEM, Role
from app.core.database import Database
from app.core.errors import AppError
from app.pharmacies.schemas import PharmacyIn
from app.pharmacies.service import enrol_pharmacy, issue_pharmacy_key
from app.questionnaires.models import Questionnaire
from app.questionnaires.schemas import QuestionnaireIn
from app.questionnaires.service import declare_questionnaire
from app.regimes.schemas import RegimeIn
from app.regimes.service import declare_regime
from tests.conftest import MOMENT
from tests.factories.divisions import FUTIAN, load_divisions
from tests.factories.pharmacies import enrolled, pharmacy_body
from tests.questionnaires.test_routes import a_questionnaire
from tests.questionnaires.test_rules import number

AT_ONCE = 5


async def all_at_once(database: Database, act: Callable[[AsyncSession], Awaitable[Any]]) -> list[str]:
    """Run a verb several times at once, each in a transaction of its own; return what became of each."""

    async def once() -> str:
        try:
            async with database.transaction() as session:
                await act(session)
        except AppError as refused:
            return refused.code
        return "done"

    return sorted(await asyncio.gather(*(once() for _ in range(AT_ONCE))))


class TestOfficialsAtOnce:
    async def test_declare_a_regime_once(self, committed: Database) -> None:
        await load_divisions(committed)
        declared = RegimeIn.model_validate(
            {"division": FUTIAN, "disease": "covid-19", "state": "register", "valid_from": date(2026, 1, 1)}
        )
        outcome = await all_at_once(
            committed, lambda session: declare_regime(session, declared, actor=SYSTEM, now=MOMENT)
        )
        assert outcome == ["done", *["regime_overlap"] * (AT_ONCE - 1)]

    async def test_declare_versions_of_a_questionnaire_one_after_the_other(self, committed: Database) -> None:
        await load_divisions(committed)
        maxima = iter(range(AT_ONCE))

        async def declare(session: AsyncSession) -> None:
            told = a_questionnaire(number(maximum=60 + next(maxima) // 2))  # two and two say the same
            await declare_questionnaire(session, QuestionnaireIn.model_validate(told), actor=SYSTEM, now=MOMENT)

        assert await all_at_once(committed, declare) == ["done"] * AT_ONCE
        async with committed.transaction() as session:
            versions = (await session.scalars(select(Questionnaire.version).order_by(Questionnaire.version))).all()
            assert list(versions) == list(range(1, len(versions) + 1))
            assert len(versions) >= 3

    async def test_enrol_a_pharmacy_once(self, committed: Database) -> None:
        await load_divisions(committed)
        body = PharmacyIn.model_validate(pharmacy_body())
        outcome = await all_at_once(committed, lambda session: enrol_pharmacy(session, body, actor=SYSTEM, now=MOMENT))
        assert outcome == ["done", *["pharmacy_already_enrolled"] * (AT_ONCE - 1)]

    async def test_make_one_account_of_a_pharmacy_with_many_keys(self, committed: Database) -> None:
        await load_divisions(committed)
        pharmacy: UUID = await enrolled(committed)
        outcome = await all_at_once(
            committed, lambda session: issue_pharmacy_key(session, pharmacy, "till", actor=SYSTEM, now=MOMENT)
        )
        assert outcome == ["done"] * AT_ONCE
        async with committed.transaction() as session:
            accounts = await session.scalars(select(Account.pharmacy_ids).where(Account.role == Role.PHARMACY))
            assert accounts.all() == [[pharmacy]]
