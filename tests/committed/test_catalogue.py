import asyncio
from datetime import date

from sqlalchemy import func, select

from app.auth.rules import SYSTEM
from app.catalogue.imports import import_lists
from app.catalogue.models import DrugList
from app.catalogue.queries import CATALOGUE
from app.core.database import Database
from tests.conftest import MOMENT
from tests.factories.divisions import load_divisions

HEADER = "list,list_name,division,valid_from,wording,kind,syndrome"


def lines(*wordings: str) -> list[str]:
    return [HEADER, *(f"sz,Synthetic list,4403,2026-01-01,{wording},chemical,fever" for wording in wordings)]


class TestOneListLoadedByManyAtOnce:
    async def test_becomes_one_version_per_content(self, committed: Database) -> None:
        await load_divisions(committed)

        async def load(*wordings: str) -> None:
            async with committed.transaction() as session:
                await import_lists(session, lines(*wordings), actor=SYSTEM, now=MOMENT)

        await asyncio.gather(*(load("布洛芬") for _ in range(8)))
        async with committed.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(DrugList)) == 1
        await asyncio.gather(*(load("布洛芬", f"某药{number}号") for number in range(8)))
        async with committed.transaction() as session:
            versions = (await session.scalars(select(DrugList.version).order_by(DrugList.version))).all()
            edition = (await CATALOGUE.get(session)).edition("440304", date(2026, 2, 15))
        assert versions == list(range(1, 10))
        assert [(one.version, len(one.drugs)) for one in edition.lists] == [(9, 2)]
