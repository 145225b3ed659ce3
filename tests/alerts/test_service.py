"""Raising alerts: once for each key, with an event that tells each subscriber no more than its level."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.alerts.models import Alert, AlertTransition
from app.alerts.rules import AlertKind, Severity
from app.alerts.service import EndedAlert, NewAlert, raise_alerts
from app.audit.models import AuditEntry
from app.core.database import Database
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.people.rules import prepare
from app.people.schemas import PersonIn
from app.people.service import ensure_people
from app.webhooks.models import Event
from tests.conftest import MOMENT
from tests.factories.divisions import SHATOU
from tests.factories.world import DISEASE, a_person

IDENTITY = ("王小样", "11010519491231002X", "13800138000", "合成花园")


def an_alert(key: str = "clue.reported:1", **members: Any) -> NewAlert:
    alert = NewAlert(
        key, AlertKind.CLUE_REPORTED, Severity.WARNING, SHATOU, disease=DISEASE, facts={"flags": ["fever"]}
    )
    return replace(alert, **members)


async def raised(database: Database, keyring: Keyring, *alerts: NewAlert) -> list[UUID]:
    async with database.transaction() as session:
        return await raise_alerts(session, alerts, now=MOMENT, keyring=keyring)


async def events(database: Database) -> list[Event]:
    async with database.transaction() as session:
        return list((await session.scalars(select(Event).order_by(Event.sequence))).all())


@pytest.fixture
async def person_id(database: Database, keyring: Keyring) -> UUID:
    prepared = prepare(PersonIn.model_validate(a_person()), MOMENT.date())
    assert not isinstance(prepared, list)
    async with database.transaction() as session:
        [found] = await ensure_people(session, [prepared], now=MOMENT, keyring=keyring)
    return found


class TestAnAlert:
    async def test_is_raised_once_for_its_key(self, database: Database, keyring: Keyring) -> None:
        [first] = await raised(database, keyring, an_alert())
        assert await raised(database, keyring, an_alert()) == []
        assert await raised(database, keyring, an_alert(severity=Severity.CRITICAL)) == []
        assert len(await raised(database, keyring, an_alert(), an_alert("2"), an_alert("2"), an_alert("3"))) == 2
        async with database.transaction() as session:
            keys = (await session.scalars(select(Alert.key).order_by(Alert.key))).all()
        assert keys == ["2", "3", "clue.reported:1"]
        told = await events(database)
        assert len(told) == 3
        assert told[0].subject_id == first

    async def test_leaves_nothing_where_its_transaction_fails(self, database: Database, keyring: Keyring) -> None:
        async def fail() -> None:
            async with database.transaction() as session:
                await raise_alerts(session, [an_alert()], now=MOMENT, keyring=keyring)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail()
        assert await events(database) == []
        assert len(await raised(database, keyring, an_alert())) == 1

    @pytest.mark.parametrize(("severity", "hours"), [("critical", 2), ("warning", 24), ("info", 72)])
    async def test_has_a_deadline(self, database: Database, keyring: Keyring, severity: str, hours: int) -> None:
        [alert_id] = await raised(database, keyring, an_alert(severity=Severity(severity)))
        async with database.transaction() as session:
            alert = await session.get_one(Alert, alert_id)
            assert (alert.state, alert.raised_at) == ("raised", MOMENT)
            assert alert.deadline_at - alert.raised_at == timedelta(hours=hours)


class TestTheEventOfAnAlert:
    async def test_tells_thin_subscribers_ids_only(self, database: Database, keyring: Keyring) -> None:
        [alert_id] = await raised(database, keyring, an_alert())
        [event] = await events(database)
        assert (event.kind, event.at, event.division, event.disease) == ("clue.reported", MOMENT, SHATOU, DISEASE)
        assert event.thin == {
            "alert_id": str(alert_id),
            "state": "raised",
            "severity": "warning",
            "division": SHATOU,
            "disease": DISEASE,
            "deadline_at": (MOMENT + timedelta(hours=24)).isoformat(),
        }
        assert event.pseudonymous == {"flags": ["fever"]}
        assert event.identified is None

    async def test_seals_the_identity(self, database: Database, keyring: Keyring, person_id: UUID) -> None:
        await raised(database, keyring, an_alert(person_id=person_id))
        [event] = await events(database)
        assert event.identified is not None
        opened = json.loads(keyring.open(event.identified, table="events", row=event.id, column="identified"))
        assert opened == {
            "person": {
                "name": "王小样",
                "document": {"type": "resident_id", "number": "11010519491231002X"},
                "phone": "+8613800138000",
                "address": {"division": SHATOU, "line": "沙头街道合成花园 3 栋"},
            }
        }

    async def test_leaves_no_identity_at_rest(self, database: Database, keyring: Keyring, person_id: UUID) -> None:
        await raised(database, keyring, an_alert(person_id=person_id))
        async with database.transaction() as session:
            for table in ("alerts", "events", "deliveries", "jobs"):
                rows = (await session.scalars(text(f"SELECT to_jsonb(t)::text FROM {table} t"))).all()
                kept = "\n".join(rows)
                assert bool(rows) == (table in ("alerts", "events"))
                for told in IDENTITY:
                    assert told not in kept
                    assert told.encode().hex() not in kept

    async def test_names_nobody_who_is_not_kept(self, database: Database, keyring: Keyring) -> None:
        await raised(database, keyring, an_alert(person_id=new_id()))
        [event] = await events(database)
        assert event.identified is None


class TestAnAlertWhoseCauseIsGone:
    async def test_is_closed_by_the_service_and_told_of_by_an_event_of_its_kind(
        self, database: Database, keyring: Keyring
    ) -> None:
        [alert_id] = await raised(database, keyring, an_alert())
        async with database.transaction() as session:
            over = EndedAlert("clue.reported:1", "It was nothing.", {"why": "nothing"})
            unknown = EndedAlert("clue.reported:2", "It was nothing.", {})
            later = MOMENT + timedelta(hours=1)
            assert await raise_alerts(session, [], ended=[over, unknown], now=later, keyring=keyring) == []
        first, last = await events(database)
        assert last.thin == {**first.thin, "state": "closed"}
        assert (last.kind, last.at, last.subject_id, last.pseudonymous) == (
            *("clue.reported", later, alert_id),
            {"why": "nothing"},
        )
        async with database.transaction() as session:
            [step] = (await session.scalars(select(AlertTransition))).all()
            assert (step.number, step.account_id, step.account_name) == (1, None, "system")
            assert (step.state, step.feedback, step.at) == ("closed", "It was nothing.", later)
            [entry] = (await session.scalars(select(AuditEntry).where(AuditEntry.subject_type == "alert"))).all()
            assert (entry.action, entry.role, entry.subject_id) == ("alert.closed", "system", str(alert_id))
