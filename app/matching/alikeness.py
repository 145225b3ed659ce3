"""When two different names are alike: in sound, as a homophone typed at a counter is, or in shape, as a character misread is.

Sound is Hanyu Pinyin (GB/T 16159) without tones. A character of a given name may be read in each of its ways; a surname is
read as surnames are (单 is Shan, 仇 is Qiu). Letters stand for themselves, without marks, case, hyphens and apostrophes, and
their words may be turned round: Wang Xiaoming, XIAOMING WANG and 王小明 sound alike, and so do Jose Garcia and GARCÍA, José.
Traditional and simplified forms of a name are read the same. Readings are those of the library pypinyin.

Shape is a table of characters that are taken for each other when a hand or a screen is read (形近字), compiled by hand from
characters that stand in names. Its groups have no character in common, so being taken for each other goes from hand to hand.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import product

# Surnames whose reading is, or may be thought, another than the character's usual one (Xinhua Dictionary); all others are read in
# their usual way.
_SURNAMES = {
    surname: reading
    for reading, surnames in {
        "shan": "单單",
        "qiu": "仇",
        "xie": "解",
        "zeng": "曾",
        "zha": "查",
        "ren": "任",
        "ou": "区區",
        "piao": "朴",
        "zhai": "翟祭",
        "ge": "盖蓋葛",
        "miao": "缪繆",
        "qin": "覃",
        "chong": "种種重",
        "yun": "员員贠",
        "wei": "尉",
        "xian": "冼洗鲜",
        "bi": "秘",
        "she": "折",
        "he": "黑",
        "po": "繁",
        "shao": "召",
        "hua": "华華",
        "ji": "纪紀",
        "ying": "应應",
        "na": "那",
        "qu": "瞿曲",
        "zang": "臧藏",
        "sa": "撒",
        "yao": "么",
        "chao": "晁",
        "du": "都",
        "che": "车車",
        "sheng": "盛",
        "shi": "石",
        "shen": "沈",
        "ha": "哈",
        "nai": "能",
        "xiang": "相",
        "guo": "过過",
        "chang": "长",
        "yan": "燕",
        "su": "宿",
        "bai": "柏",
        "bo": "薄",
        "ye": "叶",
        "bu": "卜",
        "wan": "万",
        "jia": "贾賈",
        "nian": "粘",
        "qiang": "强",
    }.items()
    for surname in surnames
}
_COMPOUND_SURNAMES = {
    "尉迟": ("yu", "chi"),
    "尉遲": ("yu", "chi"),
    "万俟": ("mo", "qi"),
    "单于": ("chan", "yu"),
    "單于": ("chan", "yu"),
    "长孙": ("zhang", "sun"),
    "長孫": ("zhang", "sun"),
    "澹台": ("tan", "tai"),
    "澹臺": ("tan", "tai"),
    "令狐": ("ling", "hu"),
    "乐正": ("yue", "zheng"),
    "呼延": ("hu", "yan"),
    "夏侯": ("xia", "hou"),
    "皇甫": ("huang", "fu"),
    "宰父": ("zai", "fu"),
    "亓官": ("qi", "guan"),
    "鲜于": ("xian", "yu"),
    "鮮于": ("xian", "yu"),
}

_TABLE = """
己已巳 未末 土士 日曰 千干 夭天 大太 人入 儿几 午牛 贝见 乌鸟 今令 户尸 王玉 田由甲申 目且 白自
右石 仑仓 化华 代伐 住往 佳隹 侯候 俊峻骏竣 伟炜玮 冷泠 冰氷 刘浏 搏博 卓桌 历厉 吕侣 名铭 坤坩
垠恨 娜挪 娟捐绢 婷停亭 捷婕 燕嬿 子孑 李季 宇字 宏宠 宛苑 官宫 岚风 崇祟 锋峰烽 市币 帅师 平乎
延廷 张弦 彬杉 徐涂 徽微薇 治怡冶 恬括 悦锐 慧惠 戌戍 扬杨 抒纾 拓柘 易昜 昊吴 昌晶 晓哓骁 晖辉
晴睛清 知智 暄喧 曼蔓 木本术 杜社 烈列 淋琳 枫讽 柳卯 栩翊翌 桂挂 桐侗 烨桦 棋琪淇祺 榕蓉 樱缨 永水
汐夕 沁心 泽译择 洁浩 洋详 海诲 涵函 淑叔 淳醇 渊湘 滢莹萤 潇萧 澄橙 煜昱 瑜愉喻 瑞端 瑶摇遥 璇旋
璐路露 瑾谨 禄绿 科料 程逞 筠均钧 纯钝 绍韶 维唯惟 绮倚 耀曜 肖尚 舒予 芬芳 苏办 茂茜 莉荔 莲连
菁青静 萍苹 蓝篮 蕾雷 诗待 诚城 谢射 谭潭 贤坚 起赶 辛幸 迪油 郁都 郭敦 钟种 锦绵棉 陈阵 阳阴 陶淘
雄难 雅稚 霖霜 韦苇 项顷 顺须 颖颍 馨声 呜鸣 朋明 藜黎 龙尤 佟冬 邱丘 彦颜 宾滨 尹伊 仉仇 兰三
韩翰 孟盂 戴载 崔催 董重 夏复 范笵 邹皱 任仕 姚桃
"""

LOOK_ALIKES = tuple(_TABLE.split())
"""Groups of characters that are taken for each other. Traditional forms need no place here: they sound the same."""
_SKELETON = {ord(character): group[0] for group in LOOK_ALIKES for character in group}

_LONGEST_WITH_ALL_READINGS = 4
"""Characters. A longer name is a transcription, whose characters are read in their usual way."""
_MOST_READINGS = 4
"""Of one character."""


def sound_alike(one: str, other: str) -> bool:
    """Say whether two names, as they are compared, sound alike. A name that has no sound is like no other."""
    mine, theirs = _syllables(one), _syllables(other)
    if mine is not None and theirs is not None:
        return bool(mine) and len(mine) == len(theirs) and all(map(_meet, mine, theirs))
    return not sounds(one).isdisjoint(sounds(other))


def look_alike(one: str, other: str) -> bool:
    """Say whether two names, as they are compared, are the same but for characters that are taken for each other."""
    return shape(one) == shape(other)


def sounds(name: str) -> frozenset[str]:
    """Return all ways to write a name's sound in letters without spaces; names that sound alike have one in common."""
    syllables = _syllables(name)
    if syllables is not None:
        return frozenset(map("".join, product(*syllables))) if syllables else frozenset()
    words = _words(name)
    turned = (words, words[-1:] + words[:-1], words[1:] + words[:1], sorted(words))
    return frozenset(map("".join, turned)) - {""}


