"""Plays the hours: sets the clock, carries out what happens, several tills at once, and notes every answer."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime

from app.demo.caselists import AUTHORITY
from app.demo.play.caller import Answer, Caller, Unexpected
from app.demo.play.clock import Hand
from app.demo.play.notebook import Notebook, Told, told
from app.demo.play.opening import Company
from app.demo.script import (
    Action,
    Door,
    Hour,
    Reclassify,
    ReviewReward,
    Row,
    SendRegistrations,
    SetRegime,
    SetRoster,
    SetStanding,
    UploadCases,
    Verdict,
)

TILLS_AT_ONCE = 10
LONGEST_REST_SECONDS = 90.0
_STATUS_AFTER = {Verdict.APPROVE: "approved", Verdict.REJECT: "rejected", Verdict.PAY: "paid"}


class WorkStuck(Exception):
    """The background work does not come to rest; the message counts the jobs by kind and state."""


class Driver:
    """Carries out a plan."""

    def __init__(self, caller: Caller, company: Company, hand: Hand, notebook: Notebook) -> None:
        """Play through `caller` as `company`, with the clock in `hand`."""
        self._caller = caller
        self._company = company
        self._hand = hand
        self._notebook = notebook
        self._tills = asyncio.Semaphore(TILLS_AT_ONCE)

    async def play(self, hours: tuple[Hour, ...], begun: Callable[[datetime], None]) -> None:
        """Play all hours; `begun` is called at the beginning of each.

        Raises:
            ServiceSilent, Unexpected, WorkStuck.
        """
        for hour in hours:
            if hour.quiet:
                await self.rest()
            self._hand.set_to(hour.at)
            begun(hour.at)
            notes = await asyncio.gather(*(self._act(action) for action in hour.actions))
            self._notebook.note([one for those in notes for one in those])

    async def rest(self) -> None:
        """Wait until no job is waiting or being worked on, as `/metrics` tells it.

        Raises:
            WorkStuck: jobs have failed for good, or it takes too long.
        """
        until = time.monotonic() + LONGEST_REST_SECONDS
        pause = 0.02
        while True:
            metrics = await self._caller.must(200, method="GET", path="/metrics", accept="text/plain")
            queue = jobs_in(metrics.text)
            if queue is not None:
                if not queue:
                    return
                if any(state == "dead" for _, state in queue) or time.monotonic() > until:
                    raise WorkStuck(", ".join(f"{count} {kind} {state}" for (kind, state), count in queue.items()))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    async def _act(self, action: Action) -> list[Told]:
        async with self._tills:
            match action:
                case SendRegistrations(door=Door.SINGLE):
                    return [await self._send_one(action.pharmacy, row) for row in action.rows]
                case SendRegistrations():
                    return await self._send_batch(action)
                case UploadCases():
                    return await self._upload(action)
                case _:
                    await self._decree(action)
                    return []

    async def _send_one(self, pharmacy: int, row: Row) -> Told:
        answer = await self._caller.send("POST", "/v1/registrations", self._company.tills[pharmacy], json=row.body)
        status = single_result(answer)
        errors = [] if answer.status < 400 else answer.body.get("errors") or [{"code": answer.code}]
        result = {"status": status, "id": answer.body.get("id"), "errors": errors}
        return told(pharmacy, row, result, resent=answer.resent, sent_at=answer.sent_at)

    async def _send_batch(self, action: SendRegistrations) -> list[Told]:
        bodies = [row.body for row in action.rows]
        ndjson = None
        if action.door is Door.NDJSON:
            ndjson = "\n".join(json.dumps(body, ensure_ascii=False) for body in bodies).encode()
        answer = await self._caller.must(
            200,
            method="POST",
            path="/v1/registrations/batch",
            token=self._company.tills[action.pharmacy],
            json=bodies if ndjson is None else None,
            lines=ndjson,
        )
        return _told_of_rows(action.pharmacy, action.rows, answer)

    async def _upload(self, action: UploadCases) -> list[Told]:
        answer = await self._caller.must(
            200,
            method="POST",
            path="/v1/cases/batch",
            token=self._company.tokens["health_authority"],
            json=[row.body for row in action.rows],
        )
        return _told_of_rows(None, action.rows, answer)

    async def _decree(self, action: Action) -> None:
        """Carry out what somebody in an office does."""
        tokens, pharmacies = self._company.tokens, self._company.pharmacy_ids
        match action:
            case Reclassify():
                path = f"/v1/cases/{self._case_id(action.authority, action.case_number)}/classification"
                await self._caller.must(
                    200, method="POST", path=path, token=tokens["health_authority"], json=action.body
                )
            case SetRegime():
                await self._declare_regime(action)
            case SetStanding():
                path = f"/v1/pharmacies/{pharmacies[action.pharmacy]}"
                await self._caller.must(200, method="PATCH", path=path, token=tokens["official"], json=action.body)
            case SetRoster():
                path = f"/v1/pharmacies/{pharmacies[action.pharmacy]}/roster"
                till = self._company.tills[action.pharmacy]
                await self._caller.must(200, method="PUT", path=path, token=till, json=action.body)
            case ReviewReward():
                await self._review(action)

    async def _declare_regime(self, action: SetRegime) -> None:
        answer = await self._caller.send("POST", "/v1/regimes", self._company.tokens["official"], json=action.body)
        # The answer to the first attempt was lost: the state stands, and does not go with itself.
        if answer.status != 201 and not (answer.resent and answer.status == 409):
            raise Unexpected(f"POST /v1/regimes was answered {answer.status} {answer.code}")

    async def _review(self, action: ReviewReward) -> None:
        payer = action.verdict is Verdict.PAY
        token = self._company.tokens["second_official" if payer else "official"]
        found = await self._caller.pages(
            "/v1/rewards/decisions",
            token,
            case=self._case_id(action.authority, action.case_number),
            pharmacy=self._company.pharmacy_ids[action.pharmacy],
        )
        if len(found) != 1:
            raise Unexpected(f"{len(found)} decisions about {action.case_number} and pharmacy {action.pharmacy}")
        path = f"/v1/rewards/decisions/{found[0]['id']}"
        answer = await self._caller.send("POST", f"{path}/{action.verdict}", token, json={"reason": action.reason})
        if answer.resent and answer.status == 409:
            answer = await self._caller.send("GET", path, token)
        if answer.status != 200 or answer.body["status"] != _STATUS_AFTER[action.verdict]:
            raise Unexpected(f"{action.verdict} of {action.case_number} was answered {answer.status} {answer.code}")

    def _case_id(self, authority: str, case_number: str) -> str:
        if authority != AUTHORITY or case_number not in self._notebook.case_ids:
            raise Unexpected(f"no list had case {case_number} of {authority}")
        return self._notebook.case_ids[case_number]


def single_result(answer: Answer) -> str:
    """Return the result of a single POST in the words of a batch.

    Raises:
        Unexpected: it is none.
    """
    known = {200: "duplicate", 201: "created", 409: "conflict", 422: "invalid"}
    if answer.code == "registration_not_required":
        return "not_required"
    if answer.status not in known:
        raise Unexpected(f"POST /v1/registrations was answered {answer.status} {answer.code}")
    return known[answer.status]


def jobs_in(metrics: str) -> dict[tuple[str, str], int] | None:
    """Return how many jobs there are by kind and state, without the zeros; None while the database does not tell."""
    counts = {}
    for line in metrics.splitlines():
        if line.startswith("sentinel_jobs{"):
            labels, _, value = line.removeprefix("sentinel_jobs{").rpartition("} ")
            named = dict(label.split("=", 1) for label in labels.split(","))
            counts[named["kind"].strip('"'), named["state"].strip('"')] = int(float(value))
    return {key: count for key, count in counts.items() if count} if counts else None


def _told_of_rows(who: int | None, rows: tuple[Row, ...], answer: Answer) -> list[Told]:
    results = answer.body["results"]
    if [result["index"] for result in results] != list(range(len(rows))):
        raise Unexpected(f"{len(rows)} rows were answered by {len(results)} results, or not in order")
    return [
        told(who, row, result, resent=answer.resent, sent_at=answer.sent_at)
        for row, result in zip(rows, results, strict=True)
    ]
