"""What a case told of its purchases: kept once, judged at once, and judged again with every fact."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry
from app.auth.rules import SYSTEM
from app.core.ids import new_id
from app.pharmacies.schemas import PharmacyPatch
from app.pharmacies.service import change_pharmacy
from app.webhooks.messages import data_for
from app.webhooks.rules import Detail
from tests.capture.conftest import IBUPROFEN, LIANHUA, TOOTHPASTE, City, somebody
from tests.conftest import Clients
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU


class TestADeclaredPurchase:
    async def test_is_covered_by_a_registration_of_that_person_place_day_and_drug(self, city: City) -> None:
        registration = await city.buy(1)
        case = await city.case(1)
        await city.drain()
        [told] = await city.tell(case, city.at(drug="布洛芬"))
        assert (told["status"], told["ground"], told["registration_id"]) == ("covered", "registered", registration)
        assert (told["drug"], told["listed_drug"], told["tolerance_days"]) == ("布洛芬", "布洛芬", 1)
        assert await city.alerts() == []

    async def test_is_missed_at_once_where_nothing_covers_it(self, city: City) -> None:
        case = await city.case(1)
        await city.drain()
        [told] = await city.tell(case, city.at(drug="布洛芬"))
        assert (told["status"], told["ground"], told["registration_id"]) == ("missed", "not_registered", None)
        assert told["late_until"] == "2026-03-18T16:00:00Z"
        [alert] = await city.alerts()
        assert (alert["severity"], alert["state"], alert["case_id"]) == ("warning", "raised", case)
        assert (alert["division"], alert["disease"], alert["pharmacy_id"]) == (
            SHATOU,
            "covid-19",
            str(city.world.pharmacies[0]),
        )

    async def test_told_again_is_the_same(self, city: City) -> None:
        case = await city.case(1)
        first = await city.tell(case, city.at(drug="布洛芬"), city.at(on="2026-02-16"), city.at(drug="布洛 芬 "))
        assert [one["id"] for one in first] == [first[0]["id"], first[1]["id"], first[0]["id"]]
        again = await city.tell(case, city.at(drug="布洛芬"), city.at(on="2026-02-16"), status=200)
        assert again == first[:2]
        [known, _, new] = await city.tell(case, city.at(drug="布洛芬"), city.at(on="2026-02-16"), city.at(1))
        assert (known, new["id"] in {one["id"] for one in first}) == (first[0], False)
        assert len(await city.alerts()) == 3

    async def test_told_with_another_tolerance_is_a_conflict_until_it_is_retracted(self, city: City) -> None:
        case = await city.case(1)
        [first] = await city.tell(case, city.at())
        await city.tell(case, city.at(tolerance_days=3), status=409)
        path = f"/v1/cases/{case}/declared-purchases/{first['id']}/retract"
        assert (await city.epidemiologist.post(path, json={"reason": "Told wrongly"})).status_code == 200
        [second] = await city.tell(case, city.at(tolerance_days=3))
        assert await city.verdicts(case) == [("not_judged", "retracted"), ("missed", "not_registered")]
        assert first["id"] != second["id"]

    @pytest.mark.parametrize(
        ("members", "verdict"),
        [
            ({"at": "2026-02-14T23:59:59+08:00"}, "covered"),
            ({"at": "2026-02-14T00:00:00+08:00"}, "covered"),
            ({"at": "2026-02-13T23:59:59+08:00"}, "not_registered"),
            ({"at": "2026-02-16T23:59:59+08:00"}, "covered"),
            ({"at": "2026-02-17T00:00:00+08:00"}, "not_registered"),
            ({"till": 1}, "not_registered"),
            ({"person": 2}, "not_registered"),
            ({"items": [{"name": LIANHUA, "quantity": 1}]}, "other_drug"),
            ({"items": [{"name": LIANHUA, "quantity": 1}, {"name": IBUPROFEN, "quantity": 1}]}, "covered"),
        ],
    )
    async def test_is_covered_by_nothing_else(self, city: City, members: dict[str, Any], verdict: str) -> None:
        await city.buy(**{"person": 1} | members)
        case = await city.case(1)
        await city.drain()
        [told] = await city.tell(case, city.at(drug="布洛芬"))
        assert verdict == (told["ground"] if told["status"] == "missed" else told["status"])

    async def test_without_a_drug_or_with_only_a_street_is_covered_by_any_drug_there(self, city: City) -> None:
        await city.buy(1, items=[{"name": LIANHUA, "quantity": 1}])
        case = await city.case(1)
        await city.drain()
        street = {"division": SHATOU, "purchased_on": "2026-02-15"}
        elsewhere = {"division": LUOHU, "purchased_on": "2026-02-15"}
        statuses = [(await city.tell(case, one))[0]["status"] for one in (street, elsewhere, city.at())]
        # Of the two that it may be, the one that names the pharmacy has it; Luohu has declared no duty.
        assert statuses == ["covered", "not_required", "covered"]
        assert [one["status"] for one in await city.told(case)] == ["missed", "not_required", "covered"]

    async def test_at_a_pharmacy_that_is_named_is_one_at_that_pharmacy(self, city: City) -> None:
        case = await city.case(1)
        [by_id] = await city.tell(case, city.at())
        name = (await city.official.get(f"/v1/pharmacies/{city.world.pharmacies[0]}")).json()["name"]
        [by_name] = await city.tell(case, {"pharmacy_name": name, "purchased_on": "2026-02-15"}, status=200)
        assert by_name == by_id

    async def test_of_somebody_for_whom_another_bought_is_covered(self, city: City) -> None:
        await city.buy(2, patient=somebody(1) | {"temperature_c": 36.6})
        case = await city.case(1)
        await city.drain()
        assert [one["status"] for one in await city.tell(case, city.at())] == ["covered"]

    async def test_of_two_drugs_on_one_receipt_is_covered_twice_and_not_thrice(self, city: City) -> None:
        await city.buy(1, items=[{"name": LIANHUA, "quantity": 3}, {"name": IBUPROFEN, "quantity": 1}])
        case = await city.case(1)
        await city.drain()
        await city.tell(case, city.at(drug=IBUPROFEN), city.at(drug=LIANHUA))
        await city.tell(case, city.at(on="2026-02-16"))
        assert await city.verdicts(case) == [("covered", "registered")] * 2 + [("missed", "other_drug")]

    async def test_is_not_required_where_nothing_had_to_be_registered(self, city: City, database: Any) -> None:
        case = await city.case(1, onset_on="2026-02-14")
        counts = {"division": SHATOU, "disease": "covid-19", "state": "counts", "valid_from": "2026-02-18"}
        assert (await city.official.post("/v1/regimes", json=counts)).status_code == 201
        patch = PharmacyPatch.model_validate({"standing": "closed", "standing_from": "2026-02-14", "reason": "Closed"})
        async with database.transaction() as session:
            await change_pharmacy(session, city.world.pharmacies[1], patch, actor=SYSTEM, now=city.clock.moment)
        told = await city.tell(
            case,
            city.at(drug=TOOTHPASTE),
            city.at(on="2026-02-18"),
            city.at(on="2026-02-17"),
            city.at(on="2026-02-16"),
            city.at(1, on="2026-02-12"),
            city.at(1, on="2026-02-13"),
            city.at(on="2026-02-01"),
        )
        assert [(one["status"], one["ground"]) for one in told] == [
            ("not_required", "drug_unlisted"),
            ("not_required", "regime_counts"),
            ("not_required", "regime_counts"),
            ("missed", "not_registered"),
            ("missed", "not_registered"),
            ("not_required", "pharmacy_not_open"),
            ("missed", "not_registered"),
        ]

    async def test_of_an_unlisted_drug_is_required_where_every_drug_is(self, city: City) -> None:
        every = {"division": SHATOU, "disease": "covid-19", "state": "register_all", "valid_from": "2026-02-01"}
        assert (await city.official.post("/v1/regimes", json=every)).status_code == 201
        await city.buy(1, items=[{"name": TOOTHPASTE, "quantity": 1}])
        case = await city.case(1)
        await city.drain()
        told = await city.tell(case, city.at(drug=TOOTHPASTE), city.at(1, drug=TOOTHPASTE), city.at(drug="布洛芬"))
        assert [one["status"] for one in told] == ["covered", "missed", "missed"]

    async def test_far_from_the_onset_says_nothing(self, city: City) -> None:
        case = await city.case(1, onset_on="2026-02-14")
        told = await city.tell(case, city.at(on="2026-01-31"), city.at(on="2026-02-01"))
        assert [(one["status"], one["ground"]) for one in told] == [
            ("not_judged", "outside_window"),
            ("missed", "not_registered"),
        ]


class TestWhatIsKnownOfIt:
    async def test_follows_a_late_registration_a_correction_and_a_void(self, city: City) -> None:
        case = await city.case(1)
        await city.tell(case, city.at(drug="布洛芬"))
        registration = await city.buy(1)
        await city.drain()
        assert await city.verdicts(case) == [("covered", "registered")]
        body = city.world.purchase(buyer=somebody(1), items=[{"name": LIANHUA, "quantity": 1}])
        del body["client_reference"]
        path = f"/v1/registrations/{registration}"
        corrected = await city.tills[0].post(f"{path}/corrections", json={"reason": "Wrong drug", "registration": body})
        assert corrected.status_code == 201, corrected.text
        await city.drain()
        assert await city.verdicts(case) == [("missed", "other_drug")]
        assert (await city.tills[0].post(f"{path}/void", json={"reason": "Never happened"})).status_code == 200
        await city.drain()
        assert await city.verdicts(case) == [("missed", "not_registered")]

    async def test_follows_the_case_both_ways(self, city: City) -> None:
        await city.buy(1)
        case = await city.case(1)
        await city.drain()
        await city.tell(case, city.at(), city.at(1))
        before = await city.told(case)
        path = f"/v1/cases/{case}/classification"
        for _ in range(2):
            await city.authority.post(path, json={"classification": "discarded", "reason": "PCR negative"})
            await city.drain()
            assert await city.verdicts(case) == [("not_judged", "case_discarded")] * 2
            confirmed = {"classification": "confirmed", "reason": "-", "confirmed_at": "2026-02-17T20:10:00+08:00"}
            await city.authority.post(path, json=confirmed)
            await city.drain()
            assert await city.told(case) == before
        told = [(event.thin["state"], event.thin["alert_id"]) for event in await city.events()]
        assert [state for state, _ in told] == ["raised", "closed"] * 2 + ["raised"]
        assert len({alert for _, alert in told}) == 3

    async def test_follows_a_pharmacy_that_is_said_to_have_been_closed(self, city: City, database: Any) -> None:
        case = await city.case(1)
        await city.tell(case, city.at())
        patch = PharmacyPatch.model_validate({"standing": "closed", "standing_from": "2026-02-10", "reason": "Closed"})
        async with database.transaction() as session:
            await change_pharmacy(session, city.world.pharmacies[0], patch, actor=SYSTEM, now=city.clock.moment)
        await city.drain()
        assert await city.verdicts(case) == [("not_required", "pharmacy_not_open")]


class TestAMiss:
    async def test_that_is_none_any_more_closes_its_alert_and_tells_so(self, city: City) -> None:
        case = await city.case(1)
        [told] = await city.tell(case, city.at(drug="布洛芬"))
        registration = await city.buy(1)
        city.clock.moment += timedelta(hours=1)
        await city.drain()
        [alert] = await city.alerts()
        assert alert["state"] == "closed"
        [step] = alert["history"]
        assert (step["account_name"], step["state"]) == ("system", "closed")
        assert "A registration covers" in step["feedback"]
        raised, closed = await city.events()
        assert {**raised.thin, "state": "closed"} == closed.thin
        assert (raised.thin["state"], raised.thin["alert_id"]) == ("raised", alert["id"])
        assert raised.pseudonymous["purchase_id"] == closed.pseudonymous["purchase_id"] == told["id"]
        assert closed.pseudonymous["registration_id"] == registration
        assert closed.identified is None
        assert raised.identified is not None

    async def test_that_somebody_has_closed_is_told_of_all_the_same(self, city: City) -> None:
        case = await city.case(1)
        await city.tell(case, city.at())
        [alert] = await city.alerts()
        await city.epidemiologist.post(f"/v1/alerts/{alert['id']}/close", json={"feedback": "Went there"})
        await city.buy(1)
        await city.drain()
        [after] = await city.alerts()
        assert [step["feedback"] for step in after["history"]] == ["Went there"]
        assert [event.thin["state"] for event in await city.events()] == ["raised", "closed"]

    async def test_tells_thin_subscribers_no_drug_and_no_day(self, city: City) -> None:
        case = await city.case(1)
        await city.tell(case, city.at(drug="布洛芬"))
        [event] = await city.events()
        thin = data_for(Detail.THIN, event.thin, event.pseudonymous, None)
        assert set(thin) == {
            *("alert_id", "state", "severity", "division", "disease", "deadline_at", "pharmacy_id", "case_id")
        }

    @pytest.mark.parametrize(
        ("classification", "severity"), [("confirmed", "warning"), ("probable", "warning"), ("suspected", "info")]
    )
    async def test_is_as_urgent_as_the_case_is_sure(self, city: City, classification: str, severity: str) -> None:
        confirmed_at = "2026-02-17T20:10:00+08:00" if classification == "confirmed" else None
        case = await city.case(1, classification=classification, confirmed_at=confirmed_at)
        await city.tell(case, city.at())
        assert [alert["severity"] for alert in await city.alerts()] == [severity]


class TestAnInterview:
    @pytest.mark.parametrize(
        ("item", "pointer", "code"),
        [
            ({"purchased_on": "2026-02-15"}, "", "place_required"),
            ({"pharmacy_id": str(new_id()), "purchased_on": "2026-02-15"}, "/pharmacy_id", "pharmacy_unknown"),
            ({"pharmacy_name": "合成无此店", "purchased_on": "2026-02-15"}, "/pharmacy_name", "pharmacy_unknown"),
            ({"division": "990304", "purchased_on": "2026-02-15"}, "/division", "division_unknown"),
            ({"division": SHATOU, "purchased_on": "2026-02-21"}, "/purchased_on", "day_in_future"),
            ({"division": SHATOU, "purchased_on": 20260215}, "/purchased_on", "date_format"),
            ({"division": SHATOU, "purchased_on": "2026-02-15", "tolerance_days": 8}, "/tolerance_days", None),
            (
                {"division": SHATOU, "purchased_on": "2026-02-15", "drug": "王小样的药"},
                "/drug",
                "drug_contains_identity",
            ),
            ({"division": SHATOU, "purchased_on": "2026-02-15", "name": "x"}, "/name", "unknown_field"),
        ],
    )
    async def test_that_makes_no_sense_is_refused_as_a_whole(
        self, city: City, item: dict[str, Any], pointer: str, code: str | None
    ) -> None:
        case = await city.case(1)
        body = {"items": [city.at(), item]}
        answer = await city.epidemiologist.post(f"/v1/cases/{case}/declared-purchases", json=body)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["pointer"] == f"/items/1{pointer}"
        assert code in (None, error["code"])
        assert await city.told(case) == []

    async def test_may_not_name_the_person_in_a_reason(self, city: City) -> None:
        case = await city.case(1)
        [told] = await city.tell(case, city.at())
        path = f"/v1/cases/{case}/declared-purchases/{told['id']}/retract"
        refused = await city.epidemiologist.post(path, json={"reason": "王小样记错了"})
        assert [error["code"] for error in refused.json()["errors"]] == ["reason_contains_identity"]
        kept = await city.epidemiologist.post(path, json={"reason": "记错了"})
        assert kept.json() == (await city.told(case))[0]
        again = await city.epidemiologist.post(path, json={"reason": "Again"})
        assert again.json() == kept.json()

    async def test_of_a_case_elsewhere_or_of_nobody_is_not_found(self, city: City, client_for: Clients) -> None:
        case = await city.case(1)
        [told] = await city.tell(case, city.at())
        elsewhere = client_for(await keys.token(city.database, "epidemiologist", LUOHU))
        path = f"/v1/cases/{case}/declared-purchases"
        assert (await elsewhere.get(path)).status_code == 404
        assert (await elsewhere.post(path, json={"items": [city.at()]})).status_code == 404
        other = await city.case(2)
        for who, where in ((elsewhere, case), (city.epidemiologist, other), (city.epidemiologist, new_id())):
            retract = f"/v1/cases/{where}/declared-purchases/{told['id']}/retract"
            assert (await who.post(retract, json={"reason": "x"})).status_code == 404

    async def test_hides_a_registration_elsewhere(self, city: City, client_for: Clients) -> None:
        registration = await city.buy(1)
        case = await city.case(1)
        await city.drain()
        await city.tell(case, city.at())
        path = f"/v1/cases/{case}/declared-purchases"
        for division, seen in ((FUTIAN, registration), (SHATOU, registration)):
            viewer = client_for(await keys.token(city.database, "health_authority", division, name=division))
            assert [one["registration_id"] for one in (await viewer.get(path)).json()["items"]] == [seen]
        official = await city.official.get(path)
        assert official.status_code == 403

    async def test_is_written_to_the_trail(self, city: City) -> None:
        case = await city.case(1)
        [told] = await city.tell(case, city.at(drug="布洛芬"))
        await city.tell(case, city.at(drug="布洛芬"), status=200)
        path = f"/v1/cases/{case}/declared-purchases/{told['id']}/retract"
        await city.epidemiologist.post(path, json={"reason": "Told wrongly"})
        async with city.database.transaction() as session:
            query = select(AuditEntry).where(AuditEntry.action.startswith("purchase")).order_by(AuditEntry.id)
            entries = (await session.scalars(query)).all()
        assert [(entry.action, entry.detail) for entry in entries] == [
            ("purchases.declared", {"purchase_ids": [told["id"]]}),
            ("purchase.retracted", {"case_id": case}),
        ]
