from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.json_schema import SkipJsonSchema

import app.main  # noqa: F401 - so that every chapter's models are known
from app.core.schemas import Model
from app.core.validation import BODY, MOST_ERRORS, field_errors, pointer


def reads(at: str, document: Any) -> Any:
    """Resolve a JSON pointer as RFC 6901 says."""
    for token in at.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def refuse(text: str) -> str:
    raise ValueError(f"{text} is bad")


class Sample(Model):
    name: Annotated[str, StringConstraints(min_length=2), AfterValidator(refuse)] | None = None
    maybe: Annotated[str, Field(min_length=3)] | SkipJsonSchema[None] = None
    codes: dict[Annotated[str, StringConstraints(pattern="^[a-z]+$")], int] = Field(default_factory=dict)
    numbers: list[int] = Field(default_factory=list)
    query: int = 0


def found(body: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Sample).validate_python(body)
    return [(one.pointer, one.code, one.detail) for one in field_errors(refused.value, within=BODY)]


class TestAPointer:
    @given(st.lists(st.text() | st.integers(0, 3), max_size=5))
    def test_leads_to_the_place(self, path: list[str | int]) -> None:
        document: Any = "here"
        for part in reversed(path):
            document = {part: document} if isinstance(part, str) else [None] * part + [document]
        assert reads(pointer(("body", *path)), document) == "here"

    def test_of_a_parameter_is_its_name(self) -> None:
        assert pointer(("query", "limit")) == "?limit"
        assert pointer(("path", "registration_id")) == "?registration_id"
        assert pointer(("body",)) == pointer(()) == ""


class TestFindings:
    def test_point_to_members_and_never_quote_values(self) -> None:
        body = {"name": "秘密", "codes": {"a": "x"}, "numbers": [1, "y"], "query": None, "x[0]": 1, "[key]": 2}
        told = found(body)
        assert [(at, code) for at, code, _ in told] == [
            ("/name", "value_error"),
            ("/codes/a", "int_parsing"),
            ("/numbers/1", "int_parsing"),
            ("/query", "int_type"),
            ("/x[0]", "unknown_field"),
            ("/[key]", "unknown_field"),
        ]
        assert not [detail for *_, detail in told if "秘密" in detail]

    def test_of_a_members_name_point_to_the_member(self) -> None:
        assert [(at, code) for at, code, _ in found({"codes": {"A/B": 1}})] == [
            ("/codes/A~1B", "string_pattern_mismatch")
        ]

    def test_of_a_value_or_null_are_one(self) -> None:
        assert [(at, code) for at, code, _ in found({"maybe": "x"})] == [("/maybe", "string_too_short")]

    def test_are_a_hundred_at_most(self) -> None:
        assert len(found({"numbers": ["x"] * 1000})) == MOST_ERRORS


class TestEveryBodyThatWeRead:
    def test_has_no_union_whose_members_would_show_in_a_pointer(self) -> None:
        """A union tells of each of its members; a validator around it must make one finding of them."""
        assert [f"{model.__qualname__}{at}" for model in _models(Model) for at in _unions(model)] == []


def _models(root: type[Model]) -> list[type[Model]]:
    below = [one for one in root.__subclasses__() if one.__module__.startswith("app.")]
    return below + [deeper for one in below for deeper in _models(one)]


def _unions(model: type[Model]) -> list[str]:
    places: list[str] = []

    def walk(node: Any, at: str) -> None:
        if isinstance(node, list | tuple):
            for number, part in enumerate(node):
                walk(part, f"{at}.{number}")
        elif isinstance(node, dict):
            kind = node.get("type")
            if kind == "function-wrap":
                return  # it answers for what it wraps
            if kind == "union":
                kinds = [one["type"] if isinstance(one, dict) else one[0]["type"] for one in node["choices"]]
                if "none" not in kinds or len(kinds) > 2:
                    places.append(at)
            for name, part in node.items():
                if name not in ("metadata", "serialization", "cls", "config"):
                    walk(part, f"{at}.{name}")

    walk(model.__pydantic_core_schema__, "")
    return places
