"""Every figure of the net is counted again, in plain Python, from what was sent and what the API shows."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import sqrt
from random import Random
from typing import Any

import httpx
import pytest

from app.core.clock import CHINA
from app.core.database import Database
from app.core.sealing import Keyring
from tests.capture.conftest import IBUPROFEN, LIANHUA, TOOTHPASTE, City, somebody
from tests.conftest import Clients, SettableClock
from tests.factories import keys
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU
from tests.factories.identities import flow_worker
from tests.factories.pharmacies import enrolled
from tests.factories.world import build_world

FIRST, END = date(2026, 2, 3), date(2026, 2, 19)
PERIOD = {"from": FIRST.isoformat(), "to": END.isoformat()}
NEIGHBOUR = "440304006"
"""Another street of Futian."""
DRUGS = {IBUPROFEN: "布洛芬", LIANHUA: "连花清瘟胶囊(颗粒)"}
FIELDS = ("name", "document", "phone", "address")


@dataclass
class Told:
    """What was sent, as a plain account: the model against which the figures are held."""

    registrations: list[dict[str, Any]] = field(default_factory=list)
    voided: set[str] = field(default_factory=set)
    cases: dict[str, int] = field(default_factory=dict)
    discarded: set[str] = field(default_factory=set)


class GeneratedCity(City):
    """A fortnight of made-up trade in three streets, sent through the doors, at made-up moments."""

    divisions: list[str]
    known: Told

    async def live(self, chance: Random) -> None:
        self.known = Told()
        await self._trade(chance)
        await self._list(chance)
        await self._interview(chance)
        await self._state(chance)
        await self.drain()

    async def _trade(self, chance: Random) -> None:
        for _ in range(70):
            bought = datetime(
                2026, 2, chance.randint(2, 19), chance.randint(0, 23), chance.randint(0, 59), tzinfo=CHINA
            )
            delay = timedelta(minutes=chance.choice([0, 1, 3, 30, 600, 1439, 1440, 1441, 4000, 20000]))
            self.clock.moment = (bought + delay).astimezone(UTC)
            till, person = chance.randrange(len(self.tills)), chance.randrange(12)
            buyer = somebody(person)
            missing = [name for name in FIELDS[2:] if chance.random() < 0.2]
            buyer |= dict.fromkeys(missing)
            items = chance.choice([[IBUPROFEN], [LIANHUA], [IBUPROFEN, LIANHUA], [IBUPROFEN, TOOTHPASTE]])
            warm = chance.random() < 0.9
            patient = None
            if chance.random() < 0.2:
                patient = somebody(chance.randrange(12)) | {"temperature_c": 36.6 if chance.random() < 0.7 else None}
            body = self.world.purchase(
                buyer=buyer,
                patient=patient,
                purchased_at=bought.isoformat(),
                temperature_c=36.6 if warm else None,
                items=[{"name": name, "quantity": chance.randint(1, 3)} for name in items],
            )
            answer = await self.tills[till].post("/v1/registrations", json=body)
            assert answer.status_code == 201, answer.text
            lacking = missing + ([] if warm else ["temperature"])
            lacking += ["temperature"] if patient and patient["temperature_c"] is None else []
            kept = {"id": answer.json()["id"], "till": till, "bought": bought, "lacking": lacking, "drugs": items}
            kept |= {"person": person, "patient": patient, "delay": delay.total_seconds()}
            self.known.registrations.append(kept)
            if chance.random() < 0.1:
                path = f"/v1/registrations/{kept['id']}/void"
                assert (await self.tills[till].post(path, json={"reason": "Mistyped"})).status_code == 200
                self.known.voided.add(kept["id"])

    async def _list(self, chance: Random) -> None:
        self.clock.moment = datetime(2026, 2, 25, 2, 0, tzinfo=UTC)
        for person in range(10):
            disease = "covid-19" if person % 3 else "dengue"
            case = await self.case(person, disease=disease, onset_on="2026-02-12")
            self.known.cases[case] = person
            if chance.random() < 0.2:
                body = {"classification": "discarded", "reason": "PCR negative"}
                await self.authority.post(f"/v1/cases/{case}/classification", json=body)
                self.known.discarded.add(case)
        await self.drain()

    async def _interview(self, chance: Random) -> None:
        for case, person in self.known.cases.items():
            items = []
            for one in self.known.registrations:
                if person == one["person"] and chance.random() < 0.6:
                    items += [self._remembered(one, chance)]
            for _ in range(chance.randint(0, 2)):
                on = date(2026, 2, chance.randint(2, 19)).isoformat()
                items.append(self.at(chance.randrange(len(self.tills)), on, drug=chance.choice([*DRUGS, None])))
            unique = {
                (one.get("pharmacy_id"), one.get("division"), one["purchased_on"], one["drug"]): one for one in items
            }
            if unique:
                await self.tell(case, *unique.values())

    def _remembered(self, one: dict[str, Any], chance: Random) -> dict[str, Any]:
        on = (one["bought"].date() + timedelta(days=chance.choice([-1, 0, 0, 0, 1, 2]))).isoformat()
        drug = chance.choice([one["drugs"][0], one["drugs"][-1], None])
        if chance.random() < 0.2:
            return {"division": self.divisions[one["till"]], "purchased_on": on, "drug": drug}
        return self.at(one["till"], on, drug=drug)

    async def _state(self, chance: Random) -> None:
        for till, client in enumerate(self.tills):
            for day in range(2, 20):
                if chance.random() < 0.6:
                    sold = [{"name": name, "quantity": chance.randint(0, 6)} for name in DRUGS if chance.random() < 0.8]
                    body = {"day": date(2026, 2, day).isoformat(), "items": sold}
                    assert (await client.post("/v1/sales", json=body)).status_code == 201, till

    def standing(self) -> list[dict[str, Any]]:
        """What was registered and not voided."""
        return [one for one in self.known.registrations if one["id"] not in self.known.voided]

    def within(self) -> list[dict[str, Any]]:
        """The same, of purchases in the period."""
        return [one for one in self.standing() if FIRST <= one["bought"].date() < END]

    def key(self, till: int, by: str) -> str:
        """What a line about a pharmacy is called."""
        return str(self.world.pharmacies[till]) if by == "pharmacy" else self.divisions[till]

    async def everything_told(self, disease: str | None) -> list[dict[str, Any]]:
        """All that the cases of a disease told of the period."""
        wanted = [
            case
            for case, person in self.known.cases.items()
            if disease in (None, "covid-19" if person % 3 else "dengue")
        ]
        told = [one for case in wanted for one in await self.told(case)]
        return [one for one in told if FIRST <= date.fromisoformat(one["purchased_on"]) < END]

    def most_covered(self, told: list[dict[str, Any]], units: list[tuple[dict[str, Any], str]]) -> int:
        """Count by trying how many purchases can each have a registered drug of their own."""

        def fits(one: dict[str, Any], unit: tuple[dict[str, Any], str]) -> bool:
            bought, drug = unit
            apart = abs((bought["bought"].date() - date.fromisoformat(one["purchased_on"])).days)
            if one["pharmacy_id"] is None:
                there = one["division"] == self.divisions[bought["till"]]
            else:
                there = one["pharmacy_id"] == str(self.world.pharmacies[bought["till"]])
            return there and apart <= 1 and one["drug"] in (None, drug)

        best = {frozenset[int](): 0}
        for one in told:
            following = dict(best)
            for taken, count in best.items():
                for at, unit in enumerate(units):
                    if at not in taken and fits(one, unit):
                        key = taken | {at}
                        following[key] = max(following.get(key, 0), count + 1)
            best = following
        return max(best.values())

    async def show(self, what: str, client: httpx.AsyncClient | None = None, **query: Any) -> Any:
        """A figure, as it is answered."""
        answer = await (client or self.official).get(f"/v1/surveillance/{what}", params=PERIOD | query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def net(
    request: pytest.FixtureRequest, database: Database, client_for: Clients, keyring: Keyring, clock: SettableClock
) -> GeneratedCity:
    """Four pharmacies: two in one street, two in the next, where nothing had to be registered from 18 February on."""
    world = await build_world(database, pharmacies=2)
    for number in (3, 4):
        pharmacy = await enrolled(database, number, NEIGHBOUR)
        world.pharmacies.append(pharmacy)
        world.tills.append(await keys.token(database, "pharmacy", pharmacy_ids=[pharmacy]))
    city = GeneratedCity(world, client_for, flow_worker(database, keyring, clock), clock)
    city.divisions = [SHATOU, SHATOU, NEIGHBOUR, NEIGHBOUR]
    await city.live(Random(request.param))
    # Declared afterwards for days gone by: what was registered stays, and nothing had to be.
    counts = {"division": NEIGHBOUR, "disease": "covid-19", "state": "counts", "valid_from": "2026-02-18"}
    assert (await city.official.post("/v1/regimes", json=counts)).status_code == 201
    return city


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which a share of the values lies, linear between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def score_interval(part: int, whole: int) -> tuple[float, float]:
    """The ends of the score test, found by halving."""

    def end(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(part / whole - middle) <= 1.959963984540054 * sqrt(middle * (1 - middle) / whole):
                inside = middle
            else:
                outside = middle
        return inside

    return end(part / whole, 0.0), end(part / whole, 1.0)


async def timeliness_is_counted(net: GeneratedCity, by: str) -> None:
    shown = await net.show("timeliness", group_by=by)
    groups: dict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for one in net.within():
        groups[net.key(one["till"], by)].append(one)
        groups[None].append(one)
    lines = {line["key"]: line for line in [*shown["lines"], shown["total"]]}
    assert lines.keys() == groups.keys()
    for key, ones in groups.items():
        line, delays = lines[key], [one["delay"] for one in ones]
        assert line["registrations"] == len(ones)
        assert line["on_time"] == sum(delay <= 86_400 for delay in delays)
        assert line["on_time_share"] == pytest.approx(line["on_time"] / len(ones), abs=1e-4)
        assert line["median_seconds"] == pytest.approx(percentile(delays, 0.5), abs=1e-3)
        assert line["p90_seconds"] == pytest.approx(percentile(delays, 0.9), abs=1e-3)
        assert line["complete"] == sum(not one["lacking"] for one in ones)
        # Where nothing had to be told by what is declared now, nothing counts as missing.
        bound = [one for one in ones if net.divisions[one["till"]] != NEIGHBOUR or one["bought"].day < 18]
        people = sum(1 + (one["patient"] is not None) for one in bound)
        lacking = Counter(name for one in bound for name in one["lacking"])
        assert {one["field"]: (one["required"], one["given"]) for one in line["fields"]} == {
            name: (people, people - lacking[name]) for name in (*FIELDS, "temperature") if people
        }
        for one in line["fields"]:
            assert one["share"] == pytest.approx(one["given"] / one["required"], abs=1e-4)
    slowest = [line["p90_seconds"] for line in shown["lines"]]
    assert slowest == sorted(slowest, reverse=True)


async def capture_is_counted(net: GeneratedCity, by: str, disease: str | None) -> None:
    shown = await net.show("capture", group_by=by, **({} if disease is None else {"disease": disease}))
    groups: dict[str | None, Counter[str]] = defaultdict(Counter)
    for one in await net.everything_told(disease):
        groups[one["pharmacy_id"] if by == "pharmacy" else one["division"]][one["status"]] += 1
    lines = {line["key"]: line for line in shown["lines"]}
    assert lines.keys() == groups.keys()
    sums = Counter[str]()
    for found in groups.values():
        sums.update(found)
    for line, found in [*((lines[key], found) for key, found in groups.items()), (shown["total"], sums)]:
        statuses = ("covered", "missed", "not_required", "not_judged")
        assert {status: line[status] for status in statuses} == {status: found[status] for status in statuses}
        judged = found["covered"] + found["missed"]
        if not judged:
            assert (line["rate"], line["low"], line["high"]) == (None, None, None)
            continue
        assert line["rate"] == pytest.approx(found["covered"] / judged, abs=1e-4)
        assert (line["low"], line["high"]) == pytest.approx(score_interval(found["covered"], judged), abs=1e-4)
    worst = [line["missed"] for line in shown["lines"]]
    assert worst == sorted(worst, reverse=True)
    assert None not in {line["name"] for line in shown["lines"] if line["key"] is not None}


async def the_estimate_is_counted(net: GeneratedCity) -> None:
    estimate = (await net.show("capture"))["estimate"]
    told = await net.everything_told(None)
    inside = {one["id"]: one for one in net.within()}
    sample = [
        one
        for one in told
        if one["status"] == "missed" or (one["status"] == "covered" and one["registration_id"] in inside)
    ]
    both = sum(one["status"] == "covered" for one in sample)
    people = {net.known.cases[one["case_id"]] for one in told if one["status"] in ("covered", "missed")}
    # A person is registered as buyer of one purchase and as patient of another; each purchase counts for each of them.
    registered = sum(
        sum(drug in DRUGS for drug in set(one["drugs"])) * len(whom(one) & people) for one in inside.values()
    )
    assert (estimate["declared"], estimate["registered"], estimate["both"]) == (len(sample), registered, both)
    total = (len(sample) + 1) * (registered + 1) / (both + 1) - 1
    assert estimate["purchases"] == pytest.approx(total, abs=0.06)
    assert estimate["never_registered"] == pytest.approx(total - registered, abs=0.06)
    assert estimate["purchases_low"] <= estimate["purchases"] <= estimate["purchases_high"]
    assert estimate["never_registered_low"] == pytest.approx(estimate["purchases_low"] - registered, abs=0.06)
    assert (estimate["reason"], estimate["caution"]) == (None, None)
    assert len(estimate["assumptions"]) == 4


async def as_many_are_covered_as_can_be(net: GeneratedCity) -> None:
    for case, person in net.known.cases.items():
        told = [one for one in await net.told(case) if one["ground"] != "outside_window"]
        if case in net.known.discarded:
            assert {one["status"] for one in told} <= {"not_judged"}
            continue
        mine = [one for one in net.standing() if person in whom(one)]
        units = [(one, drug) for one in mine for drug in sorted(set(one["drugs"])) if drug in DRUGS]
        assert sum(one["status"] == "covered" for one in told) == net.most_covered(told, units)


async def gaps_are_those_of_the_reconciliations(net: GeneratedCity, by: str) -> None:
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    days: dict[str, set[str]] = defaultdict(set)
    for till, pharmacy in enumerate(net.world.pharmacies):
        answer = await net.official.get("/v1/reconciliation", params=PERIOD | {"pharmacy": str(pharmacy)})
        for day in answer.json()["days"]:
            for drug in day["drugs"]:
                if drug["gap"] is not None:
                    key = drug["drug"] if by == "drug" else net.key(till, by)
                    gap = max(drug["gap"], 0)
                    sums[key].update(sold=drug["sold"], registered=drug["registered"], unregistered=gap)
                    days[key] |= {day["day"]} if gap else set()
    shown = (await net.show("gaps", group_by=by))["items"]
    told = {one["key"]: {name: one[name] for name in ("sold", "registered", "unregistered", "days")} for one in shown}
    assert told == {
        key: {name: found[name] for name in ("sold", "registered", "unregistered")} | {"days": len(days[key])}
        for key, found in sums.items()
    }
    widest = [one["unregistered"] for one in shown]
    assert widest == sorted(widest, reverse=True)
    assert all((one["name"] is None) == (by == "drug") for one in shown)


def whom(one: dict[str, Any]) -> set[int]:
    """The people whom a registration concerns, by number."""
    numbers = {somebody(number)["phone"]: number for number in range(12)}
    return {one["person"], *([] if one["patient"] is None else [numbers[one["patient"]["phone"]]])}


class TestTheNetInFigures:
    @pytest.mark.parametrize("net", [1], indirect=True)
    async def test_is_what_counting_gives(self, net: GeneratedCity) -> None:
        await as_many_are_covered_as_can_be(net)
        await the_estimate_is_counted(net)
        for by in ("pharmacy", "division"):
            await timeliness_is_counted(net, by)
            for disease in (None, "dengue"):
                await capture_is_counted(net, by, disease)
        for by in ("pharmacy", "division", "drug"):
            await gaps_are_those_of_the_reconciliations(net, by)

    @pytest.mark.parametrize("net", [2], indirect=True)
    async def test_ends_at_the_border_of_one_s_division(self, net: GeneratedCity, client_for: Clients) -> None:
        here = client_for(await keys.token(net.database, "epidemiologist", SHATOU, name="Synthetic street"))
        elsewhere = client_for(await keys.token(net.database, "official", LUOHU))
        for what in ("timeliness", "capture", "gaps"):
            seen = await net.show(what, here)
            assert seen != await net.show(what)
            assert seen == await net.show(what, division=SHATOU)
            assert await net.show(what, here, division=FUTIAN) == seen
            nothing = await net.show(what, elsewhere)
            assert nothing.get("lines", nothing.get("items")) == []
            assert (await net.authority.get(f"/v1/surveillance/{what}", params=PERIOD)).status_code == 403
        assert (await net.show("capture", elsewhere))["estimate"]["reason"] == "nothing_declared"
        assert (await net.show("timeliness", elsewhere))["total"]["median_seconds"] is None

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"from": "2026-02-03", "to": "2026-02-03"}, "period_empty"),
            ({"from": "2026-02-03", "to": "2026-05-07"}, "period_too_long"),
            (PERIOD | {"group_by": "person"}, "enum"),
            (PERIOD | {"since": "2026-02-03"}, "unknown_field"),
        ],
    )
    async def test_is_asked_for_in_its_own_words(self, city: City, query: dict[str, str], code: str) -> None:
        for what in ("timeliness", "capture", "gaps"):
            answer = await city.official.get(f"/v1/surveillance/{what}", params=query)
            assert [error["code"] for error in answer.json()["errors"]] == [code]
