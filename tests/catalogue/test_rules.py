from datetime import date
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.catalogue.rules import (
    CodeInvalid,
    Entry,
    Resolution,
    Resolver,
    in_force,
    normal_alias,
    normal_approval,
    normal_gtin,
    normal_trace,
)
from app.catalogue.vocabulary import BRANDS, AliasKind, DrugKind
from app.catalogue.wording import parse_wording
from tests.catalogue.shipped import drug_id, entry, resolver, words

SHENZHEN = resolver("sz_plus2", "gd37")
GTIN = "6922097701513"
APPROVAL = "国药准字H20050000"
TRACE = "83512740000000000001"


def listed(name: str) -> str | None:
    return words(SHENZHEN.resolve(name=name).drug_id)


class TestAProductName:
    @pytest.mark.parametrize(
        "name",
        [
            "布洛芬",
            "布洛芬片",
            "布洛芬缓释胶囊",
            "布洛芬混悬液",
            "布洛芬混悬滴剂",
            "布洛芬口服混悬液",
            "小儿布洛芬栓",
            "布洛芬注射液",
            "布洛芬钠片",
            "芬必得 布洛芬缓释胶囊",
            "芬必得布洛芬缓释胶囊",
            "(芬必得)布洛芬缓释胶囊0.3g*20粒",
            "布洛芬缓释胶囊(芬必得)",
            "布洛芬(芬必得)缓释胶囊",
            "美林（布洛芬混悬液）100ml:2g",
            "【OTC】布洛芬缓释胶囊　0.3g×20粒/盒",
            "某某牌布洛芬片",
            "布洛芬 缓释胶囊",
        ],
    )
    def test_of_a_bare_substance_is_covered_in_its_forms(self, name: str) -> None:
        assert listed(name) == "布洛芬"

    @pytest.mark.parametrize(
        "name",
        [
            "布洛芬乳膏",
            "布洛芬凝胶",
            "右布洛芬胶囊",
            "右旋布洛芬口服混悬液",
            "精氨酸布洛芬颗粒",
            "精氨酸 布洛芬颗粒",
            "复方布洛芬片",
            "(复方)布洛芬片",
            "布洛芬伪麻黄碱片",
            "对乙酰氨基酚 布洛芬片",
            "不知名布洛芬片",
            "利巴韦林滴眼液",
            "感冒灵注射液",
            "小儿感冒灵颗粒",
            "感冒清热胶囊",
            "维C银翘颗粒",
            "连花清瘟片",
            "小柴胡汤丸",
            "加味小柴胡颗粒",
            "双黄连注射液",
            "注射用双黄连(冻干)",
            "双黄连栓",
            "双黄连滴眼剂",
            "板蓝根饮片",
            "板蓝根注射液",
            "抗病毒颗粒",
            "安乃近注射液",
            "复方羚羊角胶囊",
            "羚羊角",
            "痰热清注射液",
        ],
    )
    def test_of_another_drug_or_form_is_unlisted_but_said_to_resemble(self, name: str) -> None:
        assert SHENZHEN.resolve(name=name) == Resolution(None, None, ("resembles_listed",))

    @pytest.mark.parametrize(
        "name",
        [
            "布洛伪麻片",
            "感冒清胶囊",
            "小儿氨酚黄那敏颗粒",
            "氨酚葡锌片",
            "银翘解毒片",
            "仁和可立克复方氨酚烷胺胶囊",
            "连花清咳片",
            "安宫牛黄丸",
            "抗感冒颗粒",
            "风热感冒颗粒",
            "维生素C片",
            "医用外科口罩",
            "红霉素软膏",
            "左氧氟沙星滴眼液",
            "注射用丝裂霉素",
            "灰黄霉素片",
            "前列环素片",
            "-",
            "0.3g*20粒",
        ],
    )
    def test_that_holds_no_listed_name_is_simply_unlisted(self, name: str) -> None:
        assert SHENZHEN.resolve(name=name) == Resolution(None, None)

    @pytest.mark.parametrize(
        ("name", "wording"),
        [
            ("999感冒灵颗粒", "(复方)感冒灵(所有口服剂型)"),
            ("９９９感冒灵颗粒１０ｇ＊９袋", "(复方)感冒灵(所有口服剂型)"),
            ("999 感冒灵颗粒 10gX9袋", "(复方)感冒灵(所有口服剂型)"),
            ("三九感冒灵胶囊", "(复方)感冒灵(所有口服剂型)"),
            ("【999】复方感冒灵片", "(复方)感冒灵(所有口服剂型)"),
            ("(同仁堂)感冒清热颗粒", "感冒清热颗粒"),
            ("北京同仁堂感冒清热颗粒 12g*10袋", "感冒清热颗粒"),
            ("感冒清热颗粒(无糖型)", "感冒清热颗粒"),
            ("维C银翘片", "维C银翘片"),
            ("维生素C银翘片", "维C银翘片"),
            ("维C 银翘片", "维C银翘片"),
            ("复方银翘氨敏胶囊", "复方银翘氨敏胶囊"),
            ("连花清瘟颗粒", "连花清瘟胶囊(颗粒)"),
            ("以岭连花清瘟胶囊0.35g*24粒", "连花清瘟胶囊(颗粒)"),
            ("连花清瘟胶囊(颗粒)", "连花清瘟胶囊(颗粒)"),
            ("小柴胡泡腾片", "小柴胡颗粒(片)"),
            ("双黄连口服液(儿童型)", "双黄连(所有口服剂型)"),
            ("白云山复方板蓝根颗粒", "(复方)板蓝根(所有口服剂型)"),
            ("板蓝根含片", "(复方)板蓝根(所有口服剂型)"),
            ("清开灵滴丸", "清开灵(所有口服剂型)"),
            ("香雪抗病毒口服液10ml*10支", "抗病毒口服液"),
            ("达菲 磷酸奥司他韦胶囊", "磷酸奥司他韦"),
            ("奥司他韦颗粒", "磷酸奥司他韦"),
            ("利巴韦林气雾剂", "利巴韦林"),
            ("复方氨酚葡锌片", "复方氨酚葡锌"),
        ],
    )
    def test_resolves_to_its_entry(self, name: str, wording: str) -> None:
        found = SHENZHEN.resolve(name=name)
        assert (words(found.drug_id), found.by, found.warnings) == (wording, AliasKind.NAME, ())

    @pytest.mark.parametrize(
        "name",
        ["头孢克肟分散片", "阿莫西林克拉维酸钾片", "盐酸左氧氟沙星片", "阿奇霉素片", "多西环素片", "注射用头孢曲松钠"],
    )
    def test_of_a_listed_class_is_found_by_its_stem_and_says_so(self, name: str) -> None:
        found = SHENZHEN.resolve(name=name)
        assert (words(found.drug_id), found.warnings) == ("抗生素", ("class_by_stem",))
        assert resolver("gd37").resolve(name=name) == Resolution(None, None)

    def test_of_children_is_covered_where_the_list_says_so(self) -> None:
        children = Resolver([entry("清开灵(所有口服剂型,包含儿童剂型)", DrugKind.CHINESE_PATENT)])
        assert children.resolve(name="小儿清开灵颗粒").drug_id is not None
        assert SHENZHEN.resolve(name="小儿清开灵颗粒").drug_id is None

    def test_goes_to_the_entry_that_says_most(self) -> None:
        wordings = ["布洛芬", "布洛芬(所有口服剂型)", "布洛芬缓释胶囊", "复方感冒灵片", "(复方)感冒灵"]
        for entries in (wordings, wordings[::-1]):
            mixed = Resolver([entry(wording) for wording in entries])
            assert mixed.resolve(name="布洛芬缓释胶囊").drug_id == drug_id("布洛芬缓释胶囊")
            assert mixed.resolve(name="布洛芬片").drug_id == drug_id("布洛芬(所有口服剂型)")
            assert mixed.resolve(name="布洛芬栓").drug_id == drug_id("布洛芬")
            assert mixed.resolve(name="复方感冒灵片").drug_id == drug_id("复方感冒灵片")

    def test_of_a_foshan_tablet_needs_that_tablet(self) -> None:
        foshan = resolver("fs47_2025")
        assert words(foshan.resolve(name="洛索洛芬钠片").drug_id) == "洛索洛芬钠片"
        assert words(foshan.resolve(name="洛索洛芬片").drug_id) == "洛索洛芬钠片"
        assert foshan.resolve(name="塞来昔布胶囊") == Resolution(None, None, ("resembles_listed",))

    @given(st.text(max_size=60))
    def test_may_be_anything(self, name: str) -> None:
        found = SHENZHEN.resolve(name=name)
        assert (found.drug_id is None) == (found.by is None)

    @given(
        st.sampled_from(["布洛芬缓释胶囊", "感冒清热颗粒", "抗病毒口服液", "布洛芬乳膏", "维C银翘片", "小柴胡汤丸"]),
        st.sampled_from(BRANDS),
        st.sampled_from(["{b}{n}", "{b} {n}", "({b}){n}", "【{b}】{n}", "{n}({b})", "{b}牌{n}", "{n} {b}"]),
        st.sampled_from(["", "0.3g*20粒", " 10ml×10支/盒", " 0.125g:12片", "9袋装"]),
    )
    def test_means_the_same_with_a_brand_and_a_pack_around_it(self, name: str, brand: str, way: str, pack: str) -> None:
        assert listed(way.format(b=brand, n=name) + pack) == listed(name)

    @given(st.permutations([*("布洛芬", "利巴韦林", "清开灵(所有口服剂型)", "(复方)感冒灵", "抗生素")]))
    def test_does_not_depend_on_the_order_of_the_list(self, wordings: list[str]) -> None:
        shuffled = Resolver([entry(wording) for wording in wordings])
        assert shuffled.resolve(name="复方感冒灵颗粒").drug_id == drug_id("(复方)感冒灵")
        assert shuffled.resolve(name="头孢克肟").drug_id == drug_id("抗生素")


