"""What is refused is told in Chinese as well: nothing is left out, nothing stands there for what does not exist."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

import app.main  # noqa: F401 - so that every chapter's errors and models are known
from app.chinese import CELLS, CHINESE, DETAILS, FIELDS, IN_A_TABLE, TITLES
from app.core.errors import AppError, all_errors
from app.core.schemas import Day, Instant, Model
from app.imports.cells import day, instant
from tests.architecture.tree import ROOT, dotted, modules

ERRORS = {error for error in all_errors() if error.__module__.startswith("app.")} | {AppError}
NAMES = {error.__name__ for error in ERRORS}
TOLD = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE))
"""Codes of fields; another test sees that every one in the code is told there."""
KINDS = set(get_args(ErrorType))
"""Codes of pydantic, about the form of a value."""
FIGURES = {"gt": 7, "ge": 7, "lt": 7, "le": 7, "multiple_of": 7, "min_length": 7, "max_length": 7, "actual_length": 9}
FIGURES |= {"max_digits": 7, "decimal_places": 7, "whole_digits": 7}
WORDS = {"expected": "'a' or 'b'", "pattern": "^[a-z]+$", "field_type": "List"}
HAN = re.compile("[\u4e00-\u9fff]")


def templates(node: ast.expr) -> Iterator[str]:
    """Yield the sentences that an expression can be, with `{}` for what is different each time."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            yield from map("".join, product(*map(readings, node.values)))
        case ast.IfExp():
            yield from templates(node.body)
            yield from templates(node.orelse)


def readings(part: ast.expr) -> tuple[str, ...]:
    """Return what can stand in a place of a sentence: its words, or `{}` and the words that are there otherwise."""
    match part:
        case ast.Constant(value=words):
            return (str(words),)
        case ast.FormattedValue(value=ast.BoolOp(op=ast.Or(), values=[_, ast.Constant(value=str(otherwise))])):
            return ("{}", otherwise)
    return ("{}",)


@cache
def details() -> set[str]:
    """Return every detail that an error is raised with."""
    calls = [
        node
        for module in modules("app")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in NAMES
    ]
    given = [argument for call in calls for argument in call.args[:1]]
    given += [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "detail"]
    return {sentence for node in given for sentence in templates(node)}


class TestEveryRefusal:
    @pytest.mark.parametrize("error", sorted(ERRORS, key=lambda error: error.__name__), ids=lambda e: e.__name__)
    def test_has_a_title_in_chinese(self, error: type[AppError]) -> None:
        assert HAN.search(TITLES.get(error.code, "")), f"{error.code} is missing in app/chinese.py"

    def test_of_a_field_has_a_message_in_chinese(self) -> None:
        assert TOLD - FIELDS.keys() == set(), "missing in app/chinese.py"

    def test_is_explained_in_chinese(self) -> None:
        assert details() - DETAILS.keys() == set(), "missing in app/chinese.py"
        assert all(map(HAN.search, DETAILS.values()))

    def test_in_the_table_exists(self) -> None:
        assert set(TITLES) == {error.code for error in ERRORS}
        assert set(FIELDS) <= TOLD | KINDS
        assert set(DETAILS) <= details()
        assert set(CELLS) <= set(FIELDS)


class TestWhatIsToldToBeWritten:
    """An example is taken where it is given: a body's is not a cell's."""

    EXAMPLE = re.compile(r"[0-9][0-9T:+ -]+")

    @pytest.mark.parametrize("code", sorted(code for code, told in FIELDS.items() if "时间请写成" in told))
    def test_of_a_time_is_taken_by_bodies_and_by_cells(self, code: str) -> None:
        [example] = self.EXAMPLE.findall(CHINESE.message(code, ""))
        TypeAdapter(Instant).validate_python(example)
        [example] = self.EXAMPLE.findall(IN_A_TABLE.message(code, ""))
        assert instant(example).tzinfo is not None

    @pytest.mark.parametrize("code", sorted(code for code, told in FIELDS.items() if "日期请写成" in told))
    def test_of_a_day_is_taken_by_both(self, code: str) -> None:
        [example] = self.EXAMPLE.findall(CHINESE.message(code, ""))
        assert TypeAdapter(Day).validate_python(example) == day(example)

    @pytest.mark.parametrize("code", sorted(CELLS))
    def test_in_a_table_has_no_patterns_and_no_words_of_programmers(self, code: str) -> None:
        assert IN_A_TABLE.message(code, "String should match pattern '^[a-z]+$'") == CELLS[code]
        assert not re.search("[A-Za-z]{2}|[\\^$]", CELLS[code])
        assert CELLS[code] != CHINESE.message(code, "String should match pattern '^[a-z]+$'")


