"""What the clerk is told at once: in which language, about quantities and trace codes. Everybody here is synthetic."""

from datetime import date
from typing import Any

import httpx
import pytest

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.regimes.schemas import RegimeIn
from app.regimes.service import declare_regime
from tests.conftest import MOMENT, Clients
from tests.factories import keys
from tests.factories.divisions import SHATOU
from tests.factories.identities import resident_number
from tests.factories.pharmacies import enrolled
from tests.factories.world import DISEASE, World, a_person, build_world
from tests.registrations.conftest import send

IBUPROFEN = "布洛芬缓释胶囊"
CODES = [f"8999999{number:013d}" for number in range(4)]


def items(*quantities: int, **members: Any) -> list[dict[str, Any]]:
    return [{"name": IBUPROFEN, "quantity": quantity} | members for quantity in quantities]


def noticed(told: dict[str, Any]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    return (
        told["flags"],
        [one["code"] for one in told["advice"]],
        [(one["pointer"], one["code"]) for one in told["warnings"]],
    )


@pytest.fixture
async def limited(database: Database, till: httpx.AsyncClient, client_for: Clients) -> httpx.AsyncClient:
    """An official of the province, who has set a limit: three packs of ibuprofen at once, four in seven days."""
    official = client_for(await keys.token(database, "official", "44"))
    found = await official.post("/v1/catalogue/resolve", json={"division": SHATOU, "items": [{"name": IBUPROFEN}]})
    drug = found.json()["items"][0]["drug"]["id"]
    limit = {"most_per_purchase": 3, "most_per_buyer": 4, "within_days": 7}
    assert (await official.put(f"/v1/catalogue/drugs/{drug}/limit", json=limit)).status_code == 200
    return official


class TestTheLanguage:
    @pytest.mark.parametrize(("asked", "given"), [(None, "zh"), ("en", "en"), ("zh-CN,en;q=0.5", "zh"), ("de", "zh")])
    async def test_is_the_one_that_the_till_prefers(
        self, till: httpx.AsyncClient, world: World, asked: str | None, given: str
    ) -> None:
        headers = {} if asked is None else {"Accept-Language": asked}
        body = world.purchase(temperature_c=38)
        first = await till.post("/v1/registrations", json=body, headers=headers)
        [advice] = first.json()["advice"]
        assert advice["text"] == advice[given]
        assert (first.headers["content-language"], first.headers["vary"]) == (given, "Accept-Language")
        again = await till.post("/v1/registrations", json=body, headers={"Accept-Language": "en"})
        assert again.json()["advice"] == [advice | {"text": advice["en"]}]
        correction = {"reason": "Misread", "registration": world.purchase(temperature_c=39)}
        del correction["registration"]["client_reference"]
        corrected = await till.post(
            f"/v1/registrations/{first.json()['id']}/corrections", json=correction, headers=headers
        )
        assert corrected.json()["advice"] == [advice]
        assert corrected.headers["content-language"] == given

    async def test_is_that_of_the_warnings_too_also_when_it_is_asked_again(
        self, till: httpx.AsyncClient, limited: httpx.AsyncClient, world: World
    ) -> None:
        body = world.purchase(items=items(4))
        said = {"zh": "本药品一次购买不应超过 3 盒", "en": "One purchase should hold no more than 3 of this drug"}
        for asked, status in (("zh", 201), ("en", 200), ("zh", 200)):
            answer = await till.post("/v1/registrations", json=body, headers={"Accept-Language": asked})
            assert (answer.status_code, answer.headers["content-language"]) == (status, asked)
            assert answer.json()["warnings"] == [
                {"pointer": "/items/0/quantity", "code": "large_quantity", "detail": said[asked]}
            ]
        correction = {"reason": "Mistyped", "registration": body | {"items": items(5)}}
        corrected = await till.post(f"/v1/registrations/{answer.json()['id']}/corrections", json=correction)
        repeated = "该购药人在 7 天内购买本药品超过 4 盒"
        assert {one["detail"] for one in corrected.json()["warnings"]} == {said["zh"], repeated}


class TestALargeQuantity:
    async def test_is_kept_flagged_and_told(
        self, till: httpx.AsyncClient, limited: httpx.AsyncClient, world: World
    ) -> None:
        assert noticed(await send(till, world.purchase(items=items(3)))) == ([], [], [])
        other = a_person(document={"type": "resident_id", "number": resident_number(1)})
        body = world.purchase(buyer=other, items=items(2, 2))
        told = await send(till, body)
        assert noticed(told) == (["large_quantity"], ["check_quantity"], [("/items/1/quantity", "large_quantity")])
        assert await send(till, body, 200) == told
        correction = {"reason": "Mistyped", "registration": body | {"items": items(2)}}
        corrected = await till.post(f"/v1/registrations/{told['id']}/corrections", json=correction)
        assert noticed(corrected.json()) == ([], [], [])

    async def test_is_none_without_a_limit(self, till: httpx.AsyncClient, world: World) -> None:
        assert noticed(await send(till, world.purchase(items=items(900)))) == ([], [], [])


class TestARepeatedPurchase:
    REPEATED = (["repeated_purchase"], ["ask_about_repeated_purchase"], [("/items/0", "repeated_purchase")])

    async def test_is_told_whichever_pharmacies_sold(
        self, till: httpx.AsyncClient, limited: httpx.AsyncClient, world: World, database: Database, client_for: Clients
    ) -> None:
        elsewhere = client_for(await keys.token(database, "pharmacy", pharmacy_ids=[await enrolled(database, 2)]))
        assert noticed(await send(elsewhere, world.purchase(items=items(3)))) == ([], [], [])
        assert noticed(await send(till, world.purchase(items=items(1), buyer=a_person(phone=None)))) == (
            ["incomplete"],
            ["complete_record"],
            [("/buyer/phone", "required_by_regime")],
        )
        body = world.purchase(items=items(1))
        told = await send(till, body)
        assert noticed(told) == self.REPEATED
        assert await send(till, body, 200) == told
        other = a_person(document={"type": "resident_id", "number": resident_number(1)})
        assert noticed(await send(till, world.purchase(items=items(1), buyer=other))) == ([], [], [])

    async def test_counts_days_as_the_limit_says_in_whatever_order_purchases_arrive(
        self, till: httpx.AsyncClient, limited: httpx.AsyncClient, world: World
    ) -> None:
        def on(day: int, packs: int) -> dict[str, Any]:
            return world.purchase(purchased_at=f"2026-02-{day:02d}T23:59:00+08:00", items=items(packs))

        for day, packs, repeated in (
            (14, 2, False),
            (7, 3, False),  # with the 14th that would be five packs, but in eight days
            (13, 2, True),  # five packs from the 7th to the 13th
            (1, 1, False),  # four packs from the 1st to the 7th
        ):
            told = await send(till, on(day, packs))
            assert ("repeated_purchase" in told["flags"]) == repeated

    async def test_is_found_within_a_batch_and_by_phone_and_name(
        self, till: httpx.AsyncClient, limited: httpx.AsyncClient, world: World
    ) -> None:
        buyer = a_person(document=None, document_missing_reason="forgotten")
        rows = [world.purchase(buyer=buyer, items=items(2)) for _ in range(3)]
        assert (await till.post("/v1/registrations/batch", json=rows)).json()["created"] == 3
        assert [("repeated_purchase" in (await send(till, row, 200))["flags"]) for row in rows] == [False, False, True]
        nobody = world.purchase(buyer={"name": "王小样"}, items=items(3))
        assert "repeated_purchase" not in (await send(till, nobody))["flags"]

    async def test_is_not_the_same_purchase_corrected_nor_one_that_was_voided(
        self, till: httpx.AsyncClient, limited: httpx.AsyncClient, world: World
    ) -> None:
        body = world.purchase(items=items(3))
        told = await send(till, body)
        correction = {"reason": "Mistyped", "registration": body | {"items": items(2)}}
        path = f"/v1/registrations/{told['id']}"
        assert noticed((await till.post(f"{path}/corrections", json=correction)).json()) == ([], [], [])
        assert (await till.post(f"{path}/void", json={"reason": "Cancelled"})).status_code == 200
        assert noticed(await send(till, world.purchase(items=items(3)))) == ([], [], [])

    async def test_is_looked_for_only_where_there_is_such_a_limit(
        self, till: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object, **__: object) -> None:
            raise AssertionError("no limit, no look-up")

        monkeypatch.setattr("app.registrations.limits._find_bought", never)
        assert noticed(await send(till, world.purchase(items=items(900)))) == ([], [], [])


class TestTraceCodes:
    @pytest.mark.parametrize(
        ("codes", "boxes", "unlike"),
        [(None, 2, False), ([], 2, False), (CODES[:2], 2, False), (CODES[:1], 2, True), (CODES[:3], 2, True)],
    )
    async def test_are_one_for_each_box_where_any_was_scanned(
        self, till: httpx.AsyncClient, world: World, codes: list[str] | None, boxes: int, unlike: bool
    ) -> None:
        told = await send(till, world.purchase(items=items(boxes, trace_codes=codes)))
        finding = ("/items/0/trace_codes", "trace_codes_differ")
        assert noticed(told) == ((["untraced"], ["scan_trace_codes"], [finding]) if unlike else ([], [], []))

    async def test_scanned_twice_are_one_box(self, till: httpx.AsyncClient, world: World) -> None:
        told = await send(till, world.purchase(items=items(2, trace_codes=[CODES[0], CODES[0]])))
        assert told["flags"] == ["untraced"]

    async def test_are_missing_where_the_regime_requires_them(
        self, till: httpx.AsyncClient, world: World, database: Database
    ) -> None:
        declared = RegimeIn.model_validate(
            {
                "division": SHATOU,
                "disease": DISEASE,
                "state": "register",
                "valid_from": date(2026, 1, 1),
                "required": ["name", "trace_codes"],
            }
        )
        async with database.transaction() as session:
            await declare_regime(session, declared, actor=SYSTEM, now=MOMENT)
        lines = [*items(1), {"name": "合成维生素C片"}, *items(1, trace_codes=CODES[:1])]
        told = await send(till, world.purchase(items=lines))
        assert noticed(told) == (
            ["incomplete", "untraced"],
            ["complete_record", "scan_trace_codes"],
            [("/items/0/trace_codes", "required_by_regime")],
        )

    async def test_are_not_required_unless_an_official_says_so(self, database: Database) -> None:
        await build_world(database)
        usual = RegimeIn.model_validate(
            {"division": SHATOU, "disease": DISEASE, "state": "register", "valid_from": "2026-01-01"}
        )
        assert "trace_codes" not in usual.required