class TestALine:
    known = resolver(
        "gd37",
        aliases=(
            ("布洛芬", AliasKind.GTIN, GTIN),
            ("利巴韦林", AliasKind.APPROVAL, APPROVAL),
            ("感通片", AliasKind.TRACE, TRACE[:7]),
            ("四季感冒片", AliasKind.NAME, "感冒小药"),
            ("安乃近片", AliasKind.NAME, "布洛芬乳膏"),
        ),
    )

    def test_is_known_by_gtin_then_approval_then_trace_then_name(self) -> None:
        every = {"gtin": GTIN, "approval_number": APPROVAL, "trace_codes": [TRACE], "name": "感冒小药"}
        for field, wording, by in [
            ("gtin", "布洛芬", AliasKind.GTIN),
            ("approval_number", "利巴韦林", AliasKind.APPROVAL),
            ("trace_codes", "感通片", AliasKind.TRACE),
            ("name", "四季感冒片", AliasKind.NAME),
        ]:
            found = self.known.resolve(**every)  # type: ignore[arg-type]
            assert (words(found.drug_id), found.by) == (wording, by)
            del every[field]

    def test_goes_on_to_the_name_when_a_code_is_unknown_or_malformed(self) -> None:
        found = self.known.resolve(gtin="6901234567892", approval_number="H1", trace_codes=["1"], name="布洛芬片")
        assert words(found.drug_id) == "布洛芬"
        assert found.warnings == ("approval_number_invalid", "trace_code_invalid")
        assert found.unknown == (AliasKind.GTIN,)

    def test_believes_an_alias_rather_than_the_wording(self) -> None:
        assert words(self.known.resolve(name="布洛芬乳膏").drug_id) == "安乃近片"

    @pytest.mark.parametrize("pack", ["", " 10g*9袋", "10gX9袋", "（０．３ｇ×２０粒／盒）", " 100ml:2g"])
    def test_is_known_by_an_alias_whatever_the_pack(self, pack: str) -> None:
        assert words(self.known.resolve(name=f"感冒小药{pack}").drug_id) == "四季感冒片"

    def test_of_which_one_box_is_known_is_known(self) -> None:
        assert words(self.known.resolve(trace_codes=["9" * 20, TRACE]).drug_id) == "感通片"

    def test_without_anything_is_unlisted(self) -> None:
        assert self.known.resolve() == Resolution(None, None)

    def test_is_answered_the_same_however_often_it_is_asked(self) -> None:
        fresh = resolver("gd37")
        first = fresh.resolve(name="布洛芬片")
        assert fresh.resolve(name="布洛芬片") is first

    def test_alias_of_an_entry_that_is_not_in_force_is_ignored(self) -> None:
        one = entry("布洛芬")
        assert Resolver([one], [(uuid4(), AliasKind.GTIN, GTIN)]).resolve(gtin=GTIN).drug_id is None

    def test_alias_of_two_entries_means_the_preferred_one(self) -> None:
        first, second = (Entry(uuid4(), parse_wording("布洛芬"), DrugKind.CHEMICAL) for _ in range(2))
        for order in (1, -1):
            aliases = [(one.id, AliasKind.GTIN, GTIN) for one in (first, second)][::order]
            assert Resolver([first, second], aliases).resolve(gtin=GTIN).drug_id == first.id


