"""`sentinel rematch` and `sentinel jobs` as an operator runs them."""

from sqlalchemy import text

from app.core.database import Database
from app.core.sealing import Keyring
from tests.factories.commands import sentinel
from tests.factories.world import build_world

DEAD = """
INSERT INTO jobs (kind, payload, max_attempts, attempts, state, last_error)
SELECT 'registrations.recorded', '{}', 3, 3, 'dead', 'ValueError' FROM generate_series(1, 2)
"""


async def test_rematch_judges_everything_and_says_what_changed(committed: Database, keyring: Keyring) -> None:
    await build_world(committed)
    status, said, aside = await sentinel(committed, keyring, "rematch")
    assert status == 0, aside
    assert said == "matches that changed: none\n"
    assert "0 cases looked at" in aside


async def test_jobs_lists_the_dead_and_has_them_tried_again(committed: Database, keyring: Keyring) -> None:
    async with committed.transaction() as session:
        await session.execute(text(DEAD))
    status, said, aside = await sentinel(committed, keyring, "jobs", "dead")
    assert status == 0, aside
    dead = [line.split("  ") for line in said.splitlines()]
    assert [(kind, error) for _, kind, _, _, error in dead] == [("registrations.recorded", "ValueError")] * 2
    status, said, aside = await sentinel(committed, keyring, "jobs", "retry", dead[1][0])
    assert (status, said) == (0, "1 jobs will be tried again\n"), aside
    async with committed.transaction() as session:
        assert list(await session.scalars(text("SELECT state FROM jobs ORDER BY id"))) == ["dead", "ready"]
        detail = await session.scalar(text("SELECT detail FROM audit_entries WHERE action = 'jobs.retried'"))
    assert detail["count"] == 1
