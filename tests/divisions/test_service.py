import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry
from app.auth.rules import SYSTEM
from app.core.sheets import SheetUnreadable
from app.divisions.models import Division
from app.divisions.queries import DIVISIONS
from app.divisions.service import DivisionUnknown, import_divisions, load_shipped, require_known
from tests.conftest import MOMENT


async def imported(session: AsyncSession, *lines: str) -> tuple[int, int, int, int]:
    report = await import_divisions(session, ["code,name", *lines], actor=SYSTEM, now=MOMENT)
    return report.created, report.changed, report.unchanged, len(report.errors)


class TestTheShippedDivisions:
    async def test_load_once_and_then_change_nothing(self, session: AsyncSession) -> None:
        first = await load_shipped(session, actor=SYSTEM, now=MOMENT)
        again = await load_shipped(session, actor=SYSTEM, now=MOMENT)
        stored = await session.scalar(select(func.count()).select_from(Division))
        acts = await session.scalar(
            select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "divisions.imported")
        )
        assert (first.created, first.errors) == (3433, ())
        assert (again.created, again.changed, again.unchanged) == (0, 0, 3433)
        assert (stored, acts) == (3433, 1)


class TestAnImport:
    async def test_adds_renames_and_counts(self, session: AsyncSession) -> None:
        assert await imported(session, "44,广东", "4403,深圳市") == (2, 0, 0, 0)
        assert await imported(session, "44,广东省", "4403,深圳市", "440304,福田区", "45x,?") == (1, 1, 1, 1)
        gazetteer = await DIVISIONS.get(session)
        assert [gazetteer.name_of(code) for code in ("44", "4403", "440304")] == ["广东省", "深圳市", "福田区"]

    async def test_without_the_columns_is_refused(self, session: AsyncSession) -> None:
        with pytest.raises(SheetUnreadable):
            await import_divisions(session, ["code,title", "44,广东省"], actor=SYSTEM, now=MOMENT)


class TestADivisionInARequest:
    async def test_must_be_known(self, session: AsyncSession) -> None:
        await imported(session, "44,广东省")
        assert (await require_known(session, "44")).known("44")
        with pytest.raises(DivisionUnknown) as refused:
            await require_known(session, "4403", "/divisions/0")
        assert refused.value.errors[0].pointer == "/divisions/0"
