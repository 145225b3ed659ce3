"""`sentinel till` as a process of its own and the real service on a real port. Everybody here is synthetic."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.auth.rules import SYSTEM
from app.client.answers import Problem
from app.client.client import Client
from app.core.database import Database
from app.core.sealing import Keyring
from app.questionnaires.service import load_shipped
from app.registrations.models import Registration
from tests.conftest import MOMENT, SettableClock
from tests.factories import keys
from tests.factories.serving import (
    BadLine,
    bad_line,
    breaks_off_the_answer,
    hangs,
    loses_the_answer,
    resets,
    says,
    serving,
)
from tests.factories.world import World, a_person, build_world

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def world(committed: Database) -> World:
    return await build_world(committed)


@pytest.fixture
def url(world: World, committed: Database, clock: SettableClock, keyring: Keyring) -> Iterator[str]:
    with serving(committed.url, clock, keyring) as url:
        yield url


@pytest.fixture
def line(url: str) -> Iterator[BadLine]:
    with bad_line(url) as line:
        yield line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pos"
    path.mkdir()
    return path


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_till_left() -> Iterator[None]:
    yield
    for process in STARTED:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    STARTED.clear()


def till(folder: Path, url: str, token: str, *words: str) -> subprocess.Popen[str]:
    """Start a till that looks often."""
    often = ("--poll-seconds", "0.05", "--settle-seconds", "0.1")
    process = subprocess.Popen(
        [sys.executable, "-m", "app.till", "--folder", str(folder), "--url", url, *often, *words],
        cwd=ROOT,
        env={**os.environ, "SENTINEL_TILL_TOKEN": token},
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def once(folder: Path, url: str, token: str, *words: str) -> tuple[int, str]:
    """Run a till once; return its exit status and what it logged."""
    process = till(folder, url, token, "--once", *words)
    _, told = process.communicate(timeout=60)
    return process.returncode, told


def status(folder: Path) -> tuple[int, dict[str, Any]]:
    """Ask how the till stands."""
    words = [sys.executable, "-m", "app.till", "status", "--folder", str(folder), "--json"]
    answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode == 2:  # it has not begun yet
        return 2, {"is_running": False, "trouble": None}
    return answer.returncode, json.loads(answer.stdout)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def drop(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    unfinished = folder / f"{name}.part"
    unfinished.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    unfinished.rename(folder / name)


def refused(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder.glob("refused/*.jsonl") for line in path.read_text().splitlines()]


async def references(database: Database) -> list[str]:
    async with database.transaction() as session:
        return sorted((await session.execute(select(Registration.client_reference))).scalars())


class TestAFileOfEachKind:
    async def test_is_registered_and_what_is_wrong_comes_back(
        self, world: World, url: str, folder: Path, committed: Database
    ) -> None:
        drop(folder, "a.jsonl", world.purchase(), world.purchase(buyer=a_person(phone="12")))
        (folder / "b.json").write_text(json.dumps([world.purchase(), world.purchase()]))
        (folder / "c.csv").write_bytes(
            "购药时间,购药人姓名,购药人电话,体温,药品名称,数量\r\n"
            "2026-02-15 09:41,王小样,13800138000,36.6,布洛芬缓释胶囊,1\r\n"
            "2026-02-15 09:42,王小样,13800138000,36.6,洗发水,1\r\n".encode("gb18030")
        )
        (folder / "empty.jsonl").touch()
        code, told = once(folder, url, world.tills[0])
        assert code == 1
        found = await references(committed)
        assert found[:3] == ["SYN-000001", "SYN-000003", "SYN-000004"]
        assert len(found) == 4
        assert found[3].startswith("till-")
        assert "王小样" not in told
        [row] = refused(folder)
        assert row["_refused"]["errors"][0]["pointer"] == "/buyer/phone"
        code, told_status = status(folder)
        assert (code, told_status["pending_rows"], told_status["refused_rows"]) == (1, 0, 1)
        assert next(iter(told_status["days"].values())) == {
            "files": 4,
            "created": 4,
            "not_required": 1,
            "refused": 1,
        }
        assert told_status["refusals"][0]["reference"] == "SYN-000002"
        assert not {"王小样", "12"} & {
            text for one in told_status["refusals"] for text in one.values() if text == str(text)
        }

        row["buyer"]["phone"] = "13800138000"
        drop(folder, "corrected.jsonl", row)
        assert once(folder, url, world.tills[0])[0] == 0
        assert len(await references(committed)) == 5

    def test_is_readable_by_its_user_alone(self, world: World, url: str, folder: Path) -> None:
        drop(folder, "a.jsonl", world.purchase(), world.purchase(items=[]))
        assert once(folder, url, world.tills[0])[0] == 1
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0 or path.name == "lock.sqlite3", path


class TestABadLine:
    async def test_loses_and_doubles_nothing(
        self, world: World, line: BadLine, folder: Path, committed: Database
    ) -> None:
        drop(folder, "a.jsonl", *(world.purchase() for _ in range(20)))
        line.troubles = [resets, loses_the_answer, breaks_off_the_answer]
        code, told = once(folder, line.url, world.tills[0], "--timeout-seconds", "2")
        assert code == 0, told
        assert line.requests == 4
        assert len(await references(committed)) == 20
        assert status(folder)[1]["days"].popitem()[1] == {"files": 1, "duplicate": 20}

    async def test_that_hangs_is_given_up_in_time_and_shown(
        self, world: World, line: BadLine, folder: Path, committed: Database
    ) -> None:
        drop(folder, "a.jsonl", world.purchase())
        line.troubles = [hangs(3), says(200), says(503)] * 10
        process = till(folder, line.url, world.tills[0], "--timeout-seconds", "1")
        until(lambda: line.requests >= 2)
        code, told = status(folder)
        assert (code, told["is_running"], told["pending_rows"]) == (3, True, 1)
        assert told["trouble"] in ("ReadTimeout", "unexpected_answer", "no_answer")
        line.troubles = []
        until(lambda: status(folder)[1]["pending_rows"] == 0)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in log
        assert len(await references(committed)) == 1


class TestATillAtWork:
    @pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_at_once_when_it_is_told_to(
        self, world: World, line: BadLine, folder: Path, signal_number: signal.Signals
    ) -> None:
        drop(folder, "a.jsonl", world.purchase())
        line.troubles = [hangs(60)]
        process = till(folder, line.url, world.tills[0], "--timeout-seconds", "60")
        until(lambda: line.requests == 1)
        process.send_signal(signal_number)
        _, log = process.communicate(timeout=20)  # and not as long as the line hangs
        assert process.returncode == 0
        assert "Traceback" not in log
        assert once(folder, line.url, world.tills[0])[0] == 0

    def test_is_alone_in_its_folder(self, world: World, url: str, folder: Path) -> None:
        process = till(folder, url, world.tills[0])
        until(lambda: status(folder)[1]["is_running"])
        code, told = once(folder, url, world.tills[0])
        assert (code, told) == (2, "sentinel till: Another till works in this folder.\n")
        process.kill()
        process.communicate()
        assert once(folder, url, world.tills[0])[0] == 0

    async def test_takes_up_another_token_without_a_new_start(
        self, world: World, url: str, folder: Path, committed: Database, tmp_path: Path
    ) -> None:
        token = tmp_path / "token"
        token.write_text("revoked\n")
        drop(folder, "a.jsonl", world.purchase())
        process = till(folder, url, "", "--token-file", str(token))
        until(lambda: status(folder)[1]["trouble"] is not None)
        assert status(folder)[1]["trouble"] == "unauthenticated"
        token.write_text(world.tills[0] + "\n")
        until(lambda: status(folder)[1]["pending_rows"] == 0)
        process.terminate()
        process.communicate(timeout=60)
        assert len(await references(committed)) == 1

    def test_says_what_it_lacks(self, folder: Path) -> None:
        for words, told in (
            (("http://sentinel.test", "token"), "Identities travel over https only"),
            (("http://127.0.0.1:1", ""), "Name a --token-file, or set SENTINEL_TILL_TOKEN"),
        ):
            code, log = once(folder, *words)
            assert code == 2
            assert told in log


class TestTheClient:
    async def test_speaks_to_the_real_service(self, world: World, url: str) -> None:
        purchase = world.purchase(temperature_c=38.2)
        with Client(url, world.tills[0]) as client:
            answer = client.register(purchase)
            assert (answer.is_new, answer.flags, answer.items[0].status) == (True, ("fever",), "listed")
            assert answer.advice[0].code == "refer_to_fever_clinic"
            assert not client.register(purchase).is_new
            with pytest.raises(Problem) as conflict:
                client.register(purchase | {"temperature_c": 36.6})
            assert conflict.value.code == "client_reference_conflict"
            with pytest.raises(Problem) as invalid:
                client.register(world.purchase(buyer=a_person(phone="12")))
            assert invalid.value.errors[0].pointer == "/buyer/phone"
            rows = [purchase, world.purchase(), world.purchase(items=[])]
            assert [row.status for row in client.register_batch(rows)] == ["duplicate", "created", "invalid"]
            products = [{"name": "布洛芬缓释胶囊"}, {"name": "洗发水"}, {"gtin": "6922097701513"}]
            ibuprofen, shampoo, _ = client.resolve("440304005", products)
            assert ibuprofen.drug is not None
            assert shampoo.drug is None
            catalogue = client.catalogue("440304005")
            assert catalogue is not None
            assert ibuprofen.drug_id in {drug.id for drug in catalogue.drugs}
            assert client.catalogue("440304005", etag=catalogue.etag) is None

    async def test_asks_what_to_ask_and_speaks_its_language(self, world: World, url: str, committed: Database) -> None:
        async with committed.transaction() as session:
            await load_shipped(session, actor=SYSTEM, now=MOMENT)
        with Client(url, world.tills[0], language="en") as client:
            asked = client.questionnaires("440304005")
            assert asked is not None
            assert [question.code for question in asked.questions if question.type == "number"] == ["days_ill"]
            assert client.questionnaires("440304005", etag=asked.etag) is None
            answers = {"contact_with_case_14d": True, "days_ill": 3}
            [advice] = client.register(world.purchase(answers=answers)).advice
            assert (advice.code, advice.text) == ("refer_to_fever_clinic", advice.en)

    async def test_tells_who_may_not(self, world: World, url: str, committed: Database) -> None:
        official = await keys.token(committed, "official", "440304", name="Synthetic third official")
        for token, status in ((official, 403), ("nobody", 401)):
            with Client(url, token) as client, pytest.raises(Problem) as refused:
                client.register(world.purchase())
            assert refused.value.status == status
