import csv
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.divisions.rules import Gazetteer, Level, ancestors, is_wellformed, level_of, parent_of, within

codes = st.sampled_from([2, 4, 6, 9, 12]).flatmap(lambda n: st.text("123456789", min_size=n, max_size=n))


def shipped() -> dict[str, str]:
    text = (files("app.divisions") / "data" / "divisions.csv").read_text("utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    next(rows)
    return dict(rows)


class TestACode:
    @pytest.mark.parametrize(
        ("code", "level", "parent"),
        [
            ("44", Level.PROVINCE, None),
            ("4403", Level.CITY, "44"),
            ("440304", Level.COUNTY, "4403"),
            ("440304005", Level.STREET, "440304"),
            ("440304005012", Level.COMMUNITY, "440304005"),
        ],
    )
    def test_tells_its_level_and_parent(self, code: str, level: Level, parent: str | None) -> None:
        assert is_wellformed(code)
        assert level_of(code) is level
        assert parent_of(code) == parent

    @pytest.mark.parametrize(
        "code",
        [
            "",
            "4",
            "440",
            "44030",
            "4403040",
            "4400",
            "440304000",
            "440304000000",
            "440304005000",
            "44030x",
            "４４",
            "00",
            "४४",
        ],
    )
    def test_is_refused_when_padded_or_misshapen(self, code: str) -> None:
        assert not is_wellformed(code)

    def test_of_a_city_without_counties_may_end_in_zeros(self) -> None:
        assert is_wellformed("441900")

    def test_of_another_length_has_no_level(self) -> None:
        with pytest.raises(ValueError, match="digits"):
            level_of("440")

    @given(codes)
    def test_leads_through_its_parents_to_a_province(self, code: str) -> None:
        chain = [code]
        while (parent := parent_of(chain[-1])) is not None:
            chain.append(parent)
        assert tuple(chain) == ancestors(code)
        assert len(chain[-1]) == 2

    @given(codes, codes)
    def test_lies_within_its_ancestors_and_nothing_else(self, code: str, other: str) -> None:
        assert all(within(code, scope) for scope in ancestors(code))
        assert within(code, other) == (other in ancestors(code))
        assert within(code, None)

    def test_lies_not_within_what_it_merely_holds(self) -> None:
        assert not within("114403", "4403")


class TestTheShippedData:
    def test_holds_every_province_city_and_county_and_the_streets_of_shenzhen(self) -> None:
        by_level = dict.fromkeys(Level, 0)
        for code in shipped():
            by_level[level_of(code)] += 1
        assert by_level == {"province": 34, "city": 342, "county": 2978, "street": 79, "community": 0}
        assert all(within(code, "4403") for code in shipped() if level_of(code) is Level.STREET)

    def test_is_wellformed_and_every_parent_is_there(self) -> None:
        names = shipped()
        assert all(is_wellformed(code) and name for code, name in names.items())
        assert {parent_of(code) for code in names} - {None} <= set(names)

    def test_gives_every_city_a_county(self) -> None:
        names = shipped()
        with_counties = {parent_of(code) for code in names if level_of(code) is Level.COUNTY}
        assert {code for code in names if level_of(code) is Level.CITY} == with_counties


class TestAGazetteer:
    book = Gazetteer(shipped())

    def test_knows_what_it_holds_and_no_more(self) -> None:
        assert self.book.known("440304")
        assert self.book.name_of("440304") == "福田区"
        assert not self.book.known("440399")
        assert self.book.name_of("440399") is None
