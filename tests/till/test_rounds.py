"""A till's rounds with a service that breaks off, refuses and goes away. Everybody here is synthetic."""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.till.folder import Folder
from app.till.rounds import Keeping
from app.till.spool import Spool
from tests.till.bench import Bench, problem, purchase, unnumbered


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestARow:
    def test_is_sent_and_its_file_put_away(self, bench: Bench) -> None:
        bench.drop("day.jsonl", purchase(1), purchase(2))
        assert bench.once()
        assert sorted(bench.service.kept) == ["POS-1", "POS-2"]
        assert bench.sent() == ["day.jsonl"]
        assert list(bench.folder.dropped()) == list(bench.folder.claimed()) == []

    def test_leaves_nothing_of_itself_in_the_spool(self, bench: Bench) -> None:
        bench.drop("day.jsonl", purchase(1), purchase(2, quantity=0))
        assert bench.once()
        for path in bench.folder.state.iterdir():
            if path.is_file():
                assert "合成顾客".encode() not in path.read_bytes()

    def test_that_the_service_has_already_is_no_second_one(self, bench: Bench) -> None:
        for _ in range(3):
            bench.drop("day.jsonl", purchase(1))
            assert bench.once()
        assert (len(bench.service.kept), bench.refused()) == (1, [])
        assert len(bench.sent()) == 3

    def test_repeated_a_thousand_times_before_it_is_sent_waits_once(self, bench: Bench) -> None:
        for number in range(10):
            bench.drop(f"{number}.jsonl", *([purchase(1)] * 100))
        assert bench.once()
        assert bench.service.requests == [1]

    def test_that_need_not_be_registered_is_kept_nowhere(self, bench: Bench) -> None:
        bench.service.not_required = {"POS-1"}
        bench.drop("day.jsonl", purchase(1))
        assert bench.once()
        assert (bench.service.kept, bench.refused()) == ({}, [])

    def test_that_breaks_the_service_holds_up_no_other(self, bench: Bench) -> None:
        bench.service.poison = {"POS-37"}
        bench.drop("day.jsonl", *(purchase(number) for number in range(100)))
        with bench.till() as till:
            for _ in range(60):
                bench.time.pause(till.go() + 1)
            assert len(bench.service.kept) == 99
            bench.service.poison = set()
            bench.time.pause(3600)
            till.go()
        assert len(bench.service.kept) == 100
        assert bench.sent() == ["day.jsonl"]

    def test_that_could_not_be_handled_is_sent_again(self, bench: Bench) -> None:
        error = {"pointer": "", "code": "internal_error", "detail": "Synthetic"}
        row = {"index": 0, "status": "invalid", "id": None, "errors": [error]}
        bench.service.plan = [lambda _: httpx.Response(200, json={"results": [row]})]
        bench.drop("day.jsonl", purchase(1))
        assert not bench.once()
        assert (len(bench.service.kept), bench.refused()) == (0, [])
        bench.time.pause(60)
        assert bench.once()
        assert len(bench.service.kept) == 1

    @pytest.mark.parametrize("code", ["malformed_body", "body_too_large", "invalid_request"])
    def test_that_spoils_its_batch_is_found_and_refused_alone(self, bench: Bench, code: str) -> None:
        plain = bench.service.__call__

        def judge(request: httpx.Request) -> httpx.Response:
            bench.service.plan = [judge]
            if b'"POS-13"' in request.content:
                return problem(422, code)
            bench.service.plan = []
            answer = plain(request)
            bench.service.plan = [judge]
            return answer

        bench.service.plan = [judge]
        bench.drop("day.jsonl", *(purchase(number) for number in range(40)))
        assert bench.once()
        assert len(bench.service.kept) == 39
        [row] = bench.refused()
        assert (row["client_reference"], row["_refused"]["errors"][0]["code"]) == ("POS-13", code)


