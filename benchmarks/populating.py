"""Filling a database with a labelled city, through the service's own verbs where identities are sealed and hashed.

People go through `prepare` and `ensure_people`, cases through `record_cases`; registrations and their lines are copied in, because how
fast a till registers is another benchmark's question.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg

from app.auth.rules import SYSTEM
from app.cases.service import Recorded, record_cases
from app.core.clock import china_day
from app.core.database import Database
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from app.people.service import ensure_people
from benchmarks.labelled import Labelled, Purchase

CHUNK = 10_000
CHUNKS_AT_ONCE = 2
CASES_PER_BATCH = 10_000

_REGISTRATION = (
    *("id", "pharmacy_id", "client_reference", "content_digest", "revision", "division", "regime", "buyer_id"),
    *("patient_id", "purchased_at", "received_at", "symptoms", "flags", "sandbox"),
)
_ITEM = ("registration_id", "line", "drug_id", "resolved_by", "quantity")


async def add_purchases(
    database: Database, keyring: Keyring, purchases: Iterable[Purchase], now: datetime, first: int = 0
) -> list[UUID]:
    """Store purchases at the city's pharmacies in turn; return their ids, in order.

    While the server takes one chunk in, the next is written and sealed here.
    """
    stored: list[UUID] = []
    rows = iter(purchases)
    under_way: set[asyncio.Task[None]] = set()
    async with asyncpg.create_pool(database.url, min_size=1, max_size=CHUNKS_AT_ONCE) as source:
        pharmacies = await source.fetch("SELECT id, division FROM pharmacies ORDER BY id")
        drug: UUID = await source.fetchval("SELECT id FROM listed_drugs ORDER BY id LIMIT 1")
        while some := list(islice(rows, CHUNK)):
            if len(under_way) == CHUNKS_AT_ONCE:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(*done)
            ids = sorted(new_id() for _ in some)
            at = [pharmacies[number * 7919 % len(pharmacies)] for number in range(len(stored), len(stored) + len(some))]
            references = [f"SYN-{first + len(stored) + place:09d}" for place in range(len(some))]

            async def store(
                some: Sequence[Purchase] = some,
                ids: Sequence[UUID] = ids,
                at: Sequence[Any] = at,
                references: Sequence[str] = references,
            ) -> None:
                buyers = await _people(database, keyring, [one.buyer for one in some], now)
                ill = [one.patient for one in some if one.patient is not None]
                patients = iter(await _people(database, keyring, ill, now))
                records = [
                    (
                        *(registration_id, pharmacy["id"], reference, b"-", 1, pharmacy["division"], "register"),
                        *(buyer_id, None if one.patient is None else next(patients)),
                        *(one.purchased_at, one.received_at, [], [], False),
                    )
                    for registration_id, pharmacy, reference, buyer_id, one in zip(
                        ids, at, references, buyers, some, strict=True
                    )
                ]
                await source.copy_records_to_table("registrations", records=records, columns=_REGISTRATION)
                items = [(registration_id, 0, drug, "name", 1) for registration_id in ids]
                await source.copy_records_to_table("registration_items", records=items, columns=_ITEM)

            under_way.add(asyncio.create_task(store()))
            stored += ids
            await asyncio.sleep(0)  # let it begin
        await asyncio.gather(*under_way)
    return stored


async def _people(database: Database, keyring: Keyring, people: Sequence[PersonIn], now: datetime) -> list[UUID]:
    async with database.transaction() as session:
        return await ensure_people(session, [_prepared(one, now) for one in people], now=now, keyring=keyring)


def _prepared(person: PersonIn, now: datetime) -> Presentation:
    presented = prepare(person, china_day(now))
    if isinstance(presented, list):
        raise TypeError(f"a synthetic person was refused: {[problem.code for problem in presented]}")
    return presented


async def add_cases(database: Database, keyring: Keyring, cases: Sequence[Labelled], now: datetime) -> list[UUID]:
    """Upload a case list in batches, as an authority does; return the cases' ids, in order."""
    ids: list[UUID] = []
    for start in range(0, len(cases), CASES_PER_BATCH):
        rows = [case.row for case in cases[start : start + CASES_PER_BATCH]]
        async with database.transaction() as session:
            outcomes = await record_cases(session, rows, actor=SYSTEM, now=now, keyring=keyring)
        for outcome in outcomes:
            if not isinstance(outcome, Recorded):
                raise TypeError(f"a synthetic case was refused: {[error.code for error in outcome.errors]}")
            ids.append(outcome.id)
    return ids


def as_listed(purchase: Purchase, case: Labelled) -> Purchase:
    """Return the purchase as made by somebody who shows what the case list has."""
    return replace(purchase, buyer=case.row.person)


async def settle(url: str) -> None:
    """Gather statistics, which the server does by itself some time after such a load."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()
