"""The main job as somebody types it: `sentinel demo`, a tenth of the city."""

import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.embedded import client_program, running
from app.demo.story import Plan, plan
from tests.demo.playing import Demo

SCALE = 0.1


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    played = Demo(tmp_path_factory.mktemp("demo"), "--scale", str(SCALE))
    yield played
    played.end()


@pytest.fixture(scope="module")
def figures(demo: Demo) -> dict[str, Any]:
    list(demo.progress())
    return demo.report()


@pytest.fixture(scope="module")
def story(figures: dict[str, Any]) -> Plan:
    return plan(SCALE, figures["city"]["seed"], datetime.fromisoformat(figures["city"]["last_hour"]))


@pytest.fixture(scope="module")
def invitation(demo: Demo, figures: dict[str, Any]) -> str:
    """What is said once the doors stay open."""
    assert demo.process.stderr is not None
    lines = []
    for line in demo.process.stderr:
        lines.append(line)
        if "quantity" in line:
            break
    return "".join(lines)


@pytest.fixture(scope="module")
def url(invitation: str) -> str:
    return next(word for word in invitation.split() if word.startswith("http")).removesuffix("/docs")


def identities_in(text: str, story: Plan) -> list[str]:
    """Identities that stand in a text in the plain, or as the hexadecimal digits in which a dump shows bytes."""
    return [word for word in story.identities if word in text or word.encode().hex() in text]


def get(url: str, token: str | None = None) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(url, headers=headers, trust_env=False)
    answer.raise_for_status()
    return answer.text


class TestTheDemo:
    def test_agrees_with_the_known_truth(self, figures: dict[str, Any], story: Plan) -> None:
        assert figures["differences"] == []
        assert figures["agrees"] is True
        assert figures["slipped_through"] == 0
        assert figures["registrations"]["stored"] == story.truth.registrations["created"] > 200
        assert (
            figures["alerts"]["signatures_verified"] >= figures["alerts"]["events"] == sum(story.truth.alerts.values())
        )
        assert figures["post_to_delivery"]["measured"] == story.truth.alerts["clue.reported"]

    def test_leaves_no_identity_in_the_database(self, demo: Demo, figures: dict[str, Any], story: Plan) -> None:
        with running(demo.folder) as database_url:
            dump = subprocess.run(
                [str(client_program("pg_dump")), "--dbname", database_url], capture_output=True, text=True, check=True
            ).stdout
        assert story.pharmacies[0]["name"] in dump  # what is not secret is found
        assert len(story.identities) > 500
        assert identities_in(dump, story) == []

    def test_leaves_no_identity_in_a_log(self, demo: Demo, figures: dict[str, Any], story: Plan) -> None:
        logs = {path: path.read_text() for path in demo.folder.rglob("*.log")}
        assert {path.name for path in logs} == {"api.log", "worker.log", "server.log"}
        assert '"/v1/registrations"' in logs[demo.folder / "api.log"]
        for path, text in logs.items():
            assert identities_in(text, story) == [], path

    def test_leaves_no_identity_in_the_metrics(self, url: str, story: Plan) -> None:
        metrics = get(f"{url}/metrics")
        assert "sentinel_jobs" in metrics
        assert identities_in(metrics, story) == []

    def test_invites_to_look_around(self, invitation: str, url: str) -> None:
        tokens = dict(
            words for line in invitation.splitlines() if len(words := line.split()) == 2 and "sentinel_" in line
        )
        assert tokens.keys() >= {"pharmacy", "health_authority", "epidemiologist", "official", "second_official"}
        assert tokens.keys() >= {"auditor", "admin"}
        assert "case_number" in get(f"{url}/v1/cases", tokens["epidemiologist"])
        assert '"whole":true' in get(f"{url}/v1/audit", tokens["auditor"])

    def test_ends_cleanly_when_it_is_interrupted(self, demo: Demo, url: str) -> None:
        processes = [*demo.children("api"), *demo.children("worker"), *demo.postgres()]
        assert len(processes) > 4
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(30) == 0
        assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
