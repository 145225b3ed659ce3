from collections.abc import Iterable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import AuditEntry
from app.auth.rules import SYSTEM, Actor, Role
from app.catalogue.models import DrugAlias
from app.catalogue.queries import CATALOGUE, drug_ids_of, versions_of
from app.catalogue.schemas import DrugListIn
from app.catalogue.service import AliasInvalid, AliasTaken, DrugListInvalid, LoadedList, add_alias, load_list
from app.catalogue.vocabulary import AliasKind
from app.core.database import Database
from app.core.errors import NotFound, OutOfDivision
from app.core.ids import new_id
from app.divisions.service import DivisionUnknown
from tests.conftest import MOMENT
from tests.factories.divisions import load_divisions

GTIN = "6922097701513"
DAY = date(2026, 2, 15)


@pytest.fixture(autouse=True)
async def divisions(database: Database) -> None:
    await load_divisions(database)


def drug(wording: str, *aliases: tuple[str, str]) -> dict[str, Any]:
    return {
        "wording": wording,
        "kind": "chemical",
        "syndrome": "fever",
        "aliases": [{"kind": kind, "value": value} for kind, value in aliases],
    }


def a_list(drugs: Iterable[dict[str, Any]], **changes: Any) -> DrugListIn:
    content = {"code": "sz", "name": "Synthetic list", "division": "4403", "valid_from": "2026-01-01", **changes}
    return DrugListIn.model_validate({**content, "drugs": list(drugs)})


async def load(session: AsyncSession, *drugs: dict[str, Any], actor: Actor = SYSTEM, **changes: Any) -> LoadedList:
    return await load_list(session, a_list(drugs, **changes), actor=actor, now=MOMENT)


async def listed(session: AsyncSession, name: str, division: str = "440304", day: date = DAY) -> str | None:
    directory = await CATALOGUE.get(session)
    found = directory.resolver_for(division, day).resolve(name=name)
    return None if found.drug_id is None else directory.drug(found.drug_id).wording


class TestAList:
    async def test_holds_in_its_division_from_its_first_day(self, session: AsyncSession) -> None:
        loaded = await load(session, drug("布洛芬"))
        assert (loaded.version, loaded.created) == (1, True)
        assert await listed(session, "布洛芬片") == "布洛芬"
        assert await listed(session, "布洛芬片", "440106") is None
        assert await listed(session, "布洛芬片", "44") is None
        assert await listed(session, "布洛芬片", day=date(2025, 12, 31)) is None

    async def test_loaded_again_stays_the_same_version(self, session: AsyncSession) -> None:
        first = await load(session, drug("布洛芬", ("gtin", GTIN)))
        again = await load(session, drug("布洛芬", ("gtin", GTIN)))
        assert (again.id, again.version, again.created, again.aliases_added) == (first.id, 1, False, 0)
        acts = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "drug_list.loaded")
        assert await session.scalar(acts) == 1

    async def test_replaced_ends_where_the_new_version_begins(self, session: AsyncSession) -> None:
        await load(session, drug("布洛芬"), drug("安乃近片"))
        second = await load(session, drug("布洛芬"), drug("利巴韦林"), valid_from="2026-02-01")
        old, new = await versions_of(session, "sz")
        assert (old.valid_to, new.id, new.version) == (date(2026, 2, 1), second.id, 2)
        assert await listed(session, "安乃近片", day=date(2026, 1, 31)) == "安乃近片"
        assert await listed(session, "安乃近片", day=date(2026, 2, 1)) is None
        assert await listed(session, "利巴韦林片", day=date(2026, 2, 1)) == "利巴韦林"

    async def test_corrected_from_the_same_day_never_held(self, session: AsyncSession) -> None:
        await load(session, drug("布洛芬"), drug("安乃近片"))
        await load(session, drug("布洛芬"))
        assert await listed(session, "安乃近片", day=date(2026, 1, 1)) is None
        assert await listed(session, "布洛芬片", day=date(2026, 1, 1)) == "布洛芬"

    async def test_hands_its_aliases_on_to_the_next_version(self, session: AsyncSession) -> None:
        first = await load(session, drug("布洛芬", ("gtin", GTIN)), drug("安乃近片", ("name", "安乃近小药")))
        await load(session, drug("利巴韦林"), drug("布洛芬", ("approval", "H20050000")))
        directory = await CATALOGUE.get(session)
        resolver = directory.resolver_for("440304", DAY)
        by_gtin = resolver.resolve(gtin=GTIN).drug_id
        assert by_gtin is not None
        assert by_gtin == resolver.resolve(approval_number="国药准字H20050000").drug_id
        assert by_gtin not in (await drug_ids_of(session, first.id)).values()
        assert resolver.resolve(name="安乃近小药").drug_id is None

    async def test_takes_further_aliases_without_a_new_version(self, session: AsyncSession) -> None:
        await load(session, drug("布洛芬"))
        again = await load(session, drug("布洛芬", ("gtin", GTIN)))
        assert (again.version, again.created, again.aliases_added) == (1, False, 1)
        assert (await CATALOGUE.get(session)).resolver_for("440304", DAY).resolve(gtin=GTIN).drug_id is not None

    async def test_applies_together_with_the_lists_above_it(self, session: AsyncSession) -> None:
        await load(session, drug("布洛芬"))
        await load(session, drug("布洛芬"), drug("利巴韦林"), code="gd", division="44")
        edition = (await CATALOGUE.get(session)).edition("440304005", DAY)
        assert [listing.code for listing in edition.lists] == ["sz", "gd"]
        found = edition.resolver.resolve(name="布洛芬片").drug_id
        assert found in {one.id for one in edition.lists[0].drugs}
        assert await listed(session, "利巴韦林片") == "利巴韦林"

    async def test_outside_the_actors_division_is_refused(self, session: AsyncSession) -> None:
        official = Actor(None, "Synthetic official", Role.OFFICIAL, division="440304")
        with pytest.raises(OutOfDivision):
            await load(session, drug("布洛芬"), actor=official)

    async def test_for_an_unknown_division_is_refused(self, session: AsyncSession) -> None:
        with pytest.raises(DivisionUnknown):
            await load(session, drug("布洛芬"), division="99")

    async def test_with_nonsense_is_refused_with_a_place_for_each_complaint(self, session: AsyncSession) -> None:
        with pytest.raises(DrugListInvalid) as refused:
            await load(
                session,
                drug("布洛芬(颗粒)", ("gtin", GTIN)),
                drug("(复方)"),
                drug("布洛芬（颗粒）", ("gtin", GTIN), ("gtin", "1")),
                valid_to="2026-01-01",
            )
        assert [(error.pointer, error.code) for error in refused.value.errors] == [
            ("/valid_to", "period_invalid"),
            ("/drugs/1/wording", "wording_unreadable"),
            ("/drugs/2/wording", "wording_twice"),
            ("/drugs/2/aliases/0/value", "alias_taken"),
            ("/drugs/2/aliases/1/value", "alias_invalid"),
        ]
        assert not await versions_of(session, "sz")


