import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalogue.vocabulary import FORM, Form, Route, form_of
from app.catalogue.wording import Wording, parse_wording, split_form
from tests.catalogue.shipped import rows


def form(word: str) -> Form:
    found = FORM.fullmatch(word)
    assert found is not None, word
    return form_of(found)


def forms(wording: Wording) -> list[tuple[str, list[str]]]:
    return [(one.family, sorted(one.modifiers)) for one in wording.forms]


class TestTheWordingOfAList:
    @pytest.mark.parametrize(
        ("text", "stem", "expected"),
        [
            ("连花清瘟胶囊(颗粒)", "连花清瘟", ["胶囊", "颗粒"]),
            ("连花清瘟胶囊（颗粒）", "连花清瘟", ["胶囊", "颗粒"]),
            ("连花清瘟胶囊/颗粒", "连花清瘟", ["胶囊", "颗粒"]),
            ("连花清瘟胶囊、颗粒", "连花清瘟", ["胶囊", "颗粒"]),
            ("小柴胡颗粒(片)", "小柴胡", ["颗粒", "片"]),
            ("蓝芩口服液", "蓝芩", ["口服液"]),
            ("安宫牛黄丸", "安宫牛黄", ["丸"]),
            ("阿咖酚散", "阿咖酚", ["散"]),
            ("十滴水", "十滴", ["水"]),
            ("和胃整肠丸", "和胃整肠", ["丸"]),
            ("藿香正气(口服液、水、软胶囊)", "藿香正气", ["口服液", "水", "胶囊"]),
            ("布洛芬", "布洛芬", []),
            ("磷酸奥司他韦", "磷酸奥司他韦", []),
        ],
    )
    def test_parts_name_and_forms(self, text: str, stem: str, expected: list[str]) -> None:
        wording = parse_wording(text)
        assert (wording.stem, [family for family, _ in forms(wording)]) == (stem, expected)
        assert not wording.unread

    @pytest.mark.parametrize(
        "text", ["(复方)感冒灵(所有口服剂型)", "【复方】感冒灵〔各种口服剂型〕", "(复方)感冒灵 口服制剂"]
    )
    def test_admits_the_compound_and_every_form_that_is_swallowed(self, text: str) -> None:
        wording = parse_wording(text)
        assert (wording.stem, wording.compound_too, wording.any_oral) == ("感冒灵", True, True)
        assert wording.admits(form("软胶囊"))
        assert not wording.admits(form("注射液"))
        assert not wording.admits(form("栓"))

    @pytest.mark.parametrize(
        "text",
        ["布洛芬(包含儿童剂型)", "布洛芬,包含儿童剂型", "布洛芬(所有口服剂型,含儿童剂型)", "布洛芬(包括小儿用药剂型)"],
    )
    def test_admits_children_where_it_says_so(self, text: str) -> None:
        assert parse_wording(text).children_too
        assert not parse_wording("布洛芬").children_too

    @pytest.mark.parametrize("text", ["抗生素", "抗生素类", "抗菌药物"])
    def test_names_a_class(self, text: str) -> None:
        assert parse_wording(text).drug_class == text

    def test_keeps_what_it_does_not_understand(self) -> None:
        assert parse_wording("对乙酰氨基酚(扑热息痛)").unread == ("扑热息痛",)

    @pytest.mark.parametrize("text", ["", "()", "(复方)", "片", "，", "(所有口服剂型)"])
    def test_is_refused_when_no_name_is_left(self, text: str) -> None:
        with pytest.raises(ValueError, match="name"):
            parse_wording(text)

    def test_is_understood_for_every_shipped_entry(self) -> None:
        assert [row["wording"] for row in rows() if parse_wording(row["wording"]).unread] == []

    @given(st.text(max_size=40))
    def test_is_read_or_refused_whatever_it_is(self, text: str) -> None:
        try:
            assert len(parse_wording(text).stem) >= 2
        except ValueError:
            return

    @given(st.sampled_from(sorted({row["wording"] for row in rows()})))
    def test_means_the_same_in_full_width(self, text: str) -> None:
        wide = "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)
        assert parse_wording(wide) == parse_wording(text) == parse_wording(f" {text} ")


class TestAForm:
    @pytest.mark.parametrize(
        ("listed", "other", "covered"),
        [
            ("片", "分散片", True),
            ("片", "薄膜衣片", True),
            ("缓释胶囊", "胶囊", False),
            ("缓释胶囊", "缓释胶囊", True),
            ("胶囊", "软胶囊", True),
            ("颗粒", "冲剂", True),
            ("颗粒", "片", False),
            ("丸", "水丸", True),
            ("丸", "大蜜丸", True),
            ("片", "阴道片", False),
            ("口服液", "口服溶液", True),
            ("口服液", "注射液", False),
        ],
    )
    def test_covers_what_is_a_kind_of_it(self, listed: str, other: str, covered: bool) -> None:
        assert form(listed).covers(form(other)) is covered

    @pytest.mark.parametrize(
        ("word", "route"),
        [
            ("缓释胶囊", Route.ORAL),
            ("栓", Route.RECTAL),
            ("气雾剂", Route.AIRWAY),
            ("吸入用溶液", Route.AIRWAY),
            ("粉针剂", Route.INJECTION),
            ("软膏", Route.TOPICAL),
            ("眼膏", Route.TOPICAL),
            ("外用溶液", Route.TOPICAL),
            ("煎膏", Route.ORAL),
        ],
    )
    def test_tells_its_route(self, word: str, route: Route) -> None:
        assert form(word).route is route

    def test_is_not_the_raw_herb(self) -> None:
        assert FORM.match("饮片") is None
        assert split_form("板蓝根饮") == ("板蓝根", form("饮"))
