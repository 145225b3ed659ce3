"""The subscribers' guide says what the code does."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.webhooks.kinds import declared_kinds
from app.webhooks.rules import RETRY_SCHEDULE, DisabledReason, Failure
from app.webhooks.signing import SIGNATURE_HEADER, new_shared_secret, signed_headers

GUIDE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


@pytest.fixture
def example() -> Callable[[str, dict[str, str], bytes], str]:
    """The guide's own code for verifying."""
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Callable[[str, dict[str, str], bytes], str]] = {}
    exec(source, names)  # noqa: S102 – the text of our own document
    return names["verify"]


class TestTheGuide:
    def test_has_an_example_that_accepts_what_is_sent_and_nothing_else(
        self, example: Callable[[str, dict[str, str], bytes], str]
    ) -> None:
        old, new = new_shared_secret(), new_shared_secret()
        headers = signed_headers([new, old], message_id="an-id", timestamp=int(time.time()), body=b"{}")
        assert example(old.text(), headers, b"{}") == example(new.text(), headers, b"{}") == "an-id"
        stale = signed_headers([new], message_id="an-id", timestamp=int(time.time()) - 400, body=b"{}")
        for bad in ((new, headers, b"{ }"), (new_shared_secret(), headers, b"{}"), (new, stale, b"{}")):
            with pytest.raises(ValueError, match=r"fits|too"):
                example(bad[0].text(), bad[1], bad[2])
        assert headers[SIGNATURE_HEADER].count("v1,") == 2

    def test_names_every_failure_reason_and_kind(self) -> None:
        for word in (*Failure, DisabledReason.GONE, DisabledReason.FAILING, *declared_kinds()):
            assert f"`{word}`" in GUIDE

    def test_shows_the_schedule_of_attempts(self) -> None:
        (line,) = re.findall(r"^\| after \|(.*)\|$", GUIDE, re.MULTILINE)
        units = {"s": 1, "min": 60, "h": 3600}
        shown = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", line)]
        assert shown == [wait.total_seconds() for wait in RETRY_SCHEDULE]
