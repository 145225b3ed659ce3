"""Statements of one day that arrive at the same moment, with real commits."""

import asyncio
from datetime import timedelta
from random import Random

from sqlalchemy import select

from app.core.database import Database
from app.core.sealing import Keyring
from app.sales.models import SalesStatement
from app.sales.schemas import SalesIn
from app.sales.service import report_sales
from tests.conftest import MOMENT
from tests.factories import keys
from tests.factories.world import build_world


class TestStatementsOfOneDay:
    async def test_leave_the_one_stated_last_in_force_however_they_collide(
        self, committed: Database, keyring: Keyring
    ) -> None:
        world = await build_world(committed)
        actor = await keys.actor(committed, "pharmacy", pharmacy_ids=world.pharmacies)
        statements = [
            SalesIn.model_validate(
                {
                    "day": MOMENT.date(),
                    "stated_at": MOMENT - timedelta(minutes=60 - number),
                    "items": [{"name": "布洛芬缓释胶囊", "quantity": number}],
                }
            )
            for number in range(8)
        ]

        async def send(stated: SalesIn) -> bool:
            async with committed.transaction() as session:
                return (await report_sales(session, stated, actor=actor, now=MOMENT, keyring=keyring)).duplicate

        arrivals = statements * 3
        Random(7).shuffle(arrivals)
        repeats = await asyncio.gather(*(send(stated) for stated in arrivals))
        assert sum(repeats) == len(arrivals) - len(statements)
        async with committed.transaction() as session:
            kept = (await session.scalars(select(SalesStatement))).all()
        assert sorted(one.revision for one in kept) == list(range(1, len(statements) + 1))
        assert [one.stated_at for one in kept if one.in_force] == [statements[-1].stated_at]
