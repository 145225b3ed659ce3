"""Who runs the tests: processes side by side where all are run, our own where it is some of them."""

import os
from pathlib import Path

import pytest

from tests import sharing
from tests.architecture.tree import ROOT

ARGS, TESTPATHS = pytest.Config.ArgsSource.ARGS, pytest.Config.ArgsSource.TESTPATHS


class TestTheTests:
    @pytest.mark.parametrize(
        ("cores", "source", "keyword", "shared_by"),
        [
            (1, TESTPATHS, "", 0),
            (2, TESTPATHS, "", 2),
            (4, TESTPATHS, "", 4),
            (64, TESTPATHS, "", sharing.MOST),
            (4, ARGS, "", 0),
            (4, TESTPATHS, "draws_no_line", 0),
        ],
    )
    def test_are_shared_by_as_many_as_there_are_processors_where_all_are_run(
        self,
        monkeypatch: pytest.MonkeyPatch,
        pytestconfig: pytest.Config,
        cores: int,
        source: pytest.Config.ArgsSource,
        keyword: str,
        shared_by: int,
    ) -> None:
        monkeypatch.setattr(sharing, "processors", lambda _: cores)
        monkeypatch.setattr(pytestconfig, "args_source", source)
        monkeypatch.setattr(pytestconfig.option, "keyword", keyword)
        monkeypatch.setattr(pytestconfig.option, "markexpr", "")
        assert sharing.processes(pytestconfig) == shared_by

    @pytest.mark.parametrize(
        ("told", "cores"), [("150000 100000\n", 2), ("20000 100000\n", 1), ("max 100000\n", 3), (None, 3)]
    )
    def test_take_no_more_than_a_container_may(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str | None, cores: int
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
        if told is not None:
            (tmp_path / "cpu.max").write_text(told)
        assert sharing.processors(tmp_path / "cpu.max") == cores

    def test_begin_with_the_longest(self) -> None:
        assert (ROOT / "tests" / sharing.LONGEST).exists()
