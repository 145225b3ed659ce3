"""What the service says when all is over: every list read back through the HTTP API, as those who may see it."""

from dataclasses import dataclass
from typing import Any

from app.demo.play.caller import Caller
from app.demo.play.opening import Company
from app.demo.script import DAYS, Calendar

Item = dict[str, Any]

_UNMET = "首个未满足:"


@dataclass(frozen=True, slots=True)
class Found:
    """The service's own account."""

    registrations: list[Item]
    cases: list[Item]
    matches: list[Item]
    decisions: list[Item]
    rewards: Item
    """The total of the reward report."""
    net: Item
    """The capture report over the days of the story."""
    silences: list[Item]
    alerts: list[Item]
    events: list[Item]
    deliveries: list[Item]
    criterion_words: dict[str, str]
    """Criterion's code → how the reward report names it when it is not met, in Chinese."""


async def read_back(caller: Caller, company: Company, calendar: Calendar) -> Found:
    """Read everything."""
    days = {"from": calendar.on(0).isoformat(), "to": calendar.on(DAYS + 1).isoformat()}
    epidemiologist, official = company.tokens["epidemiologist"], company.tokens["official"]
    report = await caller.must(200, method="GET", path="/v1/rewards/report", token=official)
    net = await caller.must(200, method="GET", path="/v1/surveillance/capture", token=official, params=days)
    return Found(
        registrations=await caller.pages("/v1/registrations", epidemiologist),
        cases=await caller.pages("/v1/cases", epidemiologist),
        matches=await caller.pages("/v1/matches", epidemiologist),
        decisions=await caller.pages("/v1/rewards/decisions", official),
        rewards=report.body["total"],
        net=net.body,
        silences=await caller.pages("/v1/surveillance/silences", official),
        alerts=await caller.pages("/v1/alerts", epidemiologist),
        events=await _events(caller, epidemiologist),
        deliveries=await caller.pages(f"/v1/subscriptions/{company.subscription_id}/deliveries", epidemiologist),
        criterion_words=await _words(caller, official),
    )


async def _events(caller: Caller, token: str) -> list[Item]:
    """Poll as a subscriber does that has no endpoint: on from where the page before ended, until there is no more."""
    events: list[Item] = []
    after = "0"
    while True:
        params = {"after": after, "limit": 500}
        page = (await caller.must(200, method="GET", path="/v1/events", token=token, params=params)).body
        if not page["items"]:
            return events
        events += page["items"]
        after = page["next_cursor"]


async def _words(caller: Caller, token: str) -> dict[str, str]:
    """Take the criteria's names from the head of the report that officials open in a spreadsheet."""
    table = await caller.must(200, method="GET", path="/v1/rewards/report", token=token, accept="text/csv")
    head = table.text.lstrip("\ufeff").splitlines()[0].split(",")
    names = [cell.strip('"').removeprefix(_UNMET).rpartition(" ") for cell in head if _UNMET in cell]
    return {code: word for word, _, code in names}