def shape(name: str) -> str:
    """Return a name with one character for all those that are taken for each other."""
    return name.translate(_SKELETON)


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return not set(one).isdisjoint(other)


def _syllables(name: str) -> list[tuple[str, ...]] | None:
    """Return the readings of each character of a name in Han characters; None of one that is not such."""
    characters = [character for character in name if character != "·"]
    readings = [_readings(character) for character in characters]
    if not all(readings):
        return None
    if len(characters) > _LONGEST_WITH_ALL_READINGS:
        return [ways[:1] for ways in readings]
    compound = _COMPOUND_SURNAMES.get(name[:2])
    if compound is not None and len(characters) > 2:
        return [*((way,) for way in compound), *readings[2:]]
    return [(_SURNAMES.get(name[0], readings[0][0]),), *readings[1:]] if readings else []


def _words(name: str) -> list[str]:
    """Return the words of a name in letters; Han characters among them as they are usually read."""
    spelt = "".join(f" {way[0]} " if (way := _readings(character)) else character for character in name)
    spelt = spelt.replace("ü", "v").replace("lyu", "lv").replace("nyu", "nv")
    return ["".join(_letters(word)) for word in spelt.replace("·", " ").replace(",", " ").split()]


def _letters(word: str) -> Iterator[str]:
    for character in unicodedata.normalize("NFKD", word.casefold()):
        if "a" <= character <= "z":
            yield character


@cache
def _readings(character: str) -> tuple[str, ...]:
    """Return the ways to read a Han character, the usual one first; none for any other."""
    if character.isascii():
        return ()
    from pypinyin import Style, pinyin  # a third of a second and 45 MB, in the worker alone

    ways = pinyin(character, style=Style.NORMAL, heteronym=True, errors="ignore")
    return tuple(ways[0][:_MOST_READINGS]) if ways else ()
