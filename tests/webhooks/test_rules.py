"""Rules of delivery: the schedule, the answers, the patience."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.rules import (
    GIVE_UP_AFTER,
    JITTER,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER,
    RETRY_SCHEDULE,
    Failure,
    Judgement,
    Outcome,
    excerpt,
    failure_of_status,
    gives_up,
    judge,
    next_attempt_in,
    parse_retry_after,
)

DATA: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "standard_webhooks.json").read_text())
NOW = datetime(2026, 2, 15, 12, tzinfo=UTC)
jitters = st.floats(0, 1, exclude_max=True)
wishes = st.none() | st.timedeltas(timedelta(0), timedelta(days=400))


class TestTheSchedule:
    def test_is_the_published_one(self) -> None:
        assert [wait.total_seconds() for wait in RETRY_SCHEDULE] == [
            0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400,
        ]  # fmt: skip

    @given(st.lists(jitters, min_size=MAX_ATTEMPTS - 1, max_size=MAX_ATTEMPTS - 1))
    def test_never_shortens_a_wait_whatever_the_jitter(self, drawn: list[float]) -> None:
        waits = [next_attempt_in(made, jitter=jitter) for made, jitter in enumerate(drawn, start=1)]
        assert all(wait is not None for wait in waits)
        assert waits == sorted(wait for wait in waits if wait is not None)
        for made, wait in enumerate(waits, start=1):
            assert wait is not None
            assert RETRY_SCHEDULE[made] <= wait <= RETRY_SCHEDULE[made] * (1 + JITTER)

    @given(st.integers(1, 50), jitters, wishes)
    def test_is_bounded_and_ends(self, made: int, jitter: float, asked: timedelta | None) -> None:
        wait = next_attempt_in(made, jitter=jitter, asked=asked)
        assert (wait is None) == (made >= MAX_ATTEMPTS)
        if wait is not None:
            plain = next_attempt_in(made, jitter=jitter)
            assert plain is not None
            assert plain <= wait <= max(plain, MAX_RETRY_AFTER)
            if asked is not None:
                assert wait >= min(asked, MAX_RETRY_AFTER)

    @pytest.mark.parametrize(("made", "jitter"), [(0, 0.5), (1, 1.0), (1, -0.1)])
    def test_refuses_to_count_from_nothing(self, made: int, jitter: float) -> None:
        with pytest.raises(ValueError, match="counts from 1"):
            next_attempt_in(made, jitter=jitter)


class TestAWishToWait:
    @pytest.mark.parametrize("vector", DATA["retry_after"], ids=lambda vector: vector["value"])
    def test_is_read_as_the_vectors_say(self, vector: dict[str, Any]) -> None:
        early = datetime(2015, 10, 21, 7, 0, tzinfo=UTC)
        wait = parse_retry_after(vector["value"], now=early)
        if "seconds" in vector:
            assert wait == timedelta(seconds=vector["seconds"])
        elif vector["parsed"] is None:
            assert wait is None
        else:
            assert wait is not None
            assert early + wait == datetime.fromisoformat(vector["parsed"])

    def test_of_a_date_gone_by_is_none_at_all(self) -> None:
        assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=NOW) == timedelta(0)

    @pytest.mark.parametrize(
        "value", ["", "-5", "1e3", "١٢٠", "5 seconds", ".", ".5", "5.", "Wed, 99 Oct 2015", "9" * 70]
    )
    def test_of_another_form_is_ignored(self, value: str) -> None:
        assert parse_retry_after(value, now=NOW) is None

    @given(st.integers(0, 10**50))
    def test_of_any_length_is_bounded(self, seconds: int) -> None:
        wait = parse_retry_after(str(seconds), now=NOW)
        assert wait is not None
        assert math.isfinite(wait.total_seconds())
        assert min(seconds, 86400) <= wait.total_seconds() <= 2 * 86400

    @given(st.text(max_size=80))
    def test_of_any_text_is_read_without_an_exception(self, value: str) -> None:
        parse_retry_after(value, now=NOW)


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("status", "judgement"),
        [
            (200, Judgement.DELIVERED),
            (204, Judgement.DELIVERED),
            (299, Judgement.DELIVERED),
            (301, Judgement.RETRY),
            (307, Judgement.RETRY),
            (400, Judgement.RETRY),
            (401, Judgement.RETRY),
            (404, Judgement.RETRY),
            (410, Judgement.GONE),
            (429, Judgement.RETRY),
            (500, Judgement.RETRY),
            (503, Judgement.RETRY),
            (999, Judgement.RETRY),
        ],
    )
    def test_decides_by_its_status(self, status: int, judgement: Judgement) -> None:
        assert judge(Outcome(status, failure_of_status(status), 1)) is judgement

    @pytest.mark.parametrize(
        "failure", [failure for failure in Failure if failure not in (Failure.STATUS, Failure.REDIRECT)]
    )
    def test_that_never_came_is_tried_again(self, failure: Failure) -> None:
        assert judge(Outcome(None, failure, 1)) is Judgement.RETRY

    def test_that_leads_elsewhere_is_told_apart(self) -> None:
        assert failure_of_status(302) is Failure.REDIRECT
        assert failure_of_status(404) is Failure.STATUS


class TestPatience:
    def test_ends_after_five_days_without_a_success(self) -> None:
        assert not gives_up(None, now=NOW)
        assert not gives_up(NOW - GIVE_UP_AFTER + timedelta(seconds=1), now=NOW)
        assert gives_up(NOW - GIVE_UP_AFTER, now=NOW)


class TestAnExcerpt:
    @given(st.binary(max_size=5000))
    def test_is_short_and_printable(self, body: bytes) -> None:
        text = excerpt(body)
        assert len(text.encode()) <= 1024
        assert text == "" or text.isprintable()

    def test_keeps_what_can_be_read(self) -> None:
        assert excerpt(b"bad\x00 gateway\r\n\xff") == "bad  gateway  \ufffd"
        assert excerpt("药店".encode()) == "药店"
