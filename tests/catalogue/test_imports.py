from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import SYSTEM
from app.catalogue.imports import ListsImported, import_lists, load_shipped
from app.catalogue.queries import CATALOGUE, find_newest
from app.core.database import Database
from app.divisions import service as divisions
from tests.conftest import MOMENT
from tests.factories.divisions import load_divisions

HEADER = "list,list_name,division,valid_from,wording,kind,syndrome,gtins,names"
GOOD = "sz,Synthetic list,4403,2026-01-01,布洛芬,chemical,fever,6922097701513|6901234567892,退热小药"


async def imported(session: AsyncSession, *lines: str) -> ListsImported:
    return await import_lists(session, [HEADER, *lines], actor=SYSTEM, now=MOMENT)


def places(report: ListsImported) -> list[tuple[int, str, str]]:
    return [(error.line, error.column, error.code) for error in report.errors]


class TestTheShippedLists:
    async def test_load_as_confirmed_and_only_once(self, session: AsyncSession) -> None:
        await divisions.load_shipped(session, actor=SYSTEM, now=MOMENT)
        first = await load_shipped(session, actor=SYSTEM, now=MOMENT)
        again = await load_shipped(session, actor=SYSTEM, now=MOMENT)
        assert {one.code for one in first.loaded if one.created} == {"gd37", "sz_plus2", "gd43_2020", "fs47_2025"}
        assert (first.errors, first.notes) == ((), ())
        assert not any(one.created for one in again.loaded)
        edition = (await CATALOGUE.get(session)).edition("440304005", date(2026, 2, 15))
        assert [(one.code, len(one.drugs), one.published_size) for one in edition.lists] == [
            ("sz_plus2", 2, 5),
            ("gd37", 25, 37),
        ]
        assert all(drug.confirmed and drug.source_url for one in edition.lists for drug in one.drugs)

    async def test_held_in_their_time(self, session: AsyncSession) -> None:
        await divisions.load_shipped(session, actor=SYSTEM, now=MOMENT)
        await load_shipped(session, actor=SYSTEM, now=MOMENT)
        directory = await CATALOGUE.get(session)
        in_force = {
            (division, day): [one.code for one in directory.edition(division, date.fromisoformat(day)).lists]
            for division in ("440304", "4406", "35")
            for day in ("2020-08-25", "2021-05-28", "2021-05-29", "2025-08-01")
        }
        assert in_force["440304", "2020-08-25"] == []
        assert in_force["440304", "2021-05-28"] == ["gd43_2020"]
        assert in_force["440304", "2021-05-29"] == ["gd37"]
        assert in_force["440304", "2025-08-01"] == ["sz_plus2", "gd37"]
        assert in_force["4406", "2025-08-01"] == ["fs47_2025", "gd37"]
        assert in_force["35", "2025-08-01"] == []

    async def test_never_replace_what_an_authority_has_loaded(self, session: AsyncSession) -> None:
        await divisions.load_shipped(session, actor=SYSTEM, now=MOMENT)
        await load_shipped(session, actor=SYSTEM, now=MOMENT)
        own = await imported(session, GOOD.replace("sz,", "gd37,").replace(",4403,", ",44,"))
        assert own.loaded[0].version == 2
        await load_shipped(session, actor=SYSTEM, now=MOMENT)
        newest = await find_newest(session, "gd37")
        assert newest is not None
        assert (newest.version, newest.shipped) == (2, False)


class TestAnImport:
    async def test_loads_a_list_with_its_aliases(self, session: AsyncSession, database: Database) -> None:
        await load_divisions(database)
        report = await imported(session, GOOD)
        assert [(one.code, one.created, one.aliases_added) for one in report.loaded] == [("sz", True, 3)]
        resolver = (await CATALOGUE.get(session)).resolver_for("440304", date(2026, 2, 15))
        found = {resolver.resolve(gtin="6901234567892").drug_id, resolver.resolve(name="退热小药 10g").drug_id}
        assert len(found) == 1
        assert None not in found

    async def test_leaves_a_list_with_an_error_out_as_a_whole(self, session: AsyncSession, database: Database) -> None:
        await load_divisions(database)
        report = await imported(
            session,
            GOOD,
            "bad,Bad list,4403,2026-01-01,布洛芬,chemical,fever,1,",
            "bad,Bad list,4403,2026-01-01,(复方),chemical,fever,,",
            "bad2,Bad list,4403,yesterday,布洛芬,chemical,fever,,",
            "bad2,Other name,4403,yesterday,利巴韦林,herb,fever,,",
            "bad3,Bad list,9999,2026-01-01,布洛芬,chemical,fever,,",
        )
        assert [one.code for one in report.loaded] == ["sz"]
        assert places(report) == [
            (3, "aliases", "alias_invalid"),
            (4, "wording", "wording_unreadable"),
            (6, "list_name", "list_differs"),
            (5, "valid_from", "date_from_datetime_parsing"),
            (6, "kind", "enum"),
            (7, "division", "division_unknown"),
        ]

    async def test_notes_words_that_it_does_not_understand(self, session: AsyncSession, database: Database) -> None:
        await load_divisions(database)
        report = await imported(session, GOOD.replace("布洛芬", "布洛芬(处方药除外)"))
        assert [(note.line, note.code) for note in report.notes] == [(2, "wording_partly_unread")]
        assert report.loaded[0].created
