"""When all is over the cases are asked where they bought what; the service says of each purchase whether it was registered."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from app.demo.play.caller import Caller
from app.demo.play.opening import AT_ONCE, Company
from app.demo.script import Calendar, Json
from app.demo.truth import Telling


async def interview(caller: Caller, company: Company, calendar: Calendar, tellings: Iterable[Telling]) -> None:
    """Tell the service what each case told.

    Raises:
        ServiceSilent, Unexpected.
    """
    token = company.tokens["epidemiologist"]
    ids = {case["case_number"]: case["id"] for case in await caller.pages("/v1/cases", token)}
    told: defaultdict[str, list[Json]] = defaultdict(list)
    for telling in tellings:
        item = {
            "pharmacy_id": company.pharmacy_ids[telling.pharmacy],
            "purchased_on": calendar.on(telling.day).isoformat(),
            "tolerance_days": 0,
        }
        told[ids[telling.case_number]].append(item)
    slots = asyncio.Semaphore(AT_ONCE)

    async def tell(case_id: str, items: list[Json]) -> None:
        async with slots:
            path = f"/v1/cases/{case_id}/declared-purchases"
            await caller.must(200, 201, method="POST", path=path, token=token, json={"items": items})

    await asyncio.gather(*(tell(case_id, items) for case_id, items in told.items()))