class TestARowWithoutAReference:
    def test_gets_one_that_a_copy_of_the_file_gets_too(self, bench: Bench) -> None:
        for name in ("a.jsonl", "b.jsonl"):
            bench.drop(name, unnumbered(), unnumbered(quantity=2))
            assert bench.once()
        assert len(bench.service.kept) == 2

    def test_is_the_same_in_a_longer_export_of_the_day(self, bench: Bench) -> None:
        rows = [unnumbered(quantity=number) for number in range(1, 6)]
        for length in (2, 3, 5):
            bench.drop("export.jsonl", *rows[:length])
            assert bench.once()
        assert len(bench.service.kept) == 5

    def test_stays_two_where_it_stands_twice(self, bench: Bench) -> None:
        bench.drop("day.jsonl", unnumbered(), unnumbered())
        assert bench.once()
        assert len(bench.service.kept) == 2

    def test_shows_nothing_of_the_buyer_in_its_reference(self, bench: Bench, tmp_path: Path) -> None:
        other = Bench(tmp_path / "other")
        other.root.mkdir()
        for one in (bench, other):
            one.drop("day.jsonl", unnumbered())
            assert one.once()
        # Keyed: who knows the row cannot compute the reference, and so not try out identities.
        assert bench.service.kept.keys().isdisjoint(other.service.kept)
        assert all(len(reference) <= 64 for reference in bench.service.kept)


