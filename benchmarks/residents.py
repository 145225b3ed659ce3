"""The residents of a synthetic city: names as common as they really are, households, twins, namesakes, people from elsewhere.

Nobody here exists. Resident numbers lie in areas that end in 99, which no county has; mobiles begin with 154, which no
operator has; passports with XX, which is no state. Shares are rounded from what the Ministry of Public Security (name report of 2021:
surnames), the census of 2020 (households) and obstetrics (twins) publish; given names follow a falling curve over common characters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import accumulate
from random import Random

from app.people.documents import DocumentType, check_character

_SURNAMES = (
    "王720李710张670刘520陈460杨310黄230赵220吴200周200徐150孙145马130朱125胡125郭115何110林110高100罗95郑90梁85谢75宋70唐70许65邓60"
    "韩60冯60曹58彭55曾55肖52田50董50潘48袁47蔡46蒋45余44于43杜42叶41程40魏39苏38吕37丁36任35卢34姚33沈32钟31姜30崔29谭28陆27"
    "范26汪25廖25石24金23韦22贾21夏20付20方20邹19熊19白18孟18秦17邱17侯17江16尹16薛16闫15雷15龙14黎14史13陶13贺12毛12郝12顾11"
    "龚11邵11万10覃10武10钱9戴9严9莫9孔8向8常8伍6俞6章6颜5萧3"
)
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英秀兰玉华建国梅春红志海燕文林玲小晓云辉鑫宇波婷慧佳雪欣浩子怡梓涵轩泽雨思嘉琪诗俊瑞豪博"
    "萍莉凤金龙飞鹏健斌凯亮东生成德福永清荣光祥新学庆忠义良才元安宁松柏山江河阳天星月青竹菊香珍珠美爱惠淑贞素巧凡然颖莹琳瑶璐蕾倩"
    "媛妍曼彤悦晨旭航睿哲翔皓昊宸铭逸诚毅恒立仁和彬利民中胜世广振根水火木秋冬冰峰岩石川"
)
_WESTERN = [
    "John",
    "Mary",
    "Peter",
    "Anna",
    "Paul",
    "Maria",
    "David",
    "Julia",
    "Daniel",
    "Laura",
    "Thomas",
    "Sofia",
    "Martin",
    "Elena",
    "Viktor",
    "Olga",
    "Ivan",
    "Irina",
    "Ahmed",
    "Fatima",
    "Omar",
    "Aisha",
    "Hiroshi",
    "Yuki",
    "Kenji",
    "Sakura",
    "Minh",
    "Linh",
    "Somchai",
    "Malee",
    "Arun",
    "Priya",
    "Raj",
    "Anita",
    "Carlos",
    "Lucia",
    "Pedro",
    "Ines",
    "Marco",
    "Giulia",
    "Pierre",
    "Claire",
    "Hans",
    "Greta",
]
_FAMILY = [
    "Smith",
    "Brown",
    "Miller",
    "Wilson",
    "Taylor",
    "Schmidt",
    "Weber",
    "Fischer",
    "Petrov",
    "Ivanov",
    "Sokolov",
    "Popov",
    "Hassan",
    "Ali",
    "Khan",
    "Rahman",
    "Tanaka",
    "Suzuki",
    "Sato",
    "Kim",
    "Park",
    "Nguyen",
    "Tran",
    "Pham",
    "Saetang",
    "Wongsa",
    "Sharma",
    "Patel",
    "Kumar",
    "Garcia",
    "Lopez",
    "Silva",
    "Costa",
    "Rossi",
    "Bianchi",
    "Dubois",
    "Martin",
    "Jansen",
    "Berg",
    "Novak",
]
_ROMANISED = [
    "Wei",
    "Jing",
    "Li",
    "Ming",
    "Hua",
    "Jun",
    "Yan",
    "Fang",
    "Lei",
    "Xin",
    "Ting",
    "Hao",
    "Jie",
    "Qiang",
    "Ying",
    "Lin",
    "Yu",
    "Mei",
    "Feng",
    "Tao",
]
_ROMANISED_FAMILY = [
    "Wong",
    "Chan",
    "Lee",
    "Cheung",
    "Lau",
    "Lam",
    "Ho",
    "Ng",
    "Leung",
    "Tan",
    "Lim",
    "Goh",
    "Teo",
    "Ong",
    "Koh",
    "Zhang",
    "Wang",
    "Chen",
    "Liu",
    "Yang",
]

_PROVINCES = (13, 14, 15, 21, 22, 23, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 51, 52, 53, 61, 62, 63, 64, 65)
AREAS = tuple(f"{province}{city:02d}99" for province in _PROVINCES for city in range(1, 13))
"""Where residents were first registered: as in a city that people have come to, numbers lie far apart."""
_HOUSEHOLDS = (0.25, 0.30, 0.22, 0.14, 0.09)
_TWINS = 0.012
_NAMESAKES = 0.004
_PASSPORT, _HK_MACAU, _TAIWAN = 0.010, 0.012, 0.003


@dataclass(slots=True)
class Resident:
    """Somebody, as they truly are. `numbers` are all numbers that the document has borne, the present one first."""

    name: str
    born: date
    kind: DocumentType
    numbers: tuple[str, ...]
    phone: str
    household: int
    division: str


@dataclass(slots=True)
class City:
    """Everybody, and who lives with whom: `households[h]` are places in `residents`."""

    residents: list[Resident] = field(default_factory=list)
    households: list[list[int]] = field(default_factory=list)


class _Weighted:
    """Draws from a list by weight, many times."""

    def __init__(self, values: Sequence[str], weights: Sequence[float]) -> None:
        self._values, self._sums = values, list(accumulate(weights))

    def draw(self, rng: Random) -> str:
        return rng.choices(self._values, cum_weights=self._sums)[0]


def _parsed(text: str) -> tuple[list[str], list[float]]:
    names: list[str] = []
    counts: list[str] = []
    for character in text:
        if character.isdigit():
            counts[-1] += character
        else:
            names.append(character)
            counts.append("")
    return names, [float(count) for count in counts]


_SURNAME = _Weighted(*_parsed(_SURNAMES))
_CHARACTER = _Weighted(_GIVEN, [1 / (place + 12) for place in range(len(_GIVEN))])


def scattered(rng: Random, size: int) -> Iterator[int]:
    """Walk through every number below `size`, a power of ten, once, in no visible order."""
    number, step = rng.randrange(size), 7_368_787 % size
    while True:
        number = (number + step) % size
        yield number


class _Founder:
    """Fills a city, household by household."""

    def __init__(self, rng: Random, divisions: Sequence[str]) -> None:
        self.city = City()
        self._rng = rng
        self._divisions = divisions
        self._lines = scattered(rng, 10**8)
        self._passports = scattered(rng, 10**7)
        self._permits = scattered(rng, 10**8)
        self._sequences: dict[tuple[str, date], int] = {}

    def household(self) -> None:
        """Add one household: two generations of a surname each, at times with twins, at times from elsewhere."""
        rng, city = self._rng, self.city
        number = len(city.households)
        city.households.append([])
        size = rng.choices((1, 2, 3, 4, 5), _HOUSEHOLDS)[0]
        division = rng.choice(self._divisions)
        chance = rng.random()
        if chance < _PASSPORT + _HK_MACAU + _TAIWAN:
            for _ in range(min(size, 2)):
                self._settle(self._from_elsewhere(chance), number, division)
            return
        surname, partner = _SURNAME.draw(rng), _SURNAME.draw(rng)
        area = rng.choice(AREAS)
        parents = min(size, 2)
        for place in range(parents):
            name = (surname if place == 0 else partner) + self._given()
            self._settle(self._resident(name, self._birth(1945, 1998), area), number, division)
        children = size - parents
        while children > 0:
            born = self._birth(1985, 2018)
            given = self._given()
            self._settle(self._resident(surname + given, born, area), number, division)
            children -= 1
            if children and rng.random() < _TWINS * 8:  # so that about one birth in eighty of all is of twins
                alike = given[0] + _CHARACTER.draw(rng) if len(given) == 2 else _CHARACTER.draw(rng)
                self._settle(self._resident(surname + alike, born, area), number, division)
                children -= 1

    def namesake(self) -> None:
        """Add somebody with another's name and birth date, and nothing else of theirs."""
        other = self._rng.choice(self.city.residents)
        if other.kind is not DocumentType.RESIDENT_ID:
            return
        self.city.households.append([])
        area = self._rng.choice(AREAS)
        entry = self._resident(other.name, other.born, area)
        self._settle(entry, len(self.city.households) - 1, self._rng.choice(self._divisions))

    def _settle(self, entry: tuple[str, date, DocumentType, tuple[str, ...]], household: int, division: str) -> None:
        phone = f"154{next(self._lines):08d}"
        self.city.households[household].append(len(self.city.residents))
        self.city.residents.append(Resident(*entry, phone, household, division))

    def _given(self) -> str:
        rng = self._rng
        if rng.random() < 0.14:
            return _CHARACTER.draw(rng)
        return _CHARACTER.draw(rng) + _CHARACTER.draw(rng)

    def _birth(self, first: int, last: int) -> date:
        begin = date(first, 1, 1)
        return begin + timedelta(days=self._rng.randrange((date(last, 12, 31) - begin).days))

    def _resident(self, name: str, born: date, area: str) -> tuple[str, date, DocumentType, tuple[str, ...]]:
        # Numbers of one place and day follow each other, so twins have neighbouring ones.
        sequence = self._sequences.get((area, born), self._rng.randrange(1, 300)) + 1
        self._sequences[area, born] = sequence
        first_17 = f"{area}{born:%Y%m%d}{sequence:03d}"
        number = first_17 + check_character(first_17)
        old = (number[:6] + number[8:17],) if born.year < 1985 else ()
        return name, born, DocumentType.RESIDENT_ID, (number, *old)

    def _from_elsewhere(self, chance: float) -> tuple[str, date, DocumentType, tuple[str, ...]]:
        rng = self._rng
        born = self._birth(1950, 2005)
        if chance < _PASSPORT:
            if rng.random() < 0.4:
                name = f"{rng.choice(_ROMANISED)} {rng.choice(_ROMANISED)} {rng.choice(_ROMANISED_FAMILY)}"
            else:
                name = f"{rng.choice(_WESTERN)} {rng.choice(_FAMILY)}"
            numbers = tuple(f"XX{next(self._passports):07d}" for _ in range(1 + (rng.random() < 0.1)))
            return name, born, DocumentType.PASSPORT, numbers
        name = _SURNAME.draw(rng) + self._given()
        if chance < _PASSPORT + _HK_MACAU:
            number = f"{rng.choice('HHHM')}{next(self._permits):08d}"
            return name, born, DocumentType.HK_MACAU_PERMIT, (number, f"{number}01", f"{number}02")
        number = f"{next(self._permits):08d}"
        return name, born, DocumentType.TAIWAN_PERMIT, (number, f"{number}01", f"{number}02(B)")


def found(size: int, divisions: Sequence[str], rng: Random) -> City:
    """Return a city of at least `size` residents who live in these divisions."""
    founder = _Founder(rng, divisions)
    while len(founder.city.residents) < size:
        founder.household()
        if rng.random() < _NAMESAKES * 2.5:  # a household has two and a half members
            founder.namesake()
    return founder.city
