"""Words that drug lists and product names are made of.

Forms are those of the general chapter on preparations of the Chinese Pharmacopoeia, with the short names that tills use. Salts
and class stems follow the Chinese Approved Drug Names (CADN), which render the stems of WHO's international names.
Trade marks are a choice: well-known houses and brands. One too few costs an alias, one too many nothing, because the
listed name must still follow.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class DrugKind(StrEnum):
    """What a listed drug is."""

    CHINESE_PATENT = "chinese_patent"
    CHEMICAL = "chemical"


class AliasKind(StrEnum):
    """By what a product can be known; also by what a line was resolved."""

    GTIN = "gtin"
    APPROVAL = "approval"
    TRACE = "trace"
    NAME = "name"


class Route(StrEnum):
    """How a preparation enters the body, as far as lists care."""

    ORAL = "oral"
    RECTAL = "rectal"
    AIRWAY = "airway"
    INJECTION = "injection"
    TOPICAL = "topical"


# Base word → (family, route). Words of one family are one form under several names.
_ORAL = {
    "片": "片剂 片",
    "胶囊": "胶囊剂 胶囊 胶丸",
    "颗粒": "颗粒剂 颗粒 冲剂",
    "口服液": "口服溶液剂 口服溶液 口服液",
    "混悬": "混悬滴剂 混悬液 混悬剂",
    "合剂": "合剂",
    "糖浆": "糖浆剂 糖浆",
    "滴剂": "滴剂",
    "丸": "丸剂 丸",
    "散": "散剂 散",
    "茶": "袋泡茶 茶剂 茶 饮",
    "煎膏": "煎膏剂 煎膏 膏滋 膏",
    "乳剂": "乳剂",
    "溶液": "溶液剂 溶液",
    "露": "露剂 露",
    "水": "水",
    "酒": "酒剂 酒",
}
_OTHER = {
    Route.RECTAL: "栓剂 栓 灌肠剂 灌肠液",
    Route.AIRWAY: "气雾剂 喷雾剂 喷剂 吸入剂 粉雾剂 雾化液 滴鼻液 滴鼻剂 鼻用喷雾剂",
    Route.INJECTION: "注射液 注射剂 粉针剂 粉针 水针 针剂 针",
    Route.TOPICAL: "滴眼液 滴眼剂 眼膏 眼用凝胶 滴耳液 滴耳剂 凝胶剂 凝胶 乳膏剂 乳膏 软膏剂 软膏 贴膏 贴剂 贴 "
    "搽剂 洗剂 酊剂 酊 洗液 膏药 橡胶膏",
}
BASES: dict[str, tuple[str, Route]] = {
    **{word: (family, Route.ORAL) for family, words in _ORAL.items() for word in words.split()},
    **{word: (word.rstrip("剂液"), route) for route, words in _OTHER.items() for word in words.split()},
}

# What narrows a form. A modifier in _ROUTES changes the route as well.
_MODIFIER_WORDS = """
口腔崩解 双层 缓释 控释 肠溶 分散 泡腾 咀嚼 口崩 速溶 速释 双释 薄膜衣 薄膜 糖衣 含化 口含 含 软 硬 滴 浓缩
水蜜 大蜜 小蜜 水 蜜 干 口服 混悬 无蔗糖 无糖 低糖 冻干
吸入用 吸入 雾化 鼻用 直肠 阴道 外用 眼用 皮肤
"""
_MODIFIERS = _MODIFIER_WORDS.split()
_ROUTES = {
    "直肠": Route.RECTAL,
    "吸入用": Route.AIRWAY,
    "吸入": Route.AIRWAY,
    "雾化": Route.AIRWAY,
    "鼻用": Route.AIRWAY,
    "阴道": Route.TOPICAL,
    "外用": Route.TOPICAL,
    "眼用": Route.TOPICAL,
    "皮肤": Route.TOPICAL,
}


def _either(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


# 饮片 is the raw herb and no preparation; 水丸 is a pill.
FORM = re.compile(rf"((?:{_either(_MODIFIERS)})*?)({_either(BASES)})(?<!饮(?=片))(?<!水(?=[丸蜜]))")
_MODIFIER = re.compile(_either(_MODIFIERS))


@dataclass(frozen=True, slots=True)
class Form:
    """A pharmaceutical form: its family (`片`), what narrows it (`缓释`) and its route."""

    family: str
    modifiers: frozenset[str]
    route: Route

    def covers(self, other: "Form") -> bool:
        """Say whether a list that names this form means the other one too: `片` means `分散片`, not the reverse."""
        return self.family == other.family and self.route is other.route and self.modifiers <= other.modifiers


def form_of(match: re.Match[str]) -> Form:
    """Return the form that `FORM` has found."""
    family, route = BASES[match[2]]
    modifiers = frozenset(_MODIFIER.findall(match[1]))
    for modifier in modifiers & _ROUTES.keys():
        route = _ROUTES[modifier]
    return Form(family, modifiers, route)


CHILDREN = ("婴幼儿", "小儿", "儿童", "婴儿", "幼儿", "宝宝")

# Acids and bases that make a salt of a substance without making another drug of it. Amino acids are not among them: their
# salts (精氨酸布洛芬) have approved names of their own.
SALTS_BEFORE = (
    "盐酸",
    "硫酸",
    "磷酸",
    "马来酸",
    "枸橼酸",
    "酒石酸",
    "富马酸",
    "琥珀酸",
    "氢溴酸",
    "醋酸",
    "甲磺酸",
    "苯磺酸",
    "乳酸",
    "硝酸",
)
SALTS_AFTER = ("钠", "钾", "钙", "镁")

# In front of a listed name these make another drug of it, even when a space stands between.
OTHER_DRUG = re.compile(r"(复方|新复方|右旋|左旋|消旋|右|左|加味|速效|强力|[酸酚碱胺素钠钾嗪唑啶酮醇酯])$")

MAKERS = re.compile(r"(牌|堂|药业|制药|医药|集团)$")
_BRAND_WORDS = """
三九 999 同仁堂 白云山 以岭 香雪 云南白药 仁和 修正 葵花 太极 哈药 华润 江中 九芝堂 康恩贝 扬子江 石药 神威 天士力
步长 济川 康缘 正大天晴 正大青春宝 东阳光 奇星 和记黄埔 中一 星群 敬修堂 潘高寿 王老吉 陈李济 众生 罗浮山 一力 海王
贵州百灵 百灵鸟 百灵 葫芦娃 双鹤 联邦 悦康 齐鲁 鲁南 瑞阳 科伦 恒瑞 豪森 罗氏 辉瑞 拜耳 强生 中美史克 史克 上药 广药
国药 华北 亚宝 新华
芬必得 美林 恬倩 托恩 安瑞克 可威 达菲 快克 小快克 泰诺林 泰诺 百服宁 新康泰克 康泰克 感康 护彤 优卡丹 好娃娃 可立克
散利痛 阿莫仙 阿莫灵 希刻劳 世福素 达力新 再林 西力欣 可乐必妥 希舒美 西乐葆 乐松
"""
BRANDS = tuple(sorted(_BRAND_WORDS.split(), key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class DrugClass:
    """A class that a list may name in place of drugs: stems that its members' names hold, and names that only look so."""

    stems: re.Pattern[str]
    exceptions: re.Pattern[str]


# Stems: cef- 头孢, -cillin 西林, -mycin/-micin 霉素, -cycline 环素, -penem 培南, -oxacin 沙星. The last are synthetic, but WHO's
# AWaRe classification of antibiotics counts them, and so do we (a choice). Exceptions: cytostatics, antifungals,
# prostacyclins and vials.
_ANTIBIOTICS = DrugClass(
    stems=re.compile("头孢|西林|霉素|环素|培南|沙星"),
    exceptions=re.compile(
        "博来霉素|平阳霉素|丝裂霉素|柔红霉素|阿霉素|普卡霉素|光辉霉素|链佐霉素|链脲霉素|制霉素|灰黄霉素|两性霉素|那他霉素|纳他霉素|前列环素|西林瓶"
    ),
)
CLASSES = dict.fromkeys(("抗生素", "抗生素类", "抗生素类药物", "抗菌药", "抗菌药物"), _ANTIBIOTICS)
