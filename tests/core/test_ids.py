from collections.abc import Callable
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import ids
from app.core.ids import new_id, new_ids, new_token, read_id


def made_at(milliseconds: int) -> UUID:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids.time, "time_ns", lambda: milliseconds * 1_000_000 + 999_999)
        return new_id()


def made_together() -> list[UUID]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids.time, "time_ns", lambda: 0)
        return new_ids(200)


class TestAnId:
    @given(st.integers(0, 2**48 - 1))
    def test_is_a_uuid_of_version_seven_that_tells_its_millisecond(self, milliseconds: int) -> None:
        made = made_at(milliseconds)
        assert (made.version, made.variant) == (7, RFC_4122)
        assert made.int >> 80 == milliseconds

    @given(st.integers(0, 2**48 - 2), st.integers(1, 10**6))
    def test_sorts_after_those_of_earlier_milliseconds(self, milliseconds: int, later: int) -> None:
        earlier, after = made_at(milliseconds), made_at(min(milliseconds + later, 2**48 - 1))
        assert earlier < after
        assert str(earlier) < str(after)
        assert earlier.bytes < after.bytes

    def test_is_made_in_any_number(self) -> None:
        before = new_id().int >> 80
        made = new_ids(1_000)
        after = new_id().int >> 80
        assert len(set(made)) == 1_000
        assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
        assert before <= made[0].int >> 80 == made[-1].int >> 80 <= after
        assert new_ids(0) == []

    @pytest.mark.parametrize("make", [lambda: [made_at(0) for _ in range(200)], made_together])
    def test_is_random_in_every_other_bit(self, make: Callable[[], list[UUID]]) -> None:
        many = [one.int for one in make()]
        assert len(set(many)) == 200
        ever_set = ever_clear = 0
        for one in many:
            ever_set |= one
            ever_clear |= ~one & (2**128 - 1)
        assert (ever_set & ever_clear).bit_count() == 74

    @given(st.uuids())
    def test_reads_as_it_was_written(self, made: UUID) -> None:
        read = read_id(str(made))
        assert (read, hash(read), str(read), type(read)) == (made, hash(made), str(made), type(new_id()))

    def test_is_not_read_from_something_else(self) -> None:
        with pytest.raises(ValueError, match="UUID"):
            read_id("SYN-1")


class TestAToken:
    def test_has_a_prefix_and_256_random_bits(self) -> None:
        many = {new_token("sentinel") for _ in range(100)}
        assert len(many) == 100
        assert all(one.startswith("sentinel_") and len(one) == len("sentinel_") + 43 and one.isascii() for one in many)