class TestAnAlias:
    async def test_makes_a_product_known(self, session: AsyncSession) -> None:
        drug_id = (await drug_ids_of(session, (await load(session, drug("布洛芬"))).id))["布洛芬"]
        added = [
            await add_alias(session, drug_id, kind=AliasKind.NAME, value=value, actor=SYSTEM, now=MOMENT)
            for value in ("退热 小药", "退热小药")
        ]
        assert [(one.created, one.value) for one in added] == [(True, "退热小药"), (False, "退热小药")]
        assert await listed(session, "退热小药") == "布洛芬"
        assert await session.scalar(select(func.count()).select_from(DrugAlias)) == 1

    async def test_belongs_to_one_entry_of_a_list(self, session: AsyncSession) -> None:
        ids = await drug_ids_of(session, (await load(session, drug("布洛芬", ("gtin", GTIN)), drug("利巴韦林"))).id)
        with pytest.raises(AliasTaken):
            await add_alias(session, ids["利巴韦林"], kind=AliasKind.GTIN, value=GTIN, actor=SYSTEM, now=MOMENT)

    async def test_must_be_of_its_kind(self, session: AsyncSession) -> None:
        drug_id = (await drug_ids_of(session, (await load(session, drug("布洛芬"))).id))["布洛芬"]
        with pytest.raises(AliasInvalid):
            await add_alias(session, drug_id, kind=AliasKind.GTIN, value=GTIN[:-1] + "4", actor=SYSTEM, now=MOMENT)

    async def test_needs_an_entry_that_the_actor_sees(self, session: AsyncSession) -> None:
        drug_id = (await drug_ids_of(session, (await load(session, drug("布洛芬"))).id))["布洛芬"]
        elsewhere = Actor(None, "Synthetic official", Role.OFFICIAL, division="4401")
        for wanted, actor in ((new_id(), SYSTEM), (drug_id, elsewhere)):
            with pytest.raises(NotFound):
                await add_alias(session, wanted, kind=AliasKind.GTIN, value=GTIN, actor=actor, now=MOMENT)
