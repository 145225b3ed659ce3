"""The parts of the play, each by itself: what they forgive and what they do not."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.demo.play.clock import DemoClock, Hand
from app.demo.play.driver import jobs_in
from app.demo.play.keeper import Child, DoesNotStart, keeping
from app.demo.play.notebook import Notebook, Told
from app.demo.play.subscriber import Subscriber
from app.webhooks.signing import new_shared_secret, signed_headers
from tests.demo.playing import kill


def answered(status: str, *expected: str, resent: bool = False, who: int | None = 3) -> Told:
    row_id = f"id-{status}" if status in ("created", "duplicate") else None
    return Told(who, "POS-1", status, row_id, (), expected or (status,), resent, 1.0)


class TestTheNotebook:
    def test_recognises_a_purchase_whose_first_answer_was_lost(self) -> None:
        notebook = Notebook()
        notebook.note([answered("duplicate", "created", resent=True)])
        assert notebook.results["registrations"] == {"created": 1}
        assert notebook.surprises == []
        assert notebook.acknowledged == {"id-duplicate": (3, "POS-1")}

    def test_recognises_one_of_two_rows_that_raced_when_an_answer_was_lost(self) -> None:
        notebook = Notebook()
        both = ("created", "duplicate")
        notebook.note([answered("duplicate", *both), answered("duplicate", *both, resent=True)])
        assert notebook.results["registrations"] == {"created": 1, "duplicate": 1}
        assert notebook.surprises == []

    def test_recognises_a_case_row_that_was_updated_by_itself(self) -> None:
        notebook = Notebook()
        notebook.note([answered("duplicate", "updated", resent=True, who=None)])
        assert notebook.results["cases"] == {"updated": 1}

    def test_forgives_no_duplicate_that_was_sent_once(self) -> None:
        notebook = Notebook()
        notebook.note([answered("duplicate", "created")])
        assert notebook.surprises == ["POS-1: created expected, duplicate answered"]

    def test_forgives_no_purchase_that_was_created_twice(self) -> None:
        notebook = Notebook()
        notebook.note([answered("created", "created", "duplicate"), answered("created", "created", "duplicate")])
        assert notebook.surprises == ["POS-1: 2 of 2 rows were created"]

    def test_forgives_no_other_result_because_it_was_sent_again(self) -> None:
        notebook = Notebook()
        notebook.note([answered("conflict", "created", resent=True)])
        assert notebook.surprises == ["POS-1: created expected, conflict answered"]


class TestTheSubscriber:
    @pytest.fixture
    def subscriber(self) -> Subscriber:
        return Subscriber()

    def send(self, subscriber: Subscriber, *, body: bytes, altered: bytes | None = None) -> int:
        secret = new_shared_secret()
        subscriber.trust(secret.text())
        headers = signed_headers([secret], message_id="event-1", timestamp=int(time.time()), body=body)
        return subscriber.receive(headers, altered or body)

    def test_believes_what_is_signed_and_counts_an_event_once(self, subscriber: Subscriber) -> None:
        body = json.dumps({"type": "case.matched", "timestamp": "", "data": {"match_id": "m"}}).encode()
        assert [self.send(subscriber, body=body), self.send(subscriber, body=body)] == [204, 204]
        assert (subscriber.verified, subscriber.repeated) == (2, 1)
        assert subscriber.kinds == {"case.matched": 1}
        assert subscriber.arrivals["event-1"].data == {"match_id": "m"}

    def test_refuses_what_was_altered_on_the_way(self, subscriber: Subscriber) -> None:
        assert self.send(subscriber, body=b'{"type": "a.b"}', altered=b'{"type": "a.c"}') == 400
        assert subscriber.refused == {"no_match": 1}
        assert not subscriber.arrivals


class TestTheClock:
    def test_shows_what_the_hand_was_set_to_and_goes_on(self, tmp_path: Path) -> None:
        hand = Hand(tmp_path / "clock")
        clock = DemoClock(tmp_path / "clock")
        assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
        then = datetime(2020, 1, 2, 3, tzinfo=UTC)
        hand.set_to(then)
        first = clock.now()
        assert then <= first < then + timedelta(seconds=5)
        assert clock.now() >= first
        hand.release()
        assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


class TestTheQueue:
    def test_is_empty_only_when_it_is_said_to_be(self) -> None:
        quiet = 'sentinel_jobs{kind="a.b",state="ready"} 0.0\n'
        assert jobs_in(quiet) == {}
        assert jobs_in(quiet + 'sentinel_jobs{kind="a.b",state="running"} 2.0\n') == {("a.b", "running"): 2}
        assert jobs_in("sentinel_http_request_seconds_sum 1.0\n") is None


def script(folder: Path, text: str) -> Child:
    return Child("child", [sys.executable, "-c", text], environment={}, log=folder / "child.log")


class TestAKeptChild:
    async def test_is_started_again_when_it_is_killed_and_stopped_at_the_end(self, tmp_path: Path) -> None:
        child = script(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
        log = tmp_path / "child.log"
        async with asyncio.timeout(60), keeping([child]):
            while not log.exists() or len(log.read_text().split()) < 2:
                if child.starts == 1 and log.read_text().endswith("\n"):
                    kill([int(log.read_text())])
                await asyncio.sleep(0.02)
        assert child.starts == 2
        assert not child.is_running

    async def test_that_never_starts_is_told_of_with_its_last_words(self, tmp_path: Path) -> None:
        child = script(tmp_path, "raise SystemExit('no port')")
        async with keeping([child]) as keeper:
            with pytest.raises(DoesNotStart, match="no port"):
                await keeper
