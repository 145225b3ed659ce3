from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalogue.misses import MOST_CHARACTERS, Miss, misses_of, notable_name
from app.catalogue.rules import Entry, Resolver
from app.catalogue.vocabulary import AliasKind, DrugKind
from app.catalogue.wording import parse_wording
from app.core.ids import new_id
from app.people.characters import compact
from app.people.rules import Identity, tells_identity

IBUPROFEN = new_id()
RESOLVER = Resolver([Entry(IBUPROFEN, parse_wording("布洛芬"), DrugKind.CHEMICAL)])
GTIN = "6922097701513"
BUYER = Identity(name="王小样", document_number="11010519491231002X", phone="+8613800138000")


def nobody(_: str) -> bool:
    return False


@dataclass
class Line:
    """A line of a receipt."""

    name: str | None = None
    gtin: str | None = None
    approval_number: str | None = None
    trace_codes: list[str] = field(default_factory=list)

    def misses(self) -> list[Miss]:
        found = RESOLVER.resolve(
            gtin=self.gtin, approval_number=self.approval_number, trace_codes=self.trace_codes, name=self.name
        )
        return list(misses_of(self, found, nobody))


class TestAMiss:
    def test_is_a_code_that_no_list_knows_with_what_the_name_said(self) -> None:
        assert Line("布洛芬缓释胶囊", GTIN).misses() == [Miss(AliasKind.GTIN, GTIN, IBUPROFEN, resembles=False)]

    def test_is_a_name_that_means_no_listed_drug(self) -> None:
        assert Line("合成牌退烧灵 0.3g*20粒").misses() == [Miss(AliasKind.NAME, "合成牌退烧灵", None, resembles=False)]

    def test_is_marked_where_a_listed_name_stands_in_it(self) -> None:
        assert Line("布洛芬乳膏").misses() == [Miss(AliasKind.NAME, "布洛芬乳膏", None, resembles=True)]

    def test_is_the_product_part_of_trace_codes_once(self) -> None:
        codes = ["1234567" + f"{number:013d}" for number in range(3)]
        assert [(miss.kind, miss.value) for miss in Line("布洛芬片", trace_codes=codes).misses()] == [
            (AliasKind.TRACE, "1234567")
        ]

    def test_is_nothing_of_a_line_that_was_understood(self) -> None:
        assert Line("布洛芬片").misses() == []

    def test_is_never_a_code_that_is_not_one(self) -> None:
        assert Line("布洛芬片", "13800138000", "11010519491231002X", ["13800138000"]).misses() == []


class TestANotableName:
    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("合成牌退烧灵（儿童型） 10ml×6支", "合成牌退烧灵儿童型"),
            ("999合成灵", "999合成灵"),
            ("维生素AD滴剂", "维生素AD滴剂"),
            ("Synthetic Fever Relief", "SYNTHETICFEVERRELIEF"),
        ],
    )
    def test_is_the_product_without_its_pack(self, name: str, kept: str) -> None:
        assert notable_name(name, nobody) == kept

    @pytest.mark.parametrize(
        "name",
        [
            "合成灵 13800138000",
            "合成灵 138-0013-8000",
            "合成灵１３８００１３８０００",
            "合成灵一三八零零一三八",
            "11010519491231002X",
            "someone@example.org",
            "合成灵?送3栋#402",
            "药",
            "0.3g*20粒",
            "长" * 61,
        ],
    )
    def test_is_not_what_could_be_a_number_an_address_or_a_note(self, name: str) -> None:
        assert notable_name(name, nobody) is None

    @pytest.mark.parametrize("name", ["王小样", "王小样的退烧药", "王 小 样 退烧药"])
    def test_is_not_whom_the_purchase_concerns(self, name: str) -> None:
        assert notable_name(name, lambda text: tells_identity(text, BUYER)) is None

    @given(st.text(max_size=100))
    def test_is_short_and_holds_no_long_number(self, name: str) -> None:
        kept = notable_name(name, nobody)
        if kept is not None:
            assert 2 <= len(kept) <= MOST_CHARACTERS
            digits = 0
            for character in compact(kept):
                digits = digits + 1 if character in "0123456789" else 0
                assert digits < 6

    @given(st.text("布洛芬片合成灵 0123456789-x*g粒()", max_size=40))
    def test_means_the_same_once_it_is_an_alias(self, name: str) -> None:
        kept = notable_name(name, nobody)
        found = RESOLVER.resolve(name=name)
        if kept is not None and found.drug_id is None:
            taught = Resolver(
                [Entry(IBUPROFEN, parse_wording("布洛芬"), DrugKind.CHEMICAL)], [(IBUPROFEN, AliasKind.NAME, kept)]
            )
            assert taught.resolve(name=name).drug_id == IBUPROFEN
