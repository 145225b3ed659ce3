"""What comes round by the clock: looking for silent pharmacies, and judging anew what nobody's fact has touched."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.alerts.service import EndedAlert, NewAlert, raise_alerts
from app.capture.queries import cases_after
from app.capture.service import judge_purchases
from app.capture.silences import watch_silences
from app.core.handlers import Job, Registry
from app.core.jobs import declare
from app.core.schedule import DAY_SECONDS
from app.core.sealing import Keyring

WATCH = declare("capture.silences_due")
"""Pharmacies may have stopped, or begun again; comes round by the clock."""
WATCH_SECONDS = 3_600
JUDGE = declare("capture.judgements_due")
"""Regimes, lists and standings may have been told for days gone by; comes round once a day."""
_AT_NIGHT = 18 * 3_600  # 18:00 UTC is 02:00 in China
_CASES_AT_ONCE = 500


def register(registry: Registry, *, keyring: Keyring) -> None:
    """Let a worker watch the net."""

    async def watch(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
        news = await watch_silences(session, now=now)
        await raise_alerts(session, news.raised, ended=news.ended, now=now, keyring=keyring)

    async def judge(session: AsyncSession, _: Sequence[Job], /, *, now: datetime) -> None:
        raised: list[NewAlert] = []
        ended: list[EndedAlert] = []
        last: UUID | None = None
        while cases := await cases_after(session, last, _CASES_AT_ONCE):
            news = await judge_purchases(session, cases, now=now)
            raised += news.raised
            ended += news.ended
            last = cases[-1]
        await raise_alerts(session, raised, ended=ended, now=now, keyring=keyring)

    registry.transactional(WATCH, watch)
    registry.every(WATCH_SECONDS, "watch-silences", WATCH)
    registry.transactional(JUDGE, judge)
    registry.every(DAY_SECONDS, "judge-declared-purchases", JUDGE, offset_seconds=_AT_NIGHT)
