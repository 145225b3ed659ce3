"""Delivering: what a worker does with a delivery, on a real database and with real receivers."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.auth.rules import Actor
from app.core.database import Database
from app.core.handlers import Registry
from app.core.runner import Runner
from app.core.sealing import Keyring
from app.webhooks import service
from app.webhooks.jobs import register
from app.webhooks.models import Attempt, Delivery, Subscription
from app.webhooks.publishing import publish
from app.webhooks.rules import DeliveryState, DisabledReason, Failure
from app.webhooks.sender import Sender, SenderLimits
from app.webhooks.signing import parse_verifying_key, verify
from tests.conftest import MOMENT, SettableClock
from tests.factories.webhooks import LOOPBACK, an_event, subscribe

Work = Callable[[], Awaitable[int]]


@pytest.fixture
async def work(database: Database, keyring: Keyring, clock: SettableClock) -> AsyncIterator[Work]:
    """Do everything that is due."""
    limits = SenderLimits(total_seconds=0.5, connect_seconds=0.3, answer_seconds=0.2)
    async with Sender(LOOPBACK, limits=limits) as sender:
        registry = Registry()
        register(registry, keyring=keyring, sender=sender)
        yield Runner(database, registry, clock=clock).drain


async def send(database: Database, keyring: Keyring, **members: Any) -> UUID:
    async with database.transaction() as session:
        (event_id,) = await publish(session, [an_event(**members)], keyring=keyring)
        return event_id


async def the_delivery(database: Database) -> tuple[Delivery, list[Attempt]]:
    async with database.transaction() as session:
        delivery = (await session.execute(select(Delivery))).scalar_one()
        attempts = (await session.execute(select(Attempt).order_by(Attempt.number))).scalars().all()
    return delivery, list(attempts)


async def the_subscription(database: Database) -> Subscription:
    async with database.transaction() as session:
        return (await session.execute(select(Subscription))).scalar_one()


async def run_sql(database: Database, statement: str, **values: Any) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement), values)


async def make_due(database: Database) -> float:
    """Bring waiting jobs forward; return how long the first would have waited, in seconds."""
    async with database.transaction() as session:
        wait = (
            await session.execute(text("SELECT extract(epoch FROM min(run_at) - clock_timestamp())::float8 FROM jobs"))
        ).scalar_one()
        await session.execute(text("UPDATE jobs SET run_at = clock_timestamp()"))
    assert isinstance(wait, float)
    return wait


class TestADelivery:
    async def test_arrives_signed_with_the_events_id_and_is_kept_as_delivered(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("200 OK", b"thanks")) as receiver:
            made = await subscribe(database, epidemiologist, keyring, receiver.url())
            event_id = await send(database, keyring)
            assert await work() == 1
        request = receiver.received[0]
        assert made.secret is not None
        assert verify([parse_verifying_key(made.secret)], request.headers, request.body, now=time.time()) == str(
            event_id
        )
        assert json.loads(request.body) == {
            "type": "sample.taken",
            "timestamp": "2026-02-15T02:00:00Z",
            "data": {"count": 1},
        }
        delivery, attempts = await the_delivery(database)
        assert (delivery.state, delivery.attempts_made, delivery.failure) == (DeliveryState.DELIVERED, 1, None)
        assert delivery.delivered_at is not None
        assert [(row.number, row.status_code, row.failure, row.excerpt) for row in attempts] == [
            (1, 200, None, "thanks")
        ]
        assert await work() == 0

    @pytest.mark.parametrize(
        ("detail", "members"),
        [
            ("thin", {"count"}),
            ("pseudonymous", {"count", "age_band"}),
            ("identified", {"count", "age_band", "name"}),
        ],
    )
    async def test_tells_as_much_as_was_subscribed_to(
        self,
        database: Database,
        epidemiologist: Actor,
        keyring: Keyring,
        work: Work,
        listening: Any,
        answering: Any,
        detail: str,
        members: set[str],
    ) -> None:
        async with listening(answering("200 OK", b"you sent 400")) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url(), detail=detail)
            await send(database, keyring)
            await work()
        assert json.loads(receiver.received[0].body)["data"].keys() == members
        _, attempts = await the_delivery(database)
        # A subscriber that echoes what it was sent must not put identities into a column in the clear.
        assert attempts[0].excerpt == (None if detail == "identified" else "you sent 400")

    async def test_signed_with_a_key_pair_is_verified_with_the_public_half(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("200 OK")) as receiver:
            made = await subscribe(database, epidemiologist, keyring, receiver.url(), scheme="v1a")
            await send(database, keyring)
            await work()
        assert made.secret is None
        assert made.subscription.public_key is not None
        key = parse_verifying_key(made.subscription.public_key)
        assert verify([key], receiver.received[0].headers, receiver.received[0].body, now=time.time())

    async def test_that_fails_follows_the_schedule_with_the_same_bytes_until_it_is_exhausted(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        waits = []
        async with listening(answering("500 Oops", b"broken")) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url(), detail="identified")
            await send(database, keyring)
            for _ in range(9):
                assert await work() == 1
                delivery, _ = await the_delivery(database)
                assert delivery.state is DeliveryState.PENDING
                waits.append(await make_due(database))
            assert await work() == 1
            assert await work() == 0
        expected = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
        assert all(0.9 * base <= wait <= 1.11 * base for base, wait in zip(expected, waits, strict=True))
        delivery, attempts = await the_delivery(database)
        assert (delivery.state, delivery.failure, delivery.attempts_made) == (DeliveryState.FAILED, Failure.STATUS, 10)
        assert [row.number for row in attempts] == list(range(1, 11))
        assert len({request.body for request in receiver.received}) == 1
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1

    async def test_waits_as_long_as_its_subscriber_asks(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("429 Slow", b"", "Retry-After: 90\r\n")) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url())
            await send(database, keyring)
            await work()
        assert 88 <= await make_due(database) <= 90

    async def test_to_a_dead_host_does_not_hold_up_another(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("200 OK")) as receiver:
            await subscribe(database, epidemiologist, keyring, "http://127.0.0.1:9/")
            await subscribe(database, epidemiologist, keyring, receiver.url())
            await send(database, keyring)
            assert await work() == 2
        assert len(receiver.received) == 1
        async with database.transaction() as session:
            states = (await session.execute(select(Delivery.state, Delivery.failure))).all()
        assert sorted(states) == [(DeliveryState.DELIVERED, None), (DeliveryState.PENDING, Failure.CONNECTION)]

    async def test_whose_seal_is_broken_waits_for_operators_and_spoils_no_other(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("200 OK")) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url(), detail="identified")
            broken = await send(database, keyring)
            await run_sql(database, "UPDATE events SET identified = decode('0001' || repeat('00', 40), 'hex')")
            await send(database, keyring)
            assert await work() == 2
        assert len(receiver.received) == 1
        async with database.transaction() as session:
            states = dict(iter(await session.execute(select(Delivery.event_id, Delivery.state))))
            error = (await session.execute(text("SELECT last_error FROM jobs"))).scalar_one()
        assert states[broken] is DeliveryState.PENDING
        assert error == "SealBroken"


class TestASubscription:
    async def test_that_answers_gone_is_disabled_and_the_rest_is_kept_for_resending(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("410 Gone")) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url())
            await send(database, keyring)
            await work()
        delivery, _ = await the_delivery(database)
        assert delivery.state is DeliveryState.FAILED
        subscription = await the_subscription(database)
        assert (subscription.enabled, subscription.disabled_reason) == (False, DisabledReason.GONE)
        async with database.transaction() as session:
            acts = (
                await session.execute(text("SELECT action, role FROM audit_entries ORDER BY id DESC LIMIT 1"))
            ).one()
        assert tuple(acts) == ("subscription.disabled", "system")

    async def test_that_only_fails_is_disabled_after_five_days_and_not_before(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work
    ) -> None:
        await subscribe(database, epidemiologist, keyring)
        await send(database, keyring)
        await work()
        assert (await the_subscription(database)).failing_since is not None
        for age, enabled in (("4 days 23 hours", True), ("5 days", False)):
            await run_sql(database, f"UPDATE subscriptions SET failing_since = clock_timestamp() - interval '{age}'")
            await make_due(database)
            await work()
            assert (await the_subscription(database)).enabled is enabled
        assert (await the_subscription(database)).disabled_reason is DisabledReason.FAILING

    async def test_that_succeeds_again_is_forgiven(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("200 OK")) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url())
            await run_sql(database, "UPDATE subscriptions SET failing_since = clock_timestamp() - interval '9 days'")
            await send(database, keyring)
            await work()
        subscription = await the_subscription(database)
        assert (subscription.enabled, subscription.failing_since) == (True, None)

    @pytest.mark.parametrize(
        ("change", "state", "failure"),
        [
            ("enabled = false, disabled_reason = 'owner'", DeliveryState.FAILED, Failure.SUBSCRIPTION_DISABLED),
            ("deleted_at = now(), secret = NULL", DeliveryState.CANCELLED, None),
        ],
    )
    async def test_that_rests_or_is_deleted_is_sent_nothing_more(
        self,
        database: Database,
        epidemiologist: Actor,
        keyring: Keyring,
        work: Work,
        listening: Any,
        answering: Any,
        change: str,
        state: DeliveryState,
        failure: Failure | None,
    ) -> None:
        async with listening(answering("200 OK")) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url())
            await send(database, keyring)
            await run_sql(database, f"UPDATE subscriptions SET {change}")
            await work()
        assert receiver.received == []
        delivery, attempts = await the_delivery(database)
        assert (delivery.state, delivery.failure, attempts) == (state, failure, [])

    async def test_whose_secret_was_rotated_is_signed_with_both_until_the_overlap_ends(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, work: Work, listening: Any, answering: Any
    ) -> None:
        async with listening(answering("200 OK")) as receiver:
            old = await subscribe(database, epidemiologist, keyring, receiver.url())
            async with database.transaction() as session:
                new = await service.rotate_secret(
                    session, old.subscription.id, actor=epidemiologist, now=MOMENT, keyring=keyring
                )
            await send(database, keyring)
            await work()
            await run_sql(database, "UPDATE subscriptions SET previous_secret_until = clock_timestamp()")
            await send(database, keyring)
            await work()
        during, after = receiver.received
        assert old.secret is not None
        assert new.secret is not None
        for secret in (old.secret, new.secret):
            assert verify([parse_verifying_key(secret)], during.headers, during.body, now=time.time())
        assert verify([parse_verifying_key(new.secret)], after.headers, after.body, now=time.time())
        assert after.headers["webhook-signature"].count("v1,") == 1


class TestResending:
    @pytest.mark.parametrize("before", ["delivered", "pending", "failed"])
    async def test_sends_once_more_whatever_became_of_it_and_a_waiting_try_is_superseded(
        self,
        database: Database,
        epidemiologist: Actor,
        keyring: Keyring,
        work: Work,
        listening: Any,
        answering: Any,
        before: str,
    ) -> None:
        answers = {"delivered": "200 OK", "pending": "500 Oops", "failed": "500 Oops"}
        async with listening(answering(answers[before])) as receiver:
            await subscribe(database, epidemiologist, keyring, receiver.url())
            await send(database, keyring)
            await work()
            if before == "failed":
                await run_sql(database, "UPDATE deliveries SET state = 'failed', next_attempt_at = NULL")
            delivery, _ = await the_delivery(database)
            async with database.transaction() as session:
                await service.resend_delivery(session, delivery.id, actor=epidemiologist, now=MOMENT)
            await make_due(database)
            assert await work() == (1 if before == "delivered" else 2)
        assert len(receiver.received) == 2
        delivery, attempts = await the_delivery(database)
        assert delivery.attempts_made == 1
        assert [row.number for row in attempts] == [1, 2]
        assert delivery.state is (DeliveryState.DELIVERED if before == "delivered" else DeliveryState.PENDING)
