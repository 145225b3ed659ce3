"""The set of matches depends on the facts alone: any order, any borders of batches, any moment at which a worker comes by.

Hypothesis writes a story of purchases, case lists and reclassifications about very few people, whose names, phones and
documents collide. The verbs and the worker play it. What counts at the end must be what a model says that knows nothing of the
service: it looks at every pair of a purchase and a case.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.cases.schemas import CaseIn, ClassificationIn
from app.cases.service import CHANGED, Recorded, reclassify_case, record_cases
from app.core import jobs
from app.core.clock import CHINA
from app.core.database import BoundDatabase, Database
from app.core.sealing import Keyring
from app.registrations.schemas import RegistrationIn
from app.registrations.service import RECORDED, Submission, record_registrations
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN
from tests.factories.identities import flow_worker, old_form, resident_number
from tests.factories.world import a_case, a_purchase, build_world

NOW = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
CONFIRMED_AT = datetime(2026, 2, 14, 16, 0, tzinfo=UTC)
"""Midnight at the beginning of the 15th in China."""

A, B = resident_number(1), resident_number(2)
DOCUMENTS: dict[str, tuple[str, str, str]] = {
    # What is shown; the document that it is.
    "A": ("resident_id", A, "A"),
    "A before 1999": ("resident_id", old_form(A), "A"),
    "A on an insurance card": ("medical_insurance_card", A, "A"),
    "B": ("resident_id", B, "B"),
    "passport": ("passport", "E12345678", "passport"),
    "permit": ("hk_macau_permit", "H1234567800", "permit"),
    "permit renewed": ("hk_macau_permit", "H1234567801", "permit"),
}
ONSETS = (date(2026, 1, 20), date(2026, 2, 14))
# Each window's borders, a microsecond before midnight in China and at midnight.
PURCHASES = [
    datetime(2026, month, day, tzinfo=CHINA) - timedelta(microseconds=before)
    for month, day in ((1, 31), (2, 1), (2, 10), (2, 20))
    for before in (1, 0)
]


@dataclass(frozen=True)
class Shown:
    """What somebody shows or what a list tells of somebody."""

    name: str | None
    phone: str | None
    document: str | None

    def as_json(self) -> dict[str, Any]:
        kind, number, _ = DOCUMENTS[self.document] if self.document else (None, None, None)
        document = None if kind is None else {"type": kind, "number": number}
        return {"name": self.name, "phone": self.phone, "document": document}

    def excerpt(self) -> "Shown":
        """Return what a list tells that knows one thing only."""
        if self.document:
            return Shown(None, None, self.document)
        return Shown(None, self.phone, None) if self.phone else Shown(self.name, None, None)

    @property
    def is_somebody(self) -> bool:
        return bool(self.name or self.phone or self.document)


PEOPLE = st.builds(
    Shown,
    st.sampled_from([None, *["王小样"] * 4, "李小样"]),
    st.sampled_from([None, *["13800138000"] * 4, "13800138001"]),
    st.sampled_from([None, "A", "B", *DOCUMENTS]),
).filter(lambda shown: shown.is_somebody)


@dataclass(frozen=True)
class Purchase:
    at: datetime
    buyer: Shown
    patient: Shown | None


@dataclass(frozen=True)
class Listed:
    number: int
    person: Shown
    classification: str
    onset_on: date | None


@dataclass(frozen=True)
class Reclassified:
    number: int
    classification: str


@dataclass(frozen=True)
class Drained:
    """A worker comes by and does all the jobs of one kind, or repeats them all."""

    kind: str


def _classified(*but: str) -> st.SearchStrategy[str]:
    return st.sampled_from([c for c in ("suspected", "probable", "confirmed", "discarded") if c not in but])


NUMBERS = st.integers(0, 3)
PURCHASED = st.builds(Purchase, st.sampled_from(PURCHASES), PEOPLE, st.none() | PEOPLE)
LISTED = st.builds(Listed, NUMBERS, PEOPLE, _classified("discarded"), st.none() | st.sampled_from(ONSETS))
Step = list[Purchase] | list[Listed] | Reclassified | Drained
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.lists(PURCHASED, min_size=1, max_size=4),
    st.lists(LISTED, min_size=1, max_size=4),
    st.builds(Reclassified, NUMBERS, _classified()),
    st.builds(Drained, st.sampled_from(["registrations", "cases", "again"])),
)

Match = tuple[int, int, str, str]
"""Index of the purchase, number of the case, role, strength."""


@dataclass
class Known:
    """A case as the model knows it."""

    person: Shown
    classification: str
    onset_on: date | None

    def learn(self, told: Listed) -> None:
        self.person = Shown(
            self.person.name or told.person.name,
            self.person.phone or told.person.phone,
            self.person.document or told.person.document,
        )
        self.classification = told.classification
        self.onset_on = self.onset_on or told.onset_on


def strength(one: Shown, other: Shown) -> str | None:
    """What two presentations are worth together, by the words of the domain."""
    mine, theirs = (DOCUMENTS[shown.document][2] if shown.document else None for shown in (one, other))
    if mine is not None and mine == theirs:
        return "certain"
    if one.name is None or one.phone is None or (one.name, one.phone) != (other.name, other.phone):
        return None
    residents = [shown.document in ("A", "A before 1999", "B") for shown in (one, other)]
    return None if all(residents) else "strong"


def model(purchases: list[Purchase], cases: dict[int, Known]) -> Iterator[Match]:
    """Look at every pair."""
    for index, purchase in enumerate(purchases):
        for number, case in cases.items():
            confirmed_on = date(2026, 2, 15) if case.classification == "confirmed" else None
            anchor = case.onset_on or confirmed_on
            day = purchase.at.astimezone(CHINA).date()
            if case.classification == "discarded":
                continue
            if anchor and not anchor - timedelta(days=14) <= day <= anchor + timedelta(days=30):
                continue
            for role, person in (("buyer", purchase.buyer), ("patient", purchase.patient)):
                if person and (worth := strength(person, case.person)):
                    yield index, number, role, worth


@dataclass
class Play:
    """One story, played by the verbs."""

    database: Database
    keyring: Keyring
    till: Any
    authority: Any
    purchases: list[Purchase] = field(default_factory=list)
    ids: dict[UUID, int] = field(default_factory=dict)
    cases: dict[int, Known] = field(default_factory=dict)
    case_ids: dict[int, UUID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.workers = {}
        for kind in ("registrations", "cases"):
            worker = flow_worker(self.database, self.keyring, SettableClock(NOW))
            for name in [name for name in worker.registry.transactional_work if not name.startswith(kind)]:
                del worker.registry.transactional_work[name]
            self.workers[kind] = worker

    async def take(self, step: Step) -> None:
        match step:
            case Drained("again"):
                await self.repeat()
            case Drained(kind):
                await self.workers[kind].drain()
            case Reclassified():
                await self.reclassify(step)
            case [Purchase(), *_]:
                await self.register(cast("list[Purchase]", step))
            case _:
                await self.tell(cast("list[Listed]", step))

    async def register(self, purchases: list[Purchase]) -> None:
        rows = [
            a_purchase(
                f"SYN-{len(self.purchases) + at}",
                purchased_at=purchase.at.isoformat(),
                buyer=purchase.buyer.as_json(),
                patient=None if purchase.patient is None else purchase.patient.as_json() | {"temperature_c": 36.6},
            )
            for at, purchase in enumerate(purchases)
        ]
        submissions = [Submission(self.till, RegistrationIn.model_validate(row)) for row in rows]
        async with self.database.transaction() as session:
            outcomes = await record_registrations(session, submissions, now=NOW, keyring=self.keyring)
        for outcome, purchase in zip(outcomes, purchases, strict=True):
            assert not isinstance(outcome, Exception), getattr(outcome, "errors", outcome)
            self.ids[outcome.id] = len(self.purchases)
            self.purchases.append(purchase)

    async def tell(self, rows: list[Listed]) -> None:
        bodies = [
            a_case(
                f"SYN-{row.number}",
                person=row.person.as_json(),
                classification=row.classification,
                onset_on=row.onset_on,
                confirmed_at=CONFIRMED_AT if row.classification == "confirmed" else None,
            )
            for row in rows
        ]
        async with self.database.transaction() as session:
            outcomes = await record_cases(
                session,
                [CaseIn.model_validate(body) for body in bodies],
                actor=self.authority,
                now=NOW,
                keyring=self.keyring,
            )
        for row, outcome in zip(rows, outcomes, strict=True):
            if not isinstance(outcome, Recorded):
                assert outcome.status == 409
                assert row.number in self.cases
            elif outcome.status == "created":
                assert row.number not in self.cases
                self.cases[row.number] = Known(row.person, row.classification, row.onset_on)
                self.case_ids[row.number] = outcome.id
            else:
                self.cases[row.number].learn(row)

    async def reclassify(self, step: Reclassified) -> None:
        if step.number not in self.cases:
            return
        change = ClassificationIn.model_validate(
            {
                "classification": step.classification,
                "reason": "-",
                "confirmed_at": CONFIRMED_AT if step.classification == "confirmed" else None,
            }
        )
        async with self.database.transaction() as session:
            await reclassify_case(
                session, self.case_ids[step.number], change, actor=self.authority, now=NOW, keyring=self.keyring
            )
        self.cases[step.number].classification = step.classification

    async def repeat(self) -> None:
        """Do again all jobs there ever were."""
        async with self.database.transaction() as session:
            await jobs.enqueue(session, RECORDED, [{"registration_ids": list(self.ids)}])
            await jobs.enqueue(session, CHANGED, [{"case_ids": list(self.case_ids.values())}])
        await self.drain()

    async def drain(self) -> None:
        for worker in self.workers.values():
            await worker.drain()
        assert await self.rows("SELECT kind, last_error FROM jobs") == []

    async def rows(self, query: str) -> list[Any]:
        async with self.database.transaction() as session:
            return list((await session.execute(text(query))).all())

    async def counted(self) -> set[Match]:
        numbers = {case_id: number for number, case_id in self.case_ids.items()}
        stored = await self.rows(
            "SELECT registration_id, case_id, role, strength FROM matches WHERE status = 'counted'"
        )
        return {(self.ids[row[0]], numbers[row[1]], row[2], row[3]) for row in stored}

    async def told(self) -> set[tuple[str, str]]:
        """The matches that subscribers hold to be so: not told of their withdrawal since they were told of last."""
        rows = await self.rows(
            "SELECT match_id, kind, split_part(key, ':', 3)::int AS turn, count(*) FROM alerts"
            " WHERE match_id IS NOT NULL GROUP BY match_id, kind, turn ORDER BY match_id, turn"
        )
        assert all((turn % 2 == 1) == (kind == "case.matched") for _, kind, turn, _ in rows)
        assert all(count == 1 for _, kind, _, count in rows if kind == "match.withdrawn")
        last = {match_id: kind for match_id, kind, _, _ in rows}
        return {match_id for match_id, kind in last.items() if kind == "case.matched"}


@pytest.fixture
async def play(database: Database, keyring: Keyring) -> Play:
    world = await build_world(database)
    return Play(
        database,
        keyring,
        await keys.actor(database, "pharmacy", pharmacy_ids=world.pharmacies),
        await keys.actor(database, "health_authority", FUTIAN),
    )


@asynccontextmanager
async def fresh(play: Play) -> AsyncIterator[Play]:
    """Play a story of its own on the same stage; take all of it back."""
    assert isinstance(play.database, BoundDatabase)
    async with play.database._connection.begin_nested() as story:
        yield Play(play.database, play.keyring, play.till, play.authority)
        await story.rollback()


_STATE = "SELECT * FROM matches ORDER BY id", "SELECT id, state FROM alerts ORDER BY id", "SELECT count(*) FROM events"

bounded = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


class TestTheSetOfMatches:
    @bounded
    @given(steps=st.lists(STEPS, min_size=2, max_size=12))
    async def test_depends_on_the_facts_alone(self, play: Play, steps: list[Step]) -> None:
        async with fresh(play) as story:
            for step in steps:
                await story.take(step)
            await story.drain()
            assert await story.counted() == set(model(story.purchases, story.cases))
            counted = await story.rows("SELECT id FROM matches WHERE status = 'counted'")
            assert await story.told() == {row.id for row in counted}
            before = [await story.rows(query) for query in _STATE]
            await story.repeat()
            assert [await story.rows(query) for query in _STATE] == before

    @settings(bounded, max_examples=20)
    @given(
        purchases=st.lists(PURCHASED, min_size=1, max_size=6),
        rows=st.lists(LISTED, min_size=1, max_size=4, unique_by=lambda row: row.number),
        data=st.data(),
    )
    async def test_is_the_same_in_every_order(
        self, play: Play, purchases: list[Purchase], rows: list[Listed], data: st.DataObject
    ) -> None:
        """With its evidence: a match found at first sight and one that grew as more was told say the same."""
        thin: list[Step] = [[replace(row, person=row.person.excerpt(), onset_on=None)] for row in rows]
        facts: list[Step] = [*([purchase] for purchase in purchases), *([row] for row in rows), *thin]
        results = []
        for order in (
            [purchases, rows],
            data.draw(st.permutations([*facts, *[Drained("registrations"), Drained("cases")] * 3])),
        ):
            async with fresh(play) as story:
                for step in order:
                    await story.take(step)
                await story.drain()
                evidence = await story.rows(
                    "SELECT c.case_number, r.purchased_at, m.role, m.strength, m.evidence"
                    " FROM matches m JOIN cases c ON c.id = m.case_id"
                    " JOIN registrations r ON r.id = m.registration_id WHERE m.status = 'counted'"
                )
                results.append(sorted((*row[:4], sorted(row.evidence.items())) for row in evidence))
        assert results[0] == results[1]

    async def test_survives_ten_withdrawals(self, play: Play) -> None:
        person = Shown("王小样", "13800138000", "A")
        at = PURCHASES[3]
        await play.take([Purchase(at, person, None), Purchase(at, Shown("李小样", "13800138001", None), person)])
        await play.take([Listed(0, person, "confirmed", ONSETS[1])])
        await play.drain()
        before = await play.counted()
        assert before == {(0, 0, "buyer", "certain"), (1, 0, "patient", "certain")}
        for _ in range(10):
            await play.take(Reclassified(0, "discarded"))
            await play.drain()
            assert await play.counted() == set()
            await play.take(Reclassified(0, "confirmed"))
            await play.drain()
            assert await play.counted() == before
        assert len(await play.told()) == 2
        assert await play.rows("SELECT DISTINCT turn FROM matches") == [(21,)]
