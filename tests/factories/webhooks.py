"""Subscriptions and events of a kind that exists in tests only."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.auth.rules import Actor
from app.core.database import Database
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.webhooks.addresses import AddressPolicy
from app.webhooks.kinds import EventKind
from app.webhooks.publishing import NewEvent
from app.webhooks.schemas import SubscriptionIn
from app.webhooks.service import WithSecret, create_subscription
from tests.conftest import MOMENT
from tests.factories.divisions import SHATOU

SAMPLE = EventKind("sample.taken", "Something happened in a test.")
OTHER = EventKind("sample.lost", "Something else happened in a test.")
LOOPBACK = AddressPolicy.parse(["127.0.0.0/8"])


def an_event(**members: Any) -> NewEvent:
    """An event about COVID-19 in a street of Futian, with something at each level."""
    event = NewEvent(
        kind=SAMPLE,
        at=MOMENT,
        division=SHATOU,
        subject=("sample", new_id()),
        thin={"count": 1},
        pseudonymous={"age_band": "30-39"},
        identified={"name": "合成样本"},
        disease="covid-19",
    )
    return replace(event, **members)


async def subscribe(
    database: Database,
    actor: Actor,
    keyring: Keyring,
    url: str = "http://127.0.0.1:9/hook",
    **members: Any,
) -> WithSecret:
    """A subscription to both kinds, made by the verb."""
    wanted: Mapping[str, Any] = {"url": url, "kinds": [SAMPLE.name, OTHER.name], **members}
    async with database.transaction() as session:
        return await create_subscription(
            session, SubscriptionIn(**wanted), actor=actor, now=MOMENT, keyring=keyring, policy=LOOPBACK
        )
