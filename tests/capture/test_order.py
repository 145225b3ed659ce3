"""What is known of declared purchases in the end does not depend on what came first."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from tests.capture.conftest import IBUPROFEN, LIANHUA, City, somebody


class Story:
    """Facts that can come in almost any order: each says which one must have come before."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.ids: dict[str, str] = {}
        both = [{"name": IBUPROFEN, "quantity": 1}, {"name": LIANHUA, "quantity": 1}]
        patient = somebody(1) | {"temperature_c": 36.6}
        self.facts: dict[str, tuple[str | None, Callable[[], Awaitable[Any]]]] = {
            "two drugs": (None, self.buys("two drugs", 1, 0, "2026-02-15", items=both)),
            "voided": (None, self.buys("voided", 1, 1, "2026-02-16")),
            "void": ("voided", self.voids("voided")),
            "for another": (None, self.buys("for another", 2, 1, "2026-02-12", patient=patient)),
            "a stranger": (None, self.buys("a stranger", 3, 1, "2026-02-16")),
            "case": (None, self.lists),
            "discarded": ("case", self.reclassifies("discarded", None)),
            "revived": ("discarded", self.reclassifies("confirmed", "2026-02-17T20:10:00+08:00")),
            "told by name": ("case", self.tells(city.at(0, drug=IBUPROFEN))),
            "told as any": ("case", self.tells(city.at(0, "2026-02-14"))),
            "told too much": ("case", self.tells(city.at(0, "2026-02-16", drug=LIANHUA), city.at(0, "2026-02-16"))),
            "told of the voided": ("case", self.tells(city.at(1, "2026-02-16"))),
            "told by street": (
                "case",
                self.tells({"division": "440304005", "purchased_on": "2026-02-10", "tolerance_days": 2}),
            ),
        }

    def buys(self, name: str, person: int, till: int, on: str, **members: Any) -> Callable[[], Awaitable[None]]:
        async def happen() -> None:
            self.ids[name] = await self.city.buy(person, till, at=f"{on}T09:41:07+08:00", **members)

        return happen

    def voids(self, name: str) -> Callable[[], Awaitable[None]]:
        async def happen() -> None:
            path = f"/v1/registrations/{self.ids[name]}/void"
            assert (await self.city.tills[1].post(path, json={"reason": "Mistyped"})).status_code == 200

        return happen

    async def lists(self) -> None:
        self.ids["case"] = await self.city.case(1)

    def reclassifies(self, classification: str, confirmed_at: str | None) -> Callable[[], Awaitable[None]]:
        async def happen() -> None:
            body = {"classification": classification, "reason": "-", "confirmed_at": confirmed_at}
            path = f"/v1/cases/{self.ids['case']}/classification"
            assert (await self.city.authority.post(path, json=body)).status_code == 200

        return happen

    def tells(self, *items: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
        return lambda: self.city.tell(self.ids["case"], *items)


class TestWhatIsKnownInTheEnd:
    @pytest.mark.parametrize("seed", range(6))
    async def test_does_not_depend_on_what_came_first(self, city: City, seed: int) -> None:
        chance, story = Random(seed), Story(city)
        left = dict(story.facts)
        while left:
            ready = [name for name, (before, _) in left.items() if before not in left]
            name = chance.choice(ready)
            _, happen = left.pop(name)
            await happen()
            if chance.random() < 0.4:
                await city.drain()
        await city.drain()
        names = {None: None} | {registration: name for name, registration in story.ids.items()}
        tills = {None: None} | {str(pharmacy): till for till, pharmacy in enumerate(city.world.pharmacies)}
        told = await city.told(story.ids["case"])
        assert {
            (tills[one["pharmacy_id"]], one["purchased_on"], one["drug"]): (
                *(one["status"], one["ground"], names[one["registration_id"]]),
            )
            for one in told
        } == {
            (0, "2026-02-15", IBUPROFEN): ("covered", "registered", "two drugs"),
            (0, "2026-02-16", LIANHUA): ("covered", "registered", "two drugs"),
            (0, "2026-02-14", None): ("missed", "other_drug", None),
            (0, "2026-02-16", None): ("missed", "other_drug", None),
            (1, "2026-02-16", None): ("missed", "not_registered", None),
            (None, "2026-02-10", None): ("covered", "registered", "for another"),
        }
        # Each miss has one alert that stands, whatever was told and taken back on the way.
        assert len([alert for alert in await city.alerts() if alert["state"] == "raised"]) == 3
