"""Judging everything anew: harmless, and what an upgrade needs. All people are synthetic."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.cases.schemas import CaseIn
from app.cases.service import record_cases
from app.core.database import Database
from app.core.sealing import Keyring
from app.registrations.schemas import RegistrationIn
from app.registrations.service import Submission, record_registrations
from app.rematching import Rematch, Tally
from tests.conftest import MOMENT, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN
from tests.factories.identities import flow_worker
from tests.factories.world import a_case, a_person, a_purchase, build_world

PASSPORT = a_person(phone=None, document={"type": "passport", "number": "E12345678"})
BUYERS = [a_person(), PASSPORT, a_person(name="李小样", phone="13900139000")]
LISTED = [{"name": "王小样", "document": {"type": "passport", "number": f"E1234567{n}"}} for n in range(5)]


@pytest.fixture
async def rematch(database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> Rematch:
    """Purchases and cases that were matched as they came, and a run in small chunks."""
    monkeypatch.setattr("app.rematching.CASES_AT_ONCE", 2)
    monkeypatch.setattr("app.rematching.PEOPLE_AT_ONCE", 3)
    world = await build_world(database)
    till = await keys.actor(database, "pharmacy", pharmacy_ids=world.pharmacies)
    authority = await keys.actor(database, "health_authority", FUTIAN)
    rows = [RegistrationIn.model_validate(a_purchase(f"SYN-{n}", buyer=buyer)) for n, buyer in enumerate(BUYERS)]
    cases = [{"name": "王小样", "phone": "13800138000"}, *LISTED]
    told = [
        CaseIn.model_validate(a_case(f"SYN-{n}", person=person, classification="suspected", confirmed_at=None))
        for n, person in enumerate(cases)
    ]
    async with database.transaction() as session:
        await record_registrations(session, [Submission(till, row) for row in rows], now=MOMENT, keyring=keyring)
        await record_cases(session, told, actor=authority, now=MOMENT, keyring=keyring)
    clock = SettableClock(MOMENT)
    await flow_worker(database, keyring, clock).drain()
    return Rematch(database, SettableClock(MOMENT.replace(hour=5)), keyring)


async def run(rematch: Rematch) -> tuple[Tally, list[int]]:
    steps: list[int] = []
    assert isinstance(rematch.clock, SettableClock)
    rematch.clock.moment += timedelta(minutes=1)
    return await rematch.run(steps.append), steps


async def state(rematch: Rematch) -> list[object]:
    async with rematch.database.transaction() as session:
        found = [
            (await session.execute(text(query))).all()
            for query in ("SELECT * FROM matches ORDER BY id", "SELECT id, state FROM alerts ORDER BY id")
        ]
    return [*found[0], *found[1]]


async def execute(rematch: Rematch, *statements: str) -> None:
    async with rematch.database.transaction() as session:
        for statement in statements:
            await session.execute(text(statement))


class TestARematch:
    async def test_of_what_is_in_line_changes_nothing(self, rematch: Rematch) -> None:
        before = await state(rematch)
        assert len(before) > 1
        assert await rematch.count() == 6
        tally, steps = await run(rematch)
        assert (tally.cases, tally.people, dict(tally.changed), steps) == (6, 0, {}, [2, 2, 2])
        assert await state(rematch) == before

    async def test_finds_whom_new_marks_tell(self, rematch: Rematch) -> None:
        before = await state(rematch)
        possible = "SELECT count(*) FROM matches WHERE status = 'possible'"
        async with rematch.database.transaction() as session:
            waiting = (await session.execute(text(possible))).scalar_one()
        assert waiting == 5
        await execute(
            rematch,
            "DELETE FROM matches WHERE status = 'possible'",
            "DELETE FROM document_marks",
            "UPDATE people SET name_birth_hash = NULL",
        )
        tally, _ = await run(rematch)
        # Everybody but the one who is known by name and phone alone.
        assert (tally.people, dict(tally.changed)) == (8, {"possible": waiting})
        assert len(await state(rematch)) == len(before)
        tally, _ = await run(rematch)
        assert (tally.people, dict(tally.changed)) == (0, {})

    async def test_judges_anew_what_an_older_version_found(self, rematch: Rematch) -> None:
        await execute(rematch, "UPDATE matches SET rule = 'phone_name/0' WHERE strength = 'strong'")
        tally, _ = await run(rematch)
        assert dict(tally.changed) == {"counted": 1}
        tally, _ = await run(rematch)
        assert dict(tally.changed) == {}

    async def test_stands_in_the_trail(self, rematch: Rematch) -> None:
        await run(rematch)
        async with rematch.database.transaction() as session:
            rows = await session.scalars(
                text("SELECT detail FROM audit_entries WHERE action = 'matches.rematched' AND role = 'system'")
            )
            assert rows.all() == [{"cases": 6, "people": 0}]
