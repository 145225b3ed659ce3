"""`sentinel rematch`: everything that follows from all cases, anew, by the verbs that followed them the first time.

Needed after a pass has changed, and after an upgrade that brought new marks; otherwise it changes nothing and does no harm. Cases
are taken in chunks, each in a transaction of its own, beside the service and its workers; a run that was stopped is run again.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from app.audit import service as audit
from app.auth.rules import SYSTEM
from app.cases.queries import case_ids_after, count_cases
from app.core.clock import Clock
from app.core.database import Database
from app.core.sealing import Keyring
from app.flow import Flow
from app.matching.queries import count_changed
from app.people.service import complete_marks

CASES_AT_ONCE = 500
PEOPLE_AT_ONCE = 5_000


@dataclass(slots=True)
class Tally:
    """What a run has done: people who were given marks, cases looked at, and the matches that are now otherwise, by status."""

    people: int = 0
    cases: int = 0
    changed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Rematch:
    """A run over everything."""

    database: Database
    clock: Clock
    keyring: Keyring

    async def count(self) -> int:
        """Return how many cases there are to look at."""
        async with self.database.transaction() as session:
            return await count_cases(session)

    async def run(self, told: Callable[[int], None]) -> Tally:
        """Do it, telling after each chunk how many cases it was."""
        tally = Tally()
        await self._complete_marks(tally)
        last: UUID | None = None
        while True:
            now = self.clock.now()
            async with self.database.transaction() as session:
                ids = await case_ids_after(session, last, CASES_AT_ONCE)
                if not ids:
                    break
                await Flow(self.keyring).follow_cases(session, ids, now=now)
                changed = await count_changed(session, ids, now)
            last = ids[-1]
            tally.cases += len(ids)
            tally.changed.update(changed)
            told(len(ids))
        await self._conclude(tally)
        return tally

    async def _complete_marks(self, tally: Tally) -> None:
        last: UUID | None = None
        while True:
            async with self.database.transaction() as session:
                last, given = await complete_marks(session, after=last, limit=PEOPLE_AT_ONCE, keyring=self.keyring)
            tally.people += given
            if last is None:
                return

    async def _conclude(self, tally: Tally) -> None:
        async with self.database.transaction() as session:
            await audit.record(
                session,
                actor=SYSTEM,
                now=self.clock.now(),
                action="matches.rematched",
                subject=("matches", None),
                detail={"cases": tally.cases, "people": tally.people, **tally.changed},
            )