class TestTheFormOfAValue:
    """What pydantic finds wrong with it, by the kinds of schema that bodies and parameters are made of."""

    RAISED: Mapping[str, set[str]] = {
        "bool": {"bool_type", "bool_parsing"},
        "date": {"date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"},
        "datetime": {"datetime_type", "datetime_parsing", "datetime_from_date_parsing", "timezone_aware"},
        "decimal": {"decimal_type", "decimal_parsing", "decimal_max_digits", "decimal_max_places", "finite_number"},
        "dict": {"dict_type", "invalid_key", "too_long"},
        "enum": {"enum"},
        "float": {"float_type", "float_parsing", "finite_number", "greater_than_equal", "less_than_equal"},
        "int": {
            "int_type",
            "int_parsing",
            "int_parsing_size",
            "int_from_float",
            "greater_than_equal",
            "less_than_equal",
        },
        "list": {"list_type", "too_short", "too_long"},
        "literal": {"literal_error"},
        "model": {"model_type", "model_attributes_type"},
        "none": {"none_required"},
        "str": {"string_type", "string_unicode", "string_too_short", "string_too_long", "string_pattern_mismatch"},
        "tagged-union": {"union_tag_invalid", "union_tag_not_found"},
        "tuple": {"tuple_type", "too_short", "too_long"},
        "uuid": {"uuid_type", "uuid_parsing"},
        "function-after": {"value_error"},
    }
    AROUND = frozenset(
        {
            "default",
            "function-before",
            "function-wrap",
            "model-field",
            "model-fields",
            "no-info",
            "nullable",
            "union",
        }
    )
    """What is told of these is told of what they hold, or with a code of our own."""

    def test_is_told_in_chinese_whatever_is_wrong(self) -> None:
        used = set().union(*(kinds_of(model.__pydantic_core_schema__) for model in models(Model))) - self.AROUND
        assert used <= self.RAISED.keys(), "what can be wrong there?"
        raised = set().union(*(self.RAISED[kind] for kind in used))
        assert raised <= KINDS
        assert raised - FIELDS.keys() == set(), "missing in app/chinese.py"


def models(root: type[Model]) -> Iterator[type[Model]]:
    for model in root.__subclasses__():
        if model.__module__.startswith("app."):
            yield model
        yield from models(model)


def kinds_of(schema: Any) -> set[str]:
    """Return the kinds of all parts of a schema of pydantic's core."""
    if isinstance(schema, list | tuple):
        return set().union(*map(kinds_of, schema))
    if not isinstance(schema, dict):
        return set()
    inner = (part for name, part in schema.items() if name not in ("metadata", "serialization", "cls", "config"))
    own = {schema["type"]} if isinstance(schema.get("type"), str) else set()
    return own.union(*map(kinds_of, inner))


class TestAPattern:
    PATTERNS = sorted(
        [(code, *told) for code, told in FIELDS.items() if isinstance(told, tuple)]
        + [("", english, chinese) for english, chinese in DETAILS.items() if "{}" in english]
    )

    @pytest.mark.parametrize(("code", "english", "chinese"), PATTERNS, ids=lambda part: str(part)[:40])
    def test_carries_its_figures_over(self, code: str, english: str, chinese: str) -> None:
        figures = [f"<{number}>" for number in range(english.count("{}"))]
        sentence = english.format(*figures)
        told = CHINESE.message(code, sentence) if code else CHINESE.detail(sentence)
        assert told == chinese.format(*figures)

    @pytest.mark.parametrize("code", sorted(code for code in KINDS & FIELDS.keys() if isinstance(FIELDS[code], tuple)))
    def test_of_pydantic_is_what_pydantic_says(self, code: str) -> None:
        said = PydanticKnownError(code, {**FIGURES, **WORDS}).message()  # type: ignore[arg-type]
        told = CHINESE.message(code, said)
        assert HAN.search(told)
        assert "7" in told or any(word.replace(" or ", " 或 ") in told for word in WORDS.values())
