"""Publishing: who gets what, and that rows come with their cause or not at all."""

from typing import Any

import pytest
from sqlalchemy import select, text, update

from app.auth.rules import Actor
from app.core.database import Database
from app.core.sealing import Keyring
from app.webhooks.models import Delivery, Event, Subscription
from app.webhooks.publishing import publish
from app.webhooks.queries import list_events
from tests.factories.divisions import FUTIAN, LUOHU, SHATOU
from tests.factories.keys import actor
from tests.factories.webhooks import OTHER, an_event, subscribe


async def recipients(database: Database) -> list[Any]:
    async with database.transaction() as session:
        return list((await session.execute(select(Delivery.subscription_id))).scalars())


class TestAnEvent:
    @pytest.mark.parametrize(
        ("wish", "event", "sent"),
        [
            ({}, {}, True),
            ({"kinds": [OTHER.name]}, {}, False),
            ({"kinds": [OTHER.name]}, {"kind": OTHER}, True),
            ({"divisions": [FUTIAN]}, {}, True),
            ({"divisions": [SHATOU]}, {}, True),
            ({"divisions": [SHATOU]}, {"division": FUTIAN}, False),
            ({"divisions": ["440304006"]}, {}, False),
            ({"divisions": ["440304006", SHATOU]}, {}, True),
            ({}, {"division": LUOHU}, False),
            ({}, {"division": "44"}, False),
            ({"diseases": ["covid-19"]}, {}, True),
            ({"diseases": ["dengue"]}, {}, False),
            ({"diseases": ["dengue"]}, {"disease": None}, True),
        ],
    )
    async def test_goes_to_whoever_asked_for_its_kind_division_and_disease(
        self,
        database: Database,
        epidemiologist: Actor,
        keyring: Keyring,
        wish: dict[str, Any],
        event: dict[str, Any],
        sent: bool,
    ) -> None:
        made = await subscribe(database, epidemiologist, keyring, **wish)
        async with database.transaction() as session:
            await publish(session, [an_event(**event)], keyring=keyring)
        assert await recipients(database) == ([made.subscription.id] if sent else [])

    async def test_goes_to_no_subscription_that_rests_or_was_deleted(
        self, database: Database, epidemiologist: Actor, keyring: Keyring
    ) -> None:
        rests = await subscribe(database, epidemiologist, keyring)
        deleted = await subscribe(database, epidemiologist, keyring)
        async with database.transaction() as session:
            await session.execute(
                text("UPDATE subscriptions SET enabled = false, disabled_reason = 'owner' WHERE id = :id"),
                {"id": rests.subscription.id},
            )
            await session.execute(
                text("UPDATE subscriptions SET deleted_at = now() WHERE id = :id"), {"id": deleted.subscription.id}
            )
            await publish(session, [an_event()], keyring=keyring)
        assert await recipients(database) == []

    @pytest.mark.parametrize("divisions", [[], ["44"]])
    async def test_stays_within_its_owners_division_whatever_the_row_asks_for(
        self, database: Database, epidemiologist: Actor, keyring: Keyring, divisions: list[str]
    ) -> None:
        await subscribe(database, epidemiologist, keyring)
        async with database.transaction() as session:
            await session.execute(update(Subscription).values(divisions=divisions))
            await publish(session, [an_event(division=LUOHU)], keyring=keyring)
        assert await recipients(database) == []

    async def test_reaches_the_whole_country_only_where_the_owner_is_of_the_whole_country(
        self, database: Database, epidemiologist: Actor, keyring: Keyring
    ) -> None:
        national = await subscribe(database, await actor(database, "official", None), keyring)
        await subscribe(database, epidemiologist, keyring)
        async with database.transaction() as session:
            await publish(session, [an_event(division="440106")], keyring=keyring)
        assert await recipients(database) == [national.subscription.id]

    async def test_is_kept_with_its_identities_sealed(
        self, database: Database, epidemiologist: Actor, keyring: Keyring
    ) -> None:
        async with database.transaction() as session:
            (event_id,) = await publish(session, [an_event()], keyring=keyring)
            dumped = (await session.execute(text("SELECT events::text FROM events"))).scalar_one()
            row = (await session.execute(select(Event))).scalar_one()
        assert "合成样本" not in dumped
        assert "合成样本".encode().hex() not in dumped
        assert row.identified is not None
        opened = keyring.open(row.identified, table="events", row=event_id, column="identified")
        assert opened.decode() == '{"name":"合成样本"}'

    async def test_does_not_show_its_identities_when_printed(self) -> None:
        assert "合成样本" not in repr(an_event())

    async def test_leaves_nothing_when_its_cause_is_rolled_back(
        self, database: Database, epidemiologist: Actor, keyring: Keyring
    ) -> None:
        await subscribe(database, epidemiologist, keyring)

        async def cause_that_fails() -> None:
            async with database.transaction() as session:
                await publish(session, [an_event()], keyring=keyring)
                raise RuntimeError("the cause failed")

        with pytest.raises(RuntimeError, match="the cause failed"):
            await cause_that_fails()
        async with database.transaction() as session:
            for table in ("events", "deliveries", "jobs"):
                assert (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0

    async def test_comes_with_one_job_for_each_delivery(
        self, database: Database, epidemiologist: Actor, keyring: Keyring
    ) -> None:
        for _ in range(3):
            await subscribe(database, epidemiologist, keyring)
        async with database.transaction() as session:
            await publish(session, [an_event(), an_event()], keyring=keyring)
            jobs = (await session.execute(text("SELECT lane, payload->>'delivery' FROM jobs"))).all()
            deliveries = (await session.execute(select(Delivery.subscription_id, Delivery.id))).all()
        assert sorted(jobs) == sorted((str(lane), str(delivery)) for lane, delivery in deliveries)
        assert len(jobs) == 6

    async def test_may_not_hold_what_json_cannot(self, database: Database, keyring: Keyring) -> None:
        for value in (float("nan"), object()):
            async with database.transaction() as session:
                with pytest.raises((ValueError, TypeError)):
                    await publish(session, [an_event(thin={"x": value})], keyring=keyring)


class TestReadingOn:
    async def test_gives_every_event_once_and_in_order(
        self, database: Database, epidemiologist: Actor, keyring: Keyring
    ) -> None:
        async with database.transaction() as session:
            assert await publish(session, [], keyring=keyring) == []
            ids = await publish(session, [an_event() for _ in range(7)], keyring=keyring)
            ids += await publish(session, [an_event(division=LUOHU)], keyring=keyring)
            seen, after = [], 0
            while rows := await list_events(session, scope="4403", after=after, limit=3):
                seen += [row.id for row in rows]
                after = rows[-1].sequence
            futian = await list_events(session, scope=FUTIAN, after=0, limit=100)
        assert seen == ids
        assert [row.id for row in futian] == ids[:7]
