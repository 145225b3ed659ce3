"""Before the curtain: an empty database, tokens for every role, pharmacies enrolled, an endpoint subscribed."""

import asyncio
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app import serving
from app.auth import service as auth
from app.auth.rules import SYSTEM, Role
from app.core.clock import Clock
from app.core.database import Database
from app.core.embedded import EmbeddedPostgres, EmbeddedPostgresError, running
from app.demo.city import DISTRICT
from app.demo.play.caller import Caller
from app.demo.play.subscriber import Subscriber
from app.demo.script import Json

LEFTOVERS_SECONDS = 20.0
AT_ONCE = 6

KINDS = ("case.matched", "clue.reported", "match.withdrawn")
"""The kinds of alert of which the truth is known."""

PEOPLE = {
    "health_authority": (Role.HEALTH_AUTHORITY, "Futian CDC (demo)"),
    "epidemiologist": (Role.EPIDEMIOLOGIST, "Epidemiologist on duty (demo)"),
    "official": (Role.OFFICIAL, "Official A (demo)"),
    "second_official": (Role.OFFICIAL, "Official B (demo)"),
    "auditor": (Role.AUDITOR, "Auditor (demo)"),
}
"""Accounts of the district; the second official pays what the first approves."""


@dataclass(slots=True)
class Company:
    """Who is there: tokens by part, tills by pharmacy's index, the subscription."""

    tokens: dict[str, str]
    pharmacy_ids: list[str] = field(default_factory=list)
    tills: list[str] = field(default_factory=list)
    subscription_id: str = ""


@contextmanager
def empty_place(folder: Path) -> Iterator[str]:
    """Give the URL of a new and empty embedded database in the folder; what a run before left there is erased.

    Raises:
        NotReady: another demo is being played in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    descriptor = os.open(folder / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise serving.NotReady(
                f"Another demo is running in {folder}. End it first, or name another SENTINEL_DATA_DIR."
            ) from None
        _erase(folder)
        with running(folder) as url:
            yield url
    finally:
        os.close(descriptor)


def _erase(folder: Path) -> None:
    """Remove the database and the keys of a run before, whose processes may be a moment from their end."""
    until = time.monotonic() + LEFTOVERS_SECONDS
    while True:
        try:
            EmbeddedPostgres(folder).erase()
            break
        except EmbeddedPostgresError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    (folder / serving.KEY_FILE).unlink(missing_ok=True)


async def engage(url: str, clock: Clock) -> Company:
    """Prepare the database and make a token for each part, as an operator does with `sentinel keys create`."""
    await serving.prepare_database(url, clock)
    database = Database(url)
    tokens = {}
    try:
        async with database.transaction() as session:
            for part, (role, name) in {"admin": (Role.ADMIN, "Administrator (demo)"), **PEOPLE}.items():
                division = None if role is Role.ADMIN else DISTRICT
                key = await auth.create_key(
                    session, actor=SYSTEM, now=clock.now(), role=role, name=name, division=division
                )
                tokens[part] = key.token
    finally:
        await database.dispose()
    return Company(tokens)


async def enrol(caller: Caller, company: Company, pharmacies: tuple[Json, ...]) -> None:
    """Enrol the pharmacies in order and give each till its key."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def enrol_one(body: Json) -> tuple[str, str]:
        async with slots:
            admin, official = company.tokens["admin"], company.tokens["official"]
            made = await caller.must(201, method="POST", path="/v1/pharmacies", token=admin, json=body)
            path = f"/v1/pharmacies/{made.body['id']}/keys"
            key = await caller.must(201, method="POST", path=path, token=official, json={"name": "till 1"})
            return made.body["id"], key.body["token"]

    enrolled = await asyncio.gather(*(enrol_one(body) for body in pharmacies))
    company.pharmacy_ids = [pharmacy_id for pharmacy_id, _ in enrolled]
    company.tills = [token for _, token in enrolled]


async def subscribe(caller: Caller, company: Company, subscriber: Subscriber) -> None:
    """Let the epidemiologist subscribe the demo's endpoint to every kind of alert."""
    wanted = {
        "url": subscriber.url,
        "kinds": list(KINDS),
        "divisions": [DISTRICT],
        "detail": "pseudonymous",
        "description": "The demo's own subscriber",
    }
    token = company.tokens["epidemiologist"]
    made = await caller.must(201, method="POST", path="/v1/subscriptions", token=token, json=wanted)
    subscriber.trust(made.body["secret"])
    company.subscription_id = made.body["id"]
