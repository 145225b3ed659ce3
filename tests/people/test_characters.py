"""How what is typed becomes comparable: separators and forms that mean nothing go."""

from hypothesis import given
from hypothesis import strategies as st

from app.people.characters import compact


class TestATypedNumber:
    @given(st.text(st.characters(max_codepoint=0x7F)))
    def test_is_compact_alike_whether_all_of_it_is_ascii_or_not(self, typed: str) -> None:
        assert compact(typed) + "号" == compact(typed + "号")

    @given(st.text())
    def test_is_compact_once_and_for_all(self, typed: str) -> None:
        assert compact(compact(typed)) == compact(typed)
