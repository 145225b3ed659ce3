"""Sizes, names, and what may be written where."""

import ast
import sys
from collections.abc import Collection, Iterator

import pytest

from app.core.http import Router
from app.main import ROUTERS
from tests.architecture.tree import CHAPTERS, ROOT, Module, dotted, modules

APP = modules("app")
TESTS = modules("tests")
ALL = [*APP, *TESTS, *modules("migrations", "benchmarks", ".ci")]
MOST_LINES, MOST_LINES_OF_TESTS, FEWEST_LINES = 400, 600, 25
ROOMS = {"models", "schemas", "rules", "queries", "service", "routes", "jobs"}
"""Files that may be short: everybody looks for them under these names."""
SAYS_NOTHING = {"base", "common", "constants", "helper", "helpers", "misc", "types", "util", "utils"}


def calls(module: Module) -> Iterator[str]:
    """Yield the dotted name of everything that a module calls."""
    yield from (dotted(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def callers_of(names: Collection[str], among: list[Module] = APP) -> set[str]:
    """Return the modules that call any of these; a name may be a last part only."""
    return {
        module.name
        for module in among
        for call in calls(module)
        if any(call == name or call.endswith(f".{name}") for name in names)
    }


class TestAModule:
    @pytest.mark.parametrize("module", APP, ids=lambda module: module.name)
    def test_fits_in_a_head(self, module: Module) -> None:
        assert len(module.text.splitlines()) <= MOST_LINES

    @pytest.mark.parametrize("module", TESTS, ids=lambda module: module.name)
    def test_of_tests_fits_in_a_head(self, module: Module) -> None:
        assert len(module.text.splitlines()) <= MOST_LINES_OF_TESTS

    def test_is_worth_a_file(self) -> None:
        short = {module.name for module in APP if len(module.text.splitlines()) < FEWEST_LINES}
        allowed = {module.name for module in APP if module.path.stem in ROOMS or module.path.stem.startswith("__")}
        # Numbers of the process, kept apart because every part of the machinery counts something.
        assert short - allowed <= {"app/core/metrics.py"}

    def test_has_a_name_that_says_what_is_in_it(self) -> None:
        assert not {module.name for module in ALL if module.path.stem in SAYS_NOTHING}

    def test_says_what_it_is(self) -> None:
        assert not {module.name for module in APP if not ast.get_docstring(module.tree)}


class TestAPreface:
    @pytest.mark.parametrize(
        "preface", [module for module in APP if module.path.stem == "__init__"], ids=lambda module: module.name
    )
    def test_is_prose_and_no_code(self, preface: Module) -> None:
        assert [type(node) for node in preface.tree.body] == [ast.Expr]
        lines = (ast.get_docstring(preface.tree) or "").splitlines()
        assert 3 <= len(lines) <= 15

    def test_of_the_book_lists_every_chapter_in_order(self) -> None:
        told = (ROOT / "app" / "__init__.py").read_text(encoding="utf-8").split("\n\n")[2]
        order = [word for word in told.replace("→", " ").split() if word != "flow"]
        assert order == list(CHAPTERS)
        assert {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")} - {"demo", "till", "client"} == set(
            CHAPTERS
        )


class TestTheTransaction:
    def test_is_committed_in_one_place_and_by_migrations(self) -> None:
        assert callers_of({"commit"}) == {"app/core/database.py", "app/metadata.py"}

    def test_is_ended_by_no_statement_of_anybody_else(self) -> None:
        told = {
            module.name
            for module in APP
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.strip(" ;\n").upper() in ("BEGIN", "COMMIT", "ROLLBACK")
        }
        assert told == {"app/core/database.py", "app/till/spool.py"}  # a till's spool is a file of its own

    def test_is_opened_only_by_what_answers_afterwards(self) -> None:
        # Verbs are given a session; a verb that opened one would commit behind its caller's back.
        rooms = {module.name for module in APP if module.path.stem in ("service", "queries", "rules", "flow")}
        assert not callers_of({"transaction", "statements"}) & rooms


class TestARequest:
    def test_is_asked_for_its_fields_in_one_way(self) -> None:
        asked = {
            module.name
            for module in APP
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "request.headers"
        }
        assert asked == set()  # but `core.http.header`

    def test_finds_every_door_among_the_application_s_own(self) -> None:
        assert all(isinstance(router, Router) for router in ROUTERS)
        assert callers_of({"APIRouter", "include_router", "app.include_router"}) == set()


class TestTheClock:
    def test_is_read_at_the_edges_only(self) -> None:
        assert callers_of({"datetime.now", "datetime.utcnow", "date.today", "datetime.today", "time.time"}) <= {
            "app/core/clock.py",
            # The demo makes its own days, and its subscriber compares signatures with the machine's time as any other would.
            "app/demo/play/clock.py",
            "app/demo/play/command.py",
            "app/demo/play/subscriber.py",
            # Another machine than the service, with a clock of its own.
            "app/till/command.py",
        }

    def test_of_the_system_is_chosen_where_a_process_begins(self) -> None:
        beginnings = {"app/cli.py", "app/serving.py", "app/helping.py"}
        # Signatures and attempts bear the machine's time whatever the business clock says: subscribers compare with theirs.
        for_signatures = {"app/webhooks/jobs.py", "app/webhooks/sender.py"}
        chosen = {name for name in callers_of({"SystemClock"}) if not name.startswith("app/demo/")}
        assert chosen <= beginnings | for_signatures


class TestATextThatIsKeptInPlain:
    def test_is_judged_and_told_in_one_place(self) -> None:
        # Beside it only those who ask before (all references of a purchase at once) or keep the text to themselves.
        assert callers_of({"tells_identity"}) == {"app/people/plain.py", "app/registrations/service.py"}
        assert callers_of({"tells_number"}) == {
            "app/people/rules.py",
            "app/people/plain.py",
            "app/registrations/rules.py",
        }


class TestErrors:
    def test_are_facts_of_ours_and_never_the_framework_s(self) -> None:
        assert not callers_of({"HTTPException", "StarletteError"})

    def test_are_not_swallowed_whole(self) -> None:
        bare = {
            module.name
            for module in APP
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ExceptHandler) and node.type is None
        }
        assert not bare


class TestTheTill:
    def test_needs_nothing_but_its_client_and_two_packages(self) -> None:
        allowed = {*sys.stdlib_module_names, "httpx", "click", "app.till", "app.client"}
        needed = {
            name
            for module in modules("app/till", "app/client")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            )
            if not (isinstance(node, ast.ImportFrom) and node.level)
        }
        heads = {".".join(name.split(".")[: 2 if name.startswith("app.") else 1]) for name in needed}
        assert heads <= allowed


class TestTheTests:
    def test_all_run(self) -> None:
        # Put together from pieces, so that this file does not find itself.
        ways_out = {f"pytest.{way}" for way in ("ski" + "p", "xfai" + "l", "importorski" + "p")}
        marks = {f"pytest.mark.{way}" for way in ("ski" + "p", "ski" + "pif", "xfai" + "l")}
        found = {
            (module.name, dotted(node))
            for module in TESTS
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and dotted(node) in ways_out | marks
        }
        assert not found
