"""What goes wrong between a person and a record: the mishaps of counters and case lists.

Lists of characters are this benchmark's own, made without looking at those that matching uses: a rule that is measured by its own
list finds everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from random import Random

from app.people.documents import DocumentType, check_character
from app.people.schemas import PersonIn
from benchmarks.residents import City, Resident

_HOMOPHONES = (
    "伟玮炜苇 芳方 娜纳 敏闽 静靖敬婧 丽莉利立 军君钧均 洋阳扬 勇永咏 艳燕彦雁 杰洁捷 娟涓 涛桃 明铭鸣 超 霞侠 平萍苹 刚钢 桂贵 英瑛鹰 秀绣 "
    "兰蓝岚 玉钰裕 华桦 建健剑 梅玫 春椿 红虹宏洪鸿 志智治 海 文雯闻 林琳霖 玲铃灵 小晓筱 云芸 辉晖慧惠 鑫欣新馨心 宇羽雨语 波 婷亭 佳嘉家 浩皓昊 "
    "子梓紫 怡宜 轩萱 思丝 琪奇祺 诗师 俊峻骏 瑞睿 博伯 凤奉 龙隆 飞菲 斌彬 亮 东冬 生胜升 成诚程 清青 荣容蓉 祥翔 月悦 香湘 珍真 美 颖影 莹盈 瑶遥 璐露 妍研 旭 "
    "航杭 哲喆 逸毅义 良梁 安 宁 山珊 江姜蒋 吴武伍 于余俞 徐许 严闫颜 付傅 张章 肖萧 程成 沈 何和 石 郑 周"
)
_ALIKE = (
    "侯候 治冶 晴睛 祥详 杨扬 陈阵 刘浏 未末 己已 土士 天夭 白百 思恩 宇字 海梅 玲珍 静净 军车 洋样 娟捐 桂柱 秀季 明朋 林材 芳芬 敏敬 波坡 冰水 泽择 涵函 豪毫 "
    "金全 鹏朋 斌武 永水 光先 良食 竹行 菊掬 珠殊 淑叔 莹萤 倩情 彤形 晨辰 哲誓 铭名 诚城 毅殴 恒桓 徐除 郭廓 何河 罗岁 宋宗 韩朝 曹曾 彭膨 董重 潘播 袁哀 田由 "
    "任仕 卢户 姚桃 沈沉 谭潭 汪注 熊能 薛辟 贺货 毛手 万方 覃潭 武式"
)
_TRADITIONAL = (
    "张張 刘劉 陈陳 杨楊 黄黃 赵趙 吴吳 孙孫 马馬 罗羅 郑鄭 谢謝 许許 邓鄧 韩韓 冯馮 卢盧 钟鐘 谭譚 陆陸 范範 韦韋 贾賈 邹鄒 闫閆 龙龍 贺賀 顾顧 龚龔 万萬 钱錢 严嚴 颜顏 萧蕭 叶葉 苏蘇 吕呂 "
    "伟偉 静靜 丽麗 强強 军軍 艳艷 杰傑 涛濤 刚剛 兰蘭 华華 国國 红紅 云雲 辉輝 轩軒 泽澤 诗詩 凤鳳 飞飛 鹏鵬 凯凱 东東 荣榮 学學 庆慶 义義 宁寧 阳陽 爱愛 贞貞 颖穎 莹瑩 悦悅 铭銘 诚誠 "
    "恒恆 广廣 冈岡 来來 业業 长長 乐樂 欢歡 双雙 维維 经經"
)


def _table(text: str) -> Mapping[str, str]:
    return {one: group.replace(one, "") for group in text.split() if len(group) > 1 for one in group}


HOMOPHONES = _table(_HOMOPHONES)
ALIKE = _table(_ALIKE)
TRADITIONAL = {pair[0]: pair[1] for pair in _TRADITIONAL.split()}


@dataclass(frozen=True, slots=True)
class Care:
    """How often each mishap befalls a record, as shares of all."""

    document_missing: float
    document_wrong: float
    """A slip in a number that nothing checks: a passport's, a permit's."""
    resident_wrong: float
    """Slips in a resident number that its check character lets pass: two at least, so they are rare."""
    document_old: float
    """An old number, or an old form of the number, is shown."""
    insurance_card: float
    """The insurance card that bears the resident number is shown instead."""
    name_wrong: float
    phone_missing: float
    phone_wrong: float
    phone_of_family: float


COUNTER = Care(0.06, 0.03, 0.001, 0.03, 0.02, 0.03, 0.04, 0.015, 0.10)
CASE_LIST = Care(0.08, 0.02, 0.0005, 0.01, 0.0, 0.02, 0.10, 0.01, 0.08)


def write(city: City, place: int, care: Care, rng: Random) -> PersonIn:
    """Return how a resident comes to stand in a record."""
    resident = city.residents[place]
    document = _document(resident, care, rng)
    person: dict[str, object] = {
        "name": _name(resident, rng) if rng.random() < care.name_wrong else _as_written(resident, rng),
        "phone": _phone(city, resident, care, rng),
        "address": {"division": resident.division, "line": f"Synthetic Garden {resident.household}"},
    }
    if document is None:
        person["document_missing_reason"] = "not carried"
    else:
        person["document"] = {"type": document[0].value, "number": document[1]}
    return PersonIn.model_validate(person)


def _document(resident: Resident, care: Care, rng: Random) -> tuple[DocumentType, str] | None:
    chance = rng.random()
    if chance < care.document_missing:
        return None
    chance -= care.document_missing
    wrong = care.resident_wrong if resident.kind is DocumentType.RESIDENT_ID else care.document_wrong
    if chance < wrong:
        return resident.kind, mistyped(resident.kind, resident.numbers[0], rng)
    chance -= wrong
    if chance < care.document_old:
        return resident.kind, rng.choice(resident.numbers)
    chance -= care.document_old
    if chance < care.insurance_card and resident.kind is DocumentType.RESIDENT_ID:
        return DocumentType.MEDICAL_INSURANCE_CARD, resident.numbers[0]
    return resident.kind, resident.numbers[0]


def mistyped(kind: DocumentType, number: str, rng: Random) -> str:
    """Return the number with a slip of the hand that no check notices."""
    if kind is not DocumentType.RESIDENT_ID:
        digits = [place for place, character in enumerate(number) if character.isdigit()]
        if rng.random() < 0.4:
            swaps = [p for p in digits[:-1] if number[p + 1].isdigit() and number[p] != number[p + 1]]
            if swaps:
                return _swapped(number, rng.choice(swaps))
        place = rng.choice(digits)
        return number[:place] + rng.choice([d for d in "0123456789" if d != number[place]]) + number[place + 1 :]
    # One slip, and a last character that goes with it: such is what is typed again until the till takes it.
    head = number[:17]
    while True:
        place = rng.randrange(14, 17) if rng.random() < 0.6 else rng.choice((9, 11, 13))
        slipped = (
            _swapped(head, 14 + rng.randrange(2))
            if rng.random() < 0.4
            else head[:place] + rng.choice("0123456789") + head[place + 1 :]
        )
        if slipped != head and _is_day(slipped[6:14]):
            return slipped + check_character(slipped)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).year <= 2018
    except ValueError:
        return False


def _swapped(text: str, place: int) -> str:
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _as_written(resident: Resident, rng: Random) -> str:
    if resident.name.isascii() and rng.random() < 0.3:
        first, _, family = resident.name.rpartition(" ")
        return f"{family.upper()} {first}" if rng.random() < 0.5 else resident.name.upper()
    if resident.kind in (DocumentType.HK_MACAU_PERMIT, DocumentType.TAIWAN_PERMIT) and rng.random() < 0.3:
        return "".join(TRADITIONAL.get(character, character) for character in resident.name)
    return resident.name


def _name(resident: Resident, rng: Random) -> str:
    """Return the name with one character of the same sound, of like shape, or in the other script."""
    name = resident.name
    if name.isascii():
        place = rng.randrange(1, len(name) - 1)
        return name[:place] + name[place + 1 :]
    table: Sequence[Mapping[str, str]] = (HOMOPHONES, ALIKE, TRADITIONAL)
    order = rng.choices(table, (5, 2, 3))[0]
    for characters in (order, *table):
        places = [place for place, character in enumerate(name) if characters.get(character)]
        if places:
            place = rng.choice(places)
            return name[:place] + rng.choice(characters[name[place]]) + name[place + 1 :]
    return name


def _phone(city: City, resident: Resident, care: Care, rng: Random) -> str | None:
    chance = rng.random()
    if chance < care.phone_missing:
        return None
    chance -= care.phone_missing
    phone = resident.phone
    if chance < care.phone_wrong:
        place = rng.randrange(4, 11)
        return phone[:place] + rng.choice("0123456789") + phone[place + 1 :]
    chance -= care.phone_wrong
    is_child = resident.born.year > 2008
    if is_child or chance < care.phone_of_family:
        # The family's phone: that of whoever was entered first.
        return city.residents[city.households[resident.household][0]].phone
    return phone
