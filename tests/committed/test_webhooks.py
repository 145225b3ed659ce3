"""Webhooks with real commits: the order of events under races, deliveries when workers are killed."""

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import pytest
from sqlalchemy import text

from app.auth.rules import Actor
from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Runner
from app.webhooks import kinds
from app.webhooks.jobs import register
from app.webhooks.publishing import publish
from app.webhooks.queries import list_events
from app.webhooks.sender import Sender
from app.webhooks.service import resend_delivery
from app.webhooks.signing import parse_verifying_key, verify
from tests.committed.webhook_worker import KEYRING
from tests.conftest import MOMENT, SettableClock
from tests.factories.divisions import FUTIAN, load_divisions
from tests.factories.keys import actor
from tests.factories.webhooks import LOOPBACK, OTHER, SAMPLE, an_event, subscribe
from tests.webhooks.conftest import Received, answering_with, receiving

EVENTS = 120
CHANCE = random.SystemRandom()


@pytest.fixture
async def epidemiologist(committed: Database, monkeypatch: pytest.MonkeyPatch) -> Actor:
    for kind in (SAMPLE, OTHER):
        monkeypatch.setitem(kinds._declared, kind.name, kind)
    await load_divisions(committed)
    return await actor(committed, "epidemiologist", FUTIAN)


async def count(database: Database, query: str) -> int:
    async with database.transaction() as session:
        return int((await session.execute(text(query))).scalar_one())


@asynccontextmanager
async def worker_process(database: Database) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.committed.webhook_worker", database.url)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class TestTheSequenceOfEvents:
    async def test_is_complete_for_a_reader_who_reads_on_while_others_publish(
        self, committed: Database, epidemiologist: Actor
    ) -> None:
        published: list[UUID] = []
        seen: list[UUID] = []
        done = asyncio.Event()

        async def cause(number: int) -> None:
            for _ in range(15):
                async with committed.transaction() as session:
                    await session.execute(text("SELECT pg_sleep(:s)"), {"s": CHANCE.random() * 0.01})
                    ids = await publish(session, [an_event() for _ in range(number + 1)], keyring=KEYRING)
                    # The commit is late: without the lock others would overtake with higher numbers.
                    await asyncio.sleep(CHANCE.random() * 0.01)
                published.extend(ids)

        async def read() -> None:
            after = 0
            while True:
                last_round = done.is_set()
                async with committed.transaction() as session:
                    rows = await list_events(session, scope=None, after=after, limit=500)
                seen.extend(row.id for row in rows)
                after = rows[-1].sequence if rows else after
                if last_round and not rows:
                    return

        reader = asyncio.create_task(read())
        await asyncio.gather(*(cause(number) for number in range(6)))
        done.set()
        await reader
        assert len(seen) == len(set(seen)) == 15 * (1 + 2 + 3 + 4 + 5 + 6)
        assert set(seen) == set(published)


class TestAWorker:
    async def test_killed_while_it_sends_loses_no_event_and_repeats_it_under_its_id(
        self, committed: Database, epidemiologist: Actor
    ) -> None:
        killed = asyncio.Event()

        async def wait_for_the_kill(request: Received, writer: asyncio.StreamWriter) -> None:
            if not killed.is_set():
                first.kill()  # it has sent, and will never know
                killed.set()
                return
            await answering_with("200 OK")(request, writer)

        async with AsyncExitStack() as stack:
            receiver = await stack.enter_async_context(receiving(wait_for_the_kill))
            made = await subscribe(committed, epidemiologist, KEYRING, receiver.url(), detail="identified")
            async with committed.transaction() as session:
                ids = await publish(session, [an_event() for _ in range(EVENTS)], keyring=KEYRING)
            first = await stack.enter_async_context(worker_process(committed))
            await asyncio.wait_for(killed.wait(), 60)
            await stack.enter_async_context(worker_process(committed))
            end = time.monotonic() + 120
            while await count(committed, "SELECT count(*) FROM deliveries WHERE state <> 'delivered'"):
                assert time.monotonic() < end, "not everything was delivered"
                await asyncio.sleep(0.1)
            assert made.secret is not None
            key = parse_verifying_key(made.secret)
            arrived = Counter(verify([key], row.headers, row.body, now=time.time()) for row in receiver.received)
            bodies = {(row.headers["webhook-id"], row.body) for row in receiver.received}
        assert arrived.keys() == {str(event_id) for event_id in ids}
        assert len(bodies) == EVENTS
        assert max(arrived.values()) == 2  # those that were under way when the worker died
        assert await count(committed, "SELECT count(*) FROM jobs") == 0
        assert await count(committed, "SELECT count(*) FROM attempts") == EVENTS

    async def test_told_to_stop_finishes_what_it_sends(self, committed: Database, epidemiologist: Actor) -> None:
        stopping = asyncio.Event()

        async def slow(request: Received, writer: asyncio.StreamWriter) -> None:
            if not stopping.is_set():
                process.send_signal(signal.SIGTERM)
                stopping.set()
            await asyncio.sleep(0.3)
            await answering_with("200 OK")(request, writer)

        async with AsyncExitStack() as stack:
            receiver = await stack.enter_async_context(receiving(slow))
            await subscribe(committed, epidemiologist, KEYRING, receiver.url())
            async with committed.transaction() as session:
                await publish(session, [an_event() for _ in range(EVENTS)], keyring=KEYRING)
            process = await stack.enter_async_context(worker_process(committed))
            assert await asyncio.wait_for(process.wait(), 60) == 0
            sent = len(receiver.received)
        assert 0 < sent < EVENTS
        assert await count(committed, "SELECT count(*) FROM deliveries WHERE state = 'delivered'") == sent
        assert await count(committed, "SELECT count(*) FROM jobs WHERE state = 'ready'") == EVENTS - sent


class TestADelivery:
    async def test_resent_by_hand_while_it_is_under_way_keeps_both_attempts(
        self, committed: Database, epidemiologist: Actor
    ) -> None:
        under_way, go_on = asyncio.Event(), asyncio.Event()

        async def hold(_request: Received, writer: asyncio.StreamWriter) -> None:
            under_way.set()
            await go_on.wait()
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")

        async with receiving(hold) as receiver, Sender(LOOPBACK) as sender:
            registry = Registry()
            register(registry, keyring=KEYRING, sender=sender)
            await subscribe(committed, epidemiologist, KEYRING, receiver.url())
            async with committed.transaction() as session:
                await publish(session, [an_event()], keyring=KEYRING)
            old_round = asyncio.create_task(Runner(committed, registry, clock=SettableClock()).drain())
            await under_way.wait()
            async with committed.transaction() as session:
                delivery_id = (await session.execute(text("SELECT id FROM deliveries"))).scalar_one()
                await resend_delivery(session, delivery_id, actor=epidemiologist, now=MOMENT)
            go_on.set()
            await old_round
            await Runner(committed, registry, clock=SettableClock()).drain()
        assert len(receiver.received) == 2
        assert await count(committed, "SELECT count(*) FROM attempts") == 2
        # The old round's failure did not touch the new one: one attempt made, and nine of the schedule to come.
        assert await count(committed, "SELECT attempts_made FROM deliveries WHERE state = 'pending'") == 1
