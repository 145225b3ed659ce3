"""The set of matches depends on the facts alone: any order, any borders of batches, any moment at which a worker comes by.

Hypothesis writes a story of purchases, corrections, case lists, reclassifications and reviews about very few people, whose names,
phones and documents collide. The verbs and the worker play it. What stands at the end must be what a model says that knows nothing
of the service: it looks at every pair of a purchase and a case.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
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
from app.matching.reviews import review_match
from app.matching.rules import ALLOWED, Act
from app.matching.service import rematch
from app.registrations.corrections import correct_registration, void_registration
from app.registrations.schemas import CorrectionIn, RegistrationIn, VoidIn
from app.registrations.service import RECORDED, Submission, record_registrations
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, SHATOU
from tests.factories.identities import flow_worker
from tests.factories.world import a_case, a_purchase, build_world
from tests.matching.model import ELSEWHERE, PEOPLE, Known, Match, Model, Purchase, Shown

NOW = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
CONFIRMED_AT = datetime(2026, 2, 14, 16, 0, tzinfo=UTC)
"""Midnight at the beginning of the 15th in China."""

ONSETS = (date(2026, 1, 20), date(2026, 2, 14))
# Each window's borders, a microsecond before midnight in China and at midnight.
PURCHASES = [
    datetime(2026, month, day, tzinfo=CHINA) - timedelta(microseconds=before)
    for month, day in ((1, 31), (2, 1), (2, 10), (2, 20))
    for before in (1, 0)
]


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
class Corrected:
    """A till corrects one of its purchases, the nth, or voids it."""

    nth: int
    to: Purchase | None


@dataclass(frozen=True)
class Reviewed:
    """A reviewer looks at the nth match that can be decided like this, once the workers are done."""

    nth: int
    act: str


@dataclass(frozen=True)
class Drained:
    """A worker comes by and does all the jobs of one kind, repeats them all, or dies just before it commits."""

    kind: str


def _classified(*but: str) -> st.SearchStrategy[str]:
    return st.sampled_from([c for c in ("suspected", "probable", "confirmed", "discarded") if c not in but])


NUMBERS = st.integers(0, 3)
PURCHASED = st.builds(Purchase, st.sampled_from(PURCHASES), PEOPLE, st.none() | PEOPLE)
LISTED = st.builds(Listed, NUMBERS, PEOPLE, _classified("discarded"), st.none() | st.sampled_from(ONSETS))
Step = list[Purchase] | list[Listed] | Reclassified | Corrected | Reviewed | Drained
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.lists(PURCHASED, min_size=1, max_size=4),
    st.lists(LISTED, min_size=1, max_size=4),
    st.builds(Reclassified, NUMBERS, _classified()),
    st.builds(Corrected, NUMBERS, st.none() | PURCHASED),
    st.builds(Reviewed, st.integers(0, 5), st.sampled_from(["confirm", "reject", "reject", "reopen"])),
    st.builds(Drained, st.sampled_from(["registrations", "cases", "matches", "rewards", "again", "in vain"])),
)


def place_of(number: int) -> str:
    """The last of the cases lives in another city."""
    return ELSEWHERE if number == 3 else SHATOU


@dataclass
class Play:
    """One story, played by the verbs."""

    database: Database
    keyring: Keyring
    till: Any
    authority: Any
    reviewer: Any
    model: Model = field(default_factory=Model)
    ids: list[UUID] = field(default_factory=list)
    case_ids: dict[int, UUID] = field(default_factory=dict)
    acts: int = 0

    def __post_init__(self) -> None:
        self.workers = {}
        for kind in ("registrations", "cases", "matches", "rewards"):
            worker = flow_worker(self.database, self.keyring, SettableClock(NOW))
            for name in [name for name in worker.registry.transactional_work if not name.startswith(kind)]:
                del worker.registry.transactional_work[name]
            self.workers[kind] = worker

    async def take(self, step: Step) -> None:
        match step:
            case Drained("again"):
                await self.repeat()
            case Drained("in vain"):
                await self.crash()
            case Drained(kind):
                await self.workers[kind].drain()
            case Reclassified():
                await self.reclassify(step)
            case Corrected():
                await self.correct(step)
            case Reviewed():
                await self.review(step)
            case [Purchase(), *_]:
                await self.register(cast("list[Purchase]", step))
            case _:
                await self.tell(cast("list[Listed]", step))

    async def register(self, purchases: list[Purchase]) -> None:
        rows = [_purchase(purchase, f"SYN-{len(self.ids) + at}") for at, purchase in enumerate(purchases)]
        submissions = [Submission(self.till, RegistrationIn.model_validate(row)) for row in rows]
        async with self.database.transaction() as session:
            outcomes = await record_registrations(session, submissions, now=NOW, keyring=self.keyring)
        for outcome, purchase in zip(outcomes, purchases, strict=True):
            assert not isinstance(outcome, Exception), getattr(outcome, "errors", outcome)
            self.ids.append(outcome.id)
            self.model.purchases.append(purchase)

    async def correct(self, step: Corrected) -> None:
        if step.nth >= len(self.ids) or self.model.purchases[step.nth] is None:
            return
        self.acts += 1
        registration, how = self.ids[step.nth], {"actor": self.till, "now": NOW, "keyring": self.keyring}
        async with self.database.transaction() as session:
            if step.to is None:
                await void_registration(session, registration, VoidIn(reason="-"), **how)
            else:
                body = {"reason": f"synthetic {self.acts}", "registration": _purchase(step.to, f"SYN-{step.nth}")}
                await correct_registration(session, registration, CorrectionIn.model_validate(body), **how)
        self.model.purchases[step.nth] = step.to

    async def tell(self, rows: list[Listed]) -> None:
        bodies = [
            a_case(
                f"SYN-{row.number}",
                person=row.person.as_json(),
                classification=row.classification,
                onset_on=row.onset_on,
                confirmed_at=CONFIRMED_AT if row.classification == "confirmed" else None,
                division=place_of(row.number),
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
            known = self.model.cases.get(row.number)
            if not isinstance(outcome, Recorded):
                assert outcome.status == 409
                assert known is not None
            elif known is None:
                assert outcome.status == "created"
                place = place_of(row.number)
                self.model.cases[row.number] = Known(row.person, row.classification, row.onset_on, place)
                self.case_ids[row.number] = outcome.id
            else:
                known.person = known.person.joined(row.person)
                known.classification = row.classification
                known.onset_on = known.onset_on or row.onset_on

    async def reclassify(self, step: Reclassified) -> None:
        if step.number not in self.case_ids:
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
        self.model.cases[step.number].classification = step.classification

    async def review(self, step: Reviewed) -> None:
        """Decide on a match as it stands; until the next worker comes, rewards and alerts know nothing of it."""
        await self.drain()
        stored = {row[:3]: row for row in await self.rows(_STANDING)}
        to_decide = [
            match
            for match in sorted(self.model.matches())
            if match[5] in {status.value for status in ALLOWED[Act(step.act)]}
        ]
        if not to_decide:
            return
        index, number, role, _, strength, _ = to_decide[step.nth % len(to_decide)]
        match_id, act = stored[self.ids[index], self.case_ids[number], role].id, Act(step.act)
        async with self.database.transaction() as session:
            await review_match(session, match_id, act, reason="-", actor=self.reviewer, now=NOW, keyring=self.keyring)
        self.model.said[self.model.pair(index, number, role)] = (step.act, strength)

    async def repeat(self) -> None:
        """Do again all jobs there ever were."""
        async with self.database.transaction() as session:
            await jobs.enqueue(session, RECORDED, [{"registration_ids": self.ids}])
            await jobs.enqueue(session, CHANGED, [{"case_ids": list(self.case_ids.values())}])
        await self.drain()

    async def crash(self) -> None:
        """Let a worker do everything and die before it commits."""
        everything = {"registration_ids": self.ids, "case_ids": self.case_ids.values()}
        with suppress(ConnectionError):
            async with self.database.transaction() as session:
                await rematch(session, **everything, now=NOW, keyring=self.keyring)
                raise ConnectionError

    async def drain(self) -> None:
        for worker in self.workers.values():
            await worker.drain()
        assert await self.rows("SELECT kind, last_error FROM jobs") == []

    async def rows(self, query: str) -> list[Any]:
        async with self.database.transaction() as session:
            return list((await session.execute(text(query))).all())

    async def standing(self) -> set[Match]:
        """Return all matches but those that are withdrawn, in the words of the model."""
        numbers = {case_id: number for number, case_id in self.case_ids.items()}
        stored = await self.rows(_STANDING)
        return {
            (self.ids.index(row.registration_id), numbers[row.case_id], row.role, row.rule, row.strength, row.status)
            for row in stored
        }

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


_STANDING = """
SELECT registration_id, case_id, role, id, rule, strength, status FROM matches WHERE status <> 'withdrawn'
"""


def _purchase(purchase: Purchase, reference: str) -> dict[str, Any]:
    return a_purchase(
        reference,
        purchased_at=purchase.at.isoformat(),
        buyer=purchase.buyer.as_json(),
        patient=None if purchase.patient is None else purchase.patient.as_json() | {"temperature_c": 36.6},
    )


@pytest.fixture
async def play(database: Database, keyring: Keyring) -> Play:
    world = await build_world(database)
    return Play(
        database,
        keyring,
        await keys.actor(database, "pharmacy", pharmacy_ids=world.pharmacies),
        await keys.actor(database, "health_authority", "44"),
        await keys.actor(database, "epidemiologist", FUTIAN),
    )


@asynccontextmanager
async def fresh(play: Play) -> AsyncIterator[Play]:
    """Play a story of its own on the same stage; take all of it back."""
    assert isinstance(play.database, BoundDatabase)
    async with play.database._connection.begin_nested() as story:
        yield Play(play.database, play.keyring, play.till, play.authority, play.reviewer)
        await story.rollback()


_STATE = "SELECT * FROM matches ORDER BY id", "SELECT id, state FROM alerts ORDER BY id", "SELECT count(*) FROM events"

bounded = settings(
    max_examples=60,
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
            assert await story.standing() == set(story.model.matches())
            counted = await story.rows("SELECT id FROM matches WHERE status IN ('counted', 'confirmed')")
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
                    "SELECT c.case_number, r.purchased_at, m.role, m.rule, m.status, m.pair, m.evidence"
                    " FROM matches m JOIN cases c ON c.id = m.case_id"
                    " JOIN registrations r ON r.id = m.registration_id WHERE m.status <> 'withdrawn'"
                )
                results.append(sorted((*row[:4], sorted(row.evidence.items())) for row in evidence))
        assert results[0] == results[1]

    async def test_survives_ten_withdrawals(self, play: Play) -> None:
        person, permit = Shown("王小样", "13800138000", "A"), Shown("汪晓阳", "13800138000", "permit")
        await play.take([Purchase(PURCHASES[3], person, None), Purchase(PURCHASES[3], permit, person)])
        await play.take([Listed(0, person, "confirmed", ONSETS[1])])
        await play.drain()
        await play.take(Reviewed(0, "confirm"))
        await play.drain()
        before = await play.standing()
        assert before == {
            (0, 0, "buyer", "document/1", "certain", "counted"),
            (1, 0, "buyer", "phone_sound/1", "possible", "confirmed"),
            (1, 0, "patient", "document/1", "certain", "counted"),
        }
        for _ in range(10):
            await play.take(Reclassified(0, "discarded"))
            await play.drain()
            assert await play.standing() == set()
            await play.take(Reclassified(0, "confirmed"))
            await play.drain()
            assert await play.standing() == before
        assert len(await play.told()) == 3
        assert await play.rows("SELECT DISTINCT turn FROM matches") == [(21,)]
