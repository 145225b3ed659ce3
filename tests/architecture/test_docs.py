"""The documents say what the code does: nothing is left out, nothing points nowhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from app.cli import cli
from app.core.errors import AppError, all_errors
from app.core.settings import Settings
from app.questionnaires.rules import FAULTS
from app.registrations.rules import DOUBTS
from app.webhooks.kinds import declared_kinds
from tests.architecture.tree import ROOT, documents, dotted, modules

DOCS = ROOT / "docs"
DOCUMENTS = documents()
RECORDS = sorted(path for path in (DOCS / "decisions").glob("*.md") if path.stem != "README")
CODE_ARGUMENT = {
    "FieldError": 1,
    "Problem": 1,
    "Notice": 1,
    "CellWrong": 0,
    "RowError": 2,
    "PydanticCustomError": 0,
    "UrlRefusal": 0,
    "naming": 1,
    "numbering": 1,
    "_about": 1,
    "_invalid": 1,
}
"""What makes a field's code, and which argument it is."""
AT_THE_COMMAND_LINE = {"error"}
"""What makes a row's code for whoever loads a table there: told at once, and answered by no route."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def errors() -> set[type[AppError]]:
    return {error for error in all_errors() if error.__module__.startswith("app.")}


def field_codes() -> set[str]:
    return {
        argument.value
        for module in modules("app")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and (name := dotted(node.func).rpartition(".")[2]) in CODE_ARGUMENT
        for argument in node.args[CODE_ARGUMENT[name] : CODE_ARGUMENT[name] + 1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def makers() -> Iterator[tuple[str, int]]:
    """Yield every function that hands an argument of its own on as a field's code, and which argument that is."""
    functions = (
        node
        for module in modules("app")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    for function in functions:
        own = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and (name := dotted(call.func).rpartition(".")[2]) in CODE_ARGUMENT:
                handed_on = call.args[CODE_ARGUMENT[name] : CODE_ARGUMENT[name] + 1]
                yield from ((function.name, own.index(dotted(one))) for one in handed_on if dotted(one) in own)


def commands(group: click.Group, path: str = "sentinel") -> Iterator[tuple[str, click.Command]]:
    """Yield every command with the words by which it is called."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as they are made where it is shown."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class TestErrors:
    @pytest.mark.parametrize("error", sorted(errors(), key=lambda error: error.__name__), ids=lambda e: e.__name__)
    def test_are_all_told_with_status_code_and_meaning(self, error: type[AppError]) -> None:
        meaning = " ".join((error.__doc__ or "").split())
        assert meaning
        assert f"| {error.status} | `{error.code}` | {error.title} | {meaning} |" in read("docs/errors.md")

    def test_that_are_told_exist(self) -> None:
        told = set(re.findall(r"^\| \d{3} \| `(\w+)`", read("docs/errors.md"), re.MULTILINE))
        assert told == {error.code for error in errors()}

    def test_have_a_code_of_their_own(self) -> None:
        # A class that only narrows another and keeps its code would be told apart by nobody.
        codes = [error.code for error in errors()]
        assert len(codes) == len(set(codes))

    def test_of_fields_are_all_told(self) -> None:
        told = set(re.findall(r"^\| `(\w+)` \|", read("docs/errors.md"), re.MULTILINE))
        assert field_codes() | set(DOUBTS) | set(FAULTS) <= told

    def test_of_fields_are_looked_for_in_whatever_makes_one(self) -> None:
        unknown = {(name, place) for name, place in makers() if CODE_ARGUMENT.get(name) != place}
        assert {name for name, _ in unknown} == AT_THE_COMMAND_LINE


class TestSettings:
    @pytest.mark.parametrize("name", Settings.model_fields)
    def test_are_all_told_in_their_own_words(self, name: str) -> None:
        [row] = re.findall(rf"^\| `SENTINEL_{name.upper()}` \|.*$", read("docs/settings.md"), re.MULTILINE)
        assert (Settings.model_fields[name].description or "?") in row

    def test_that_are_told_exist(self) -> None:
        real = {f"SENTINEL_{name.upper()}" for name in Settings.model_fields}
        of_compose = {"SENTINEL_DB_PASSWORD", "SENTINEL_PORT"}
        of_the_till = {"SENTINEL_TILL_FOLDER", "SENTINEL_TILL_URL", "SENTINEL_TILL_TOKEN"}
        for path in (*DOCUMENTS, ROOT / "compose.yaml", ROOT / "Dockerfile"):
            told = set(re.findall(r"\bSENTINEL_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
            # Named in a record to say that there is none.
            assert told - real - of_compose - of_the_till <= {"SENTINEL_NOW"}, path.name


class TestEventKinds:
    @pytest.mark.parametrize("kind", sorted(declared_kinds()))
    def test_are_all_told(self, kind: str) -> None:
        assert f"| `{kind}` | {declared_kinds()[kind].meaning} |" in read("docs/webhooks.md")


class TestCommands:
    @pytest.mark.parametrize(
        ("words", "command"), list(commands(cli)), ids=lambda part: part if isinstance(part, str) else ""
    )
    def test_are_all_told_with_their_options(self, words: str, command: click.Command) -> None:
        [row] = re.findall(rf"^\| `{words}\b[^|]*`", read("docs/how-to/run-it.md"), re.MULTILINE)
        options = {
            option
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.hidden
            for option in parameter.opts
        }
        assert options <= set(re.findall(r"--[a-z-]+", row))

    def test_of_run_are_told_where_people_begin(self) -> None:
        assert "./run demo\n" in read("README.md")
        assert "./run test\n" in read("README.md")


class TestADocument:
    @pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
    def test_points_only_to_what_exists(self, path: Path) -> None:
        prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            aim = (path.parent / name).resolve() if name else path
            assert aim.exists(), target
            assert not anchor or anchor in anchors(aim), target

    @pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
    def test_names_only_files_that_exist(self, path: Path) -> None:
        for name in re.findall(
            r"`((?:app|tests|docs|migrations|benchmarks)/[\w./-]+)`", path.read_text(encoding="utf-8")
        ):
            assert (ROOT / name).exists(), name

    def test_in_docs_is_reached_from_the_readme(self) -> None:
        reached = {ROOT / "README.md"}
        waiting = list(reached)
        while waiting:
            path = waiting.pop()
            for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
                aim = (path.parent / target).resolve()
                if aim.suffix == ".md" and aim.exists() and aim not in reached:
                    reached.add(aim)
                    waiting.append(aim)
        assert {path.resolve() for path in DOCUMENTS} <= reached


class TestADecision:
    @pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
    def test_begins_with_the_sentence_that_people_quote_and_the_index_has_it(self, path: Path) -> None:
        title, _, rest = path.read_text(encoding="utf-8").partition("\n")
        quoted = re.match(r"\s*(?:Accepted · [\d-]+\s+)?\*\*(.+?)\*\*", rest, re.DOTALL)
        assert quoted is not None
        row = f"| [{title.removeprefix('# ')}]({path.name}) | {' '.join(quoted[1].split())} |"
        assert row in read("docs/decisions/README.md")