class TestACode:
    @pytest.mark.parametrize("code", [GTIN, f"0{GTIN}", "６９２２０９７７０１５１３", "692-2097-701513", f" {GTIN} "])
    def test_is_a_gtin_in_any_usual_writing(self, code: str) -> None:
        assert normal_gtin(code) == GTIN

    @pytest.mark.parametrize(
        "code", ["", "692209770151", "6922097701514", "4006381333931", "7001234567893", f"1{GTIN}"]
    )
    def test_is_no_gtin_with_a_wrong_digit_length_or_prefix(self, code: str) -> None:
        with pytest.raises(CodeInvalid):
            normal_gtin(code)

    @given(st.integers(69_000_000_0000, 69_999_999_9999).map(str), st.integers(1, 9), st.integers(2, 12))
    def test_with_one_wrong_digit_is_never_a_gtin(self, body: str, change: int, place: int) -> None:
        check = -sum(int(digit) * (3 if position % 2 else 1) for position, digit in enumerate(body)) % 10
        good = f"{body}{check}"
        assert normal_gtin(good) == good
        bad = good[:place] + str((int(good[place]) + change) % 10) + good[place + 1 :]
        with pytest.raises(CodeInvalid):
            normal_gtin(bad)

    @pytest.mark.parametrize("code", [APPROVAL, "国药准字 h20050000", "H20050000", "国药准字Ｈ２００５００００"])
    def test_is_an_approval_number_in_any_usual_writing(self, code: str) -> None:
        assert normal_approval(code) == APPROVAL

    @pytest.mark.parametrize(
        "code", ["", "国药准字X20050000", "国药准字H2005000", "国药准字H200500001", "国食健字G20050000"]
    )
    def test_is_no_approval_number_in_another_shape(self, code: str) -> None:
        with pytest.raises(CodeInvalid):
            normal_approval(code)

    def test_of_an_import_has_two_letters(self) -> None:
        assert normal_approval("国药准字HJ20160001") == "国药准字HJ20160001"

    def test_of_a_box_tells_the_product_in_seven_characters(self) -> None:
        assert normal_trace(TRACE) == "8351274"
        assert normal_alias(AliasKind.TRACE, "8351274") == normal_alias(AliasKind.TRACE, TRACE) == "8351274"
        for code in ("", TRACE[:-1], TRACE + "0", "8351274-000000000001"):
            with pytest.raises(CodeInvalid):
                normal_trace(code)

    @given(st.sampled_from(AliasKind), st.text(max_size=30))
    @example(AliasKind.NAME, "A´")
    def test_once_normal_stays_as_it_is(self, kind: AliasKind, value: str) -> None:
        try:
            once = normal_alias(kind, value)
        except CodeInvalid:
            return
        assert normal_alias(kind, once) == once


class TestAPeriod:
    @pytest.mark.parametrize(
        ("division", "day", "holds"),
        [
            ("440304005", date(2022, 1, 1), True),
            ("4403", date(2022, 12, 30), True),
            ("44", date(2022, 6, 1), False),
            ("440106", date(2022, 6, 1), False),
            ("440304", date(2021, 12, 31), False),
            ("440304", date(2022, 12, 31), False),
        ],
    )
    def test_begins_on_its_first_day_and_ends_before_its_last(self, division: str, day: date, holds: bool) -> None:
        assert in_force(division, day, "4403", date(2022, 1, 1), date(2022, 12, 31)) is holds