class TestARefusedRow:
    def test_is_listed_with_the_reasons(self, bench: Bench) -> None:
        bench.drop("day.jsonl", purchase(1), purchase(2, quantity=0))
        assert bench.once()
        [row] = bench.refused()
        assert {name: row["_refused"][name] for name in ("file", "line", "status")} == {
            "file": "day.jsonl",
            "line": 2,
            "status": "invalid",
        }
        assert row["_refused"]["errors"] == [
            {"pointer": "/quantity", "code": "greater_than_equal", "detail": "Synthetic"}
        ]
        assert row["buyer"] == {"name": "合成顾客"}
        assert "合成顾客" in bench.folder.refused_file(bench.time.now().date()).read_text("utf-8")

    def test_is_accepted_after_correction_by_dropping_the_list(self, bench: Bench) -> None:
        bench.drop("day.jsonl", unnumbered(quantity=0), text=None)
        assert bench.once()
        [row] = bench.refused()
        row["quantity"] = 1
        bench.drop("corrected.jsonl", row)
        assert bench.once()
        assert list(bench.service.kept) == [row["client_reference"]]
        assert "_refused" not in bench.service.kept[row["client_reference"]]

    def test_that_was_no_json_is_accepted_after_correction_in_place(self, bench: Bench) -> None:
        bench.drop("day.jsonl", text='{"client_reference": "POS-1", "quantity": 1\n')
        assert bench.once()
        [row] = bench.refused()
        assert row["_refused"]["errors"][0]["code"] == "malformed_json"
        row["_line"] += "}"
        bench.drop("corrected.jsonl", row)
        assert bench.once()
        assert list(bench.service.kept) == ["POS-1"]

    def test_is_listed_once_though_the_till_ended_before_it_could_note_that(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        bench.drop("day.jsonl", purchase(1, quantity=0))
        with monkeypatch.context() as patched:
            patched.setattr(Spool, "note_listed", fail)
            with pytest.raises(KeyboardInterrupt):
                bench.once()
        assert len(bench.refused()) == 1
        assert bench.once()
        assert len(bench.refused()) == 1

    def test_follows_half_a_line_that_a_power_cut_left(self, bench: Bench) -> None:
        bench.folder.prepare()
        path = bench.folder.refused_file(bench.time.now().date())
        path.write_text('{"_refused":{"id":"x"')
        bench.drop("day.jsonl", purchase(1, quantity=0))
        assert bench.once()
        assert [line[:12] for line in path.read_text().splitlines()] == ['{"_refused":'] * 2
        assert path.read_text().endswith("}\n")


class TestAFile:
    def test_that_is_being_written_is_left_alone(self, bench: Bench) -> None:
        path = bench.root / "day.jsonl"
        with bench.till(settle_seconds=2) as till:
            for number in range(8):
                with path.open("a") as file:
                    file.write(f'{{"client_reference": "POS-{number}"}}\n')
                till.go()
                assert path.exists()
                bench.time.pause(1)
            bench.time.pause(1)
            till.go()
            assert not path.exists()
        assert len(bench.service.kept) == 8

    def test_without_a_last_line_s_end_is_given_more_time(self, bench: Bench) -> None:
        bench.drop("day.jsonl", text='{"client_reference": "POS-1"}')
        with bench.till(settle_seconds=1) as till:
            for _ in range(5):
                till.go()
                bench.time.pause(1)
            assert bench.service.kept == {}
            till.go()
        assert list(bench.service.kept) == ["POS-1"]

    def test_that_grows_after_it_was_taken_loses_nothing(self, bench: Bench) -> None:
        bench.service.plan = [lambda _: problem(503, "database_unavailable")]
        bench.drop("day.jsonl", unnumbered(quantity=1))
        with bench.till() as till:
            till.look()
            with (bench.root / "day.jsonl").open("a") as late:  # a POS that keeps its file open
                bench.time.pause(2)
                till.go()
                late.write('{"client_reference": "LATE", "quantity": 1}\n')
            for _ in range(4):
                bench.time.pause(10)
                till.go()
        assert len(bench.service.kept) == 2
        assert "LATE" in bench.service.kept
        assert bench.sent() == ["day.jsonl"]

    @pytest.mark.parametrize("name", [".day.jsonl", "~day.csv", "day.jsonl.part", "day.tmp", "day.xlsx"])
    def test_of_another_name_is_none_of_ours(self, bench: Bench, name: str) -> None:
        (bench.root / name).write_text('{"client_reference": "POS-1"}\n')
        assert bench.once()
        assert (bench.root / name).exists()
        assert bench.service.requests == []

    def test_that_is_a_link_is_not_followed(self, bench: Bench, tmp_path: Path) -> None:
        outside = tmp_path / "secret.txt"
        outside.write_text('{"client_reference": "POS-1"}\n')
        (bench.root / "day.jsonl").symlink_to(outside)
        assert bench.once()
        assert bench.service.requests == []

    def test_of_which_something_is_unreadable_is_put_with_the_refused(self, bench: Bench) -> None:
        bench.drop("day.jsonl", text='{"client_reference": "POS-1"}\nnonsense\n')
        assert bench.once()
        assert list(bench.service.kept) == ["POS-1"]
        assert [path.name for path in bench.folder.refused.glob("*/*")] == ["day.jsonl"]
        assert bench.sent() == []

    def test_that_the_disk_has_no_room_for_is_taken_in_later(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        bench.drop("day.jsonl", purchase(1))
        with bench.till() as till:
            till.go()
            bench.time.pause(2)
            with monkeypatch.context() as patched:
                patched.setattr(Spool, "take_in", full)
                till.go()
            assert bench.service.kept == {}
            till.go()
        assert list(bench.service.kept) == ["POS-1"]

    def test_is_deleted_when_it_has_been_kept_long_enough(self, bench: Bench) -> None:
        bench.drop("day.jsonl", purchase(1), purchase(2, quantity=0))
        assert bench.once()
        keeping = Keeping(sent_days=7, refused_days=35)
        left = []
        for days in (6, 8, 34, 36):
            bench.time.seconds = timedelta(days=days).total_seconds()
            with bench.till(keeping=keeping) as till:
                till.go()
            left.append((len(bench.sent()), len(bench.refused())))
        assert left == [(1, 1), (0, 1), (0, 1), (0, 0)]


class TestTheService:
    @pytest.mark.parametrize(
        "trouble",
        [
            lambda request: problem(429, "too_many_requests", **{"retry-after": "7"}),
            lambda request: problem(503, "database_unavailable"),
            lambda request: problem(401, "unauthenticated"),
            lambda request: problem(403, "forbidden"),
            lambda request: httpx.Response(502, text="<html>Bad gateway</html>"),
            lambda request: httpx.Response(200, text="<html>Please log in to this network</html>"),
            lambda request: httpx.Response(200, json={"results": []}),
            lambda request: httpx.Response(302, headers={"location": "https://login.test/"}),
            lambda request: httpx.Response(404, text="Not here"),
            lambda request: httpx.Response(413, text="A proxy's limit"),
        ],
    )
    def test_that_does_not_take_a_batch_gets_it_again(self, bench: Bench, trouble: Any) -> None:
        bench.service.plan = [trouble] * 3
        bench.drop("day.jsonl", purchase(1), purchase(2))
        assert bench.once()
        assert (len(bench.service.kept), bench.refused()) == (2, [])
        assert len(bench.service.requests) == 4

    def test_that_asks_for_time_gets_it(self, bench: Bench) -> None:
        bench.service.plan = [lambda _: problem(429, "too_many_requests", **{"retry-after": "120"})]
        bench.drop("day.jsonl", purchase(1))
        with bench.till() as till:
            till.go()
            bench.time.pause(2)
            assert till.go() >= 120
            bench.time.pause(119)
            till.go()
            assert len(bench.service.requests) == 1
            bench.time.pause(20)
            till.go()
        assert len(bench.service.kept) == 1

    def test_that_is_gone_for_a_day_is_asked_ever_more_seldom_and_gets_all(self, bench: Bench) -> None:
        def nobody(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("no route", request=request)

        days = 1
        dropped = 0
        with bench.till() as till:
            while bench.time.seconds < timedelta(days=days).total_seconds():
                bench.service.plan = [nobody] * 5
                if bench.time.seconds >= dropped * 3600:
                    dropped += 1
                    bench.drop(f"{dropped}.jsonl", *(purchase(f"{dropped}-{number}") for number in range(20)))
                bench.time.pause(min(till.go() or 60, 60))
            assert days * 24 * 12 <= len(bench.service.requests) <= days * 24 * 30
            assert bench.service.kept == {}
            bench.service.plan = []
            bench.service.requests.clear()
            bench.time.pause(400)
            till.go()
        assert len(bench.service.kept) == dropped * 20
        assert bench.service.requests == [dropped * 20]


@contextmanager
def cut_off_at(step: int, monkeypatch: pytest.MonkeyPatch, bench: Bench) -> Iterator[Callable[[], int]]:
    """End the till at the given step: before or after each request, step of a transaction, renaming and flush to the disk."""
    seen = 0

    def tick() -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            raise KeyboardInterrupt

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **more: Any) -> Any:
            tick()
            result = function(*words, **more)
            tick()
            return result

        return wrapped

    with monkeypatch.context() as patched:
        for owner, name in (
            (Spool, "take_in"),
            (Spool, "_insert"),
            (Spool, "_note_unread"),
            (Spool, "_count"),
            (Spool, "settle"),
            (Spool, "note_listed"),
            (Spool, "forget_file"),
            (Folder, "claim"),
            (Folder, "put_away"),
            (Folder, "list_refused"),
            (type(bench.service), "__call__"),
        ):
            patched.setattr(owner, name, around(getattr(owner, name)))
        patched.setattr(os, "fsync", around(os.fsync))
        yield lambda: seen


class TestATillThatIsCutOff:
    def test_at_any_step_loses_and_doubles_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        step = 0
        while True:
            step += 1
            bench = Bench(tmp_path / str(step))
            bench.root.mkdir()
            bench.drop("a.jsonl", purchase(1), purchase(2, quantity=0), unnumbered(), unnumbered())
            bench.drop("b.jsonl", text='{"client_reference": "POS-3"}\nnonsense\n')
            with cut_off_at(step, monkeypatch, bench) as seen:
                try:
                    bench.once()
                except KeyboardInterrupt:
                    pass
                else:
                    assert seen() < step
                    break
            assert bench.once()
            assert len(bench.service.kept) == 4
            whys = sorted((row["_refused"]["file"], row["_refused"]["line"]) for row in bench.refused())
            assert whys == [("a.jsonl", 2), ("b.jsonl", 2)]
            assert bench.sent() == ["a.jsonl"]
        assert step > 30


class TestTheLog:
    def test_holds_nothing_of_a_file(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG, logger="sentinel.till"):
            bench.service.plan = [lambda _: problem(503, "database_unavailable")]
            bench.drop("合成顾客.jsonl", purchase(1), purchase(2, quantity=0))
            bench.service.plan.append(lambda _: problem(403, "forbidden 13800138000\n合成"))
            bench.drop("b.jsonl", text="13800138000\n")
            assert bench.once()
        lines = [record.getMessage() for record in caplog.records]
        assert "file taken in, rows 2" in lines
        assert any("created 1" in line for line in lines)
        assert not any(identity in line for line in lines for identity in ("合成", "13800138000", "POS-"))
