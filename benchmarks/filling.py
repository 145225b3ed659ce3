"""Filling a database with a labelled city, through the service's own verbs where identities are sealed and hashed.

People go through `prepare` and `ensure_people`, cases through `record_cases`; registrations and their lines are copied in, because how
fast a till registers is another benchmark's question.
"""

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
CASES_PER_BATCH = 10_000

_REGISTRATION = (
    *("id", "pharmacy_id", "client_reference", "content_digest", "revision", "division", "regime", "buyer_id"),
    *("patient_id", "purchased_at", "received_at", "symptoms", "flags", "sandbox"),
)
_ITEM = ("registration_id", "line", "drug_id", "resolved_by", "quantity")


async def add_purchases(
    database: Database, keyring: Keyring, purchases: Iterable[Purchase], now: datetime, first: int = 0
) -> list[UUID]:
    """Store purchases at the city's pharmacies in turn; return their ids, in order."""
    source = await asyncpg.connect(database.url)
    try:
        pharmacies = await source.fetch("SELECT id, division FROM pharmacies ORDER BY id")
        drug: UUID = await source.fetchval("SELECT id FROM listed_drugs ORDER BY id LIMIT 1")
        stored: list[UUID] = []
        rows = iter(purchases)
        while some := list(islice(rows, CHUNK)):
            buyers = await _people(database, keyring, [one.buyer for one in some], now)
            ill = [one.patient for one in some if one.patient is not None]
            patients = iter(await _people(database, keyring, ill, now))
            ids = sorted(new_id() for _ in some)
            records: list[tuple[Any, ...]] = []
            for number, (registration_id, buyer_id, one) in enumerate(
                zip(ids, buyers, some, strict=True), start=first + len(stored)
            ):
                pharmacy = pharmacies[number * 7919 % len(pharmacies)]
                patient_id = None if one.patient is None else next(patients)
                records.append(
                    (
                        *(registration_id, pharmacy["id"], f"SYN-{number:09d}", b"-", 1, pharmacy["division"]),
                        *("register", buyer_id, patient_id, one.purchased_at, one.received_at, [], [], False),
                    )
                )
            await source.copy_records_to_table("registrations", records=records, columns=_REGISTRATION)
            items = [(registration_id, 0, drug, "name", 1) for registration_id in ids]
            await source.copy_records_to_table("registration_items", records=items, columns=_ITEM)
            stored += ids
        return stored
    finally:
        await source.close()


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
