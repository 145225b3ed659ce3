"""Rows read one by one, whatever stands beside them."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from app.core.batches import JSON, NDJSON, RowReader, Unreadable, refused, refused_by
from app.core.errors import Conflict, FieldError, InvalidRequest
from app.core.schemas import Code, Model

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "n", "x"]), inner, max_size=3),
    max_leaves=6,
)
good = st.fixed_dictionaries({"code": st.from_regex(r"[a-z]{1,5}", fullmatch=True)}, optional={"n": st.integers(0, 9)})


class Row(Model):
    code: Code
    n: int = 0


READER = RowReader(Row)


async def read(body: bytes, kind: str) -> Sequence[Row | Unreadable]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    return await READER.many(Request({"type": "http", "headers": [(b"content-type", kind.encode())]}, receive))


class TestRows:
    @given(st.lists(good | anything, min_size=1, max_size=12))
    async def test_are_read_alike_in_either_form(self, values: list[Any]) -> None:
        array = await read(json.dumps(values).encode(), JSON)
        lines = await read("\r\n".join(json.dumps(value, ensure_ascii=False) for value in values).encode(), NDJSON)
        assert array == lines
        assert len(array) == len(values)

    @given(st.lists(good, max_size=5), anything, st.lists(good, max_size=5))
    async def test_do_not_suffer_for_a_neighbour(self, before: list[Any], bad: Any, after: list[Any]) -> None:
        found = await read(json.dumps([*before, bad, *after]).encode(), JSON)
        kept = [*found[: len(before)], *found[len(before) + 1 :]]
        assert kept == [Row(**value) for value in before + after]

    @given(
        st.lists(st.binary(max_size=12).filter(lambda raw: b"\n" not in raw and raw.strip()), min_size=1, max_size=8)
    )
    async def test_of_any_bytes_have_a_result_each(self, raw: list[bytes]) -> None:
        found = await read(b"\n\n".join(raw), NDJSON)
        assert len(found) == len(raw)
        assert all(one.errors for one in found if isinstance(one, Unreadable))


class TestAResult:
    def test_of_a_refused_row_tells_its_fields_or_else_its_code(self) -> None:
        assert refused_by(3, "conflict", Conflict()).errors[0].code == "conflict"
        wrong = FieldError("/code", "required", "Field required")
        told = refused_by(3, "invalid", InvalidRequest(errors=[wrong]))
        assert told == refused(3, "invalid", [wrong])
        assert (told.index, told.id, told.errors[0].pointer) == (3, None, "/code")
