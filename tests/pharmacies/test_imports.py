import pytest
from sqlalchemy import func, select

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.core.sheets import SheetUnreadable
from app.pharmacies.imports import PharmaciesImported, import_pharmacies
from app.pharmacies.models import Pharmacy, PharmacyStanding
from app.pharmacies.queries import PHARMACIES
from tests.conftest import MOMENT
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU, load_divisions
from tests.factories.pharmacies import credit_code, enrolled

ENGLISH = "name,uscc,licence_number,division,address,lat,lon,chain,enrolled_on"


@pytest.fixture(autouse=True)
async def divisions(database: Database) -> None:
    await load_divisions(database)


async def load(database: Database, *lines: str, header: str = ENGLISH, role: str | None = None) -> PharmaciesImported:
    actor = SYSTEM if role is None else await keys.actor(database, role, FUTIAN)
    async with database.transaction() as session:
        return await import_pharmacies(session, [header, *lines], actor=actor, now=MOMENT)


def line(number: int, *, name: str = "演示药房", division: str = SHATOU, rest: str = "22.5,114,,2026-01-01") -> str:
    return f"{name},{credit_code(number)},粤DA{number},{division},演示路 {number} 号,{rest}"


def outcome(done: PharmaciesImported) -> tuple[int, int, int, list[tuple[int, str, str]]]:
    return done.created, done.changed, done.unchanged, [(one.line, one.column, one.code) for one in done.errors]


class TestAnImportOfPharmacies:
    async def test_enrols_and_a_second_time_changes_nothing(self, database: Database) -> None:
        lines = [line(number) for number in range(1, 4)]
        assert outcome(await load(database, *lines)) == (3, 0, 0, [])
        assert outcome(await load(database, *lines)) == (0, 0, 3, [])
        async with database.transaction() as session:
            facts = await PHARMACIES.get(session)
            assert (await session.execute(select(func.count(PharmacyStanding.number)))).scalar_one() == 3
        assert {one.standing_on(MOMENT.date()) for one in facts.values()} == {"active"}

    async def test_reads_chinese_headers_and_leaves_optional_columns_out(self, database: Database) -> None:
        header = "药店名称,统一社会信用代码,药品经营许可证号,行政区划代码,地址"
        done = await load(database, f"演示药房,{credit_code(1)},粤DA1,{SHATOU},演示路", header=header)
        assert outcome(done) == (1, 0, 0, [])

    async def test_brings_a_known_one_up_to_date_and_keeps_what_is_not_told(self, database: Database) -> None:
        await load(database, line(1))
        done = await load(database, line(1, name="新名药房", rest=",,演示连锁,"))
        assert outcome(done) == (0, 1, 0, [])
        async with database.transaction() as session:
            (pharmacy,) = (await session.scalars(select(Pharmacy))).all()
        assert (pharmacy.name, pharmacy.lat, pharmacy.chain) == ("新名药房", 22.5, "演示连锁")
        assert str(pharmacy.enrolled_on) == "2026-01-01"

    async def test_keeps_good_rows_and_places_each_complaint(self, database: Database) -> None:
        await enrolled(database, 8, LUOHU)
        done = await load(
            database,
            line(1),
            f"演示药房,123,粤DA2,{SHATOU},演示路",
            line(3, division="440304999"),
            line(4, division=LUOHU),
            line(5, rest="22.5,,,"),
            line(6, rest=",,,2026-02-16"),
            line(1, name="别名药房"),
            line(8).replace("粤DA8", "粤DA7550008"),
            line(9, name=""),
            role="official",
        )
        assert outcome(done) == (
            1,
            0,
            0,
            [
                (3, "uscc", "string_pattern_mismatch"),
                (4, "division", "division_unknown"),
                (5, "division", "out_of_division"),
                (6, "lon", "required"),
                (7, "enrolled_on", "enrolled_in_future"),
                (8, "uscc", "duplicate_pharmacy"),
                (9, "uscc", "out_of_division"),
                (10, "name", "required"),
            ],
        )

    async def test_warns_of_a_wrong_check_character_and_takes_the_row(self, database: Database) -> None:
        done = await load(database, f"演示药房,91440300MA5EXAMPLE,粤DA1,{SHATOU},演示路,,,,")
        assert outcome(done) == (1, 0, 0, [])
        assert [(one.line, one.code) for one in done.warnings] == [(2, "uscc_check_failed")]

    async def test_does_not_move_a_pharmacy(self, database: Database) -> None:
        await load(database, line(1))
        done = await load(database, line(1, division=LUOHU))
        assert outcome(done) == (0, 0, 0, [(2, "division", "division_differs")])

    async def test_needs_its_columns(self, database: Database) -> None:
        with pytest.raises(SheetUnreadable):
            await load(database, header="name,uscc")
