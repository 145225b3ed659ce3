"""Synthetic names, phones and identity documents, and the many ways in which a till writes one and the same.

No number here can be a person's: resident numbers bear the sequence 000, which is never given out (GB 11643-1999 counts
from 001), mobiles the prefix 154, which no operator has. Check characters are right all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """The identity documents that a counter accepts."""

    RESIDENT_ID = "resident_id"
    PASSPORT = "passport"
    HK_MACAU_PERMIT = "hk_macau_permit"
    TAIWAN_PERMIT = "taiwan_permit"
    FOREIGNER_CARD = "foreigner_permanent_residence"
    INSURANCE_CARD = "medical_insurance_card"


@dataclass(frozen=True, slots=True)
class Paper:
    """One document of one resident; `also` holds other numbers that it truly bears (an old form, a renewed permit)."""

    owner: int
    kind: Kind
    number: str
    also: tuple[str, ...] = ()

    def is_same(self, other: "Paper | None") -> bool:
        """Tell whether both are the same document of the same person."""
        return other is not None and (self.owner, self.kind) == (other.owner, other.kind)


AREAS = (
    *("440304", "440303", "440305", "440306", "440309", "440823", "441581", "445281"),
    *("360121", "430426", "422802", "450881", "511502", "411326", "341221", "522601"),
)
"""Where residents of Shenzhen were first registered; 440309 is younger than many an area table."""

HONG_KONG_AREA = "810000"

_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖"
_STEMS = "甲乙丙丁戊己庚辛壬癸"
_BRANCHES = "子丑寅卯辰巳午未申酉戌亥"
_ALPHABET = (
    *(
        "Alpha",
        "Bravo",
        "Charlie",
        "Delta",
        "Echo",
        "Foxtrot",
        "Golf",
        "Hotel",
        "India",
        "Juliett",
        "Kilo",
        "Lima",
        "Mike",
    ),
    *(
        "November",
        "Oscar",
        "Papa",
        "Quebec",
        "Romeo",
        "Sierra",
        "Tango",
        "Uniform",
        "Victor",
        "Whiskey",
        "Yankee",
        "Zulu",
    ),
)


def check_character(first_17: str) -> str:
    """Return the last character of a resident number (ISO 7064 MOD 11-2)."""
    total = sum(int(digit) << (17 - place) for place, digit in enumerate(first_17))
    return "10X98765432"[total % 11]


def old_form(number: str) -> str:
    """Return the 15 digits that a resident number of somebody born in the twentieth century had before 1999."""
    return number[:6] + number[8:17]


class Registry:
    """Hands out names, phones and numbers, none of the numbers twice."""

    def __init__(self, rng: Random) -> None:
        """Draw from `rng`."""
        self._rng = rng
        self._births: set[tuple[str, date]] = set()
        self._lines = _shuffled(rng, 10**7)
        self._counts = _shuffled(rng, 10**6)

    def surname(self) -> str:
        """Return a family name; the common ones come first in the list and more often."""
        return _SURNAMES[min(self._rng.randrange(len(_SURNAMES)), self._rng.randrange(len(_SURNAMES)))]

    def name(self, surname: str) -> str:
        """Return a Chinese name: a surname and a year of the sexagenary cycle, sometimes a stem alone."""
        if self._rng.random() < 0.06:
            return surname + self._rng.choice(_STEMS)
        return surname + self._rng.choice(_STEMS) + self._rng.choice(_BRANCHES)

    def foreign_name(self) -> str:
        """Return a name out of the spelling alphabet."""
        first, last = self._rng.sample(_ALPHABET, 2)
        return f"{first} {last}"

    def mobile(self) -> str:
        """Return a mainland mobile number that nobody has."""
        return f"1540{next(self._lines):07d}"

    def hong_kong_mobile(self) -> str:
        """Return a number of Hong Kong, with its country code."""
        return f"+8525{next(self._lines):07d}"

    def resident_id(self, owner: int, born: date, area: str | None = None) -> Paper:
        """Return a resident identity card; who was born before 1985 may still show the 15 digits of old."""
        while True:
            place = area or self._rng.choice(AREAS)
            if (place, born) not in self._births:
                break
            born = date.fromordinal(born.toordinal() - 1)
        self._births.add((place, born))
        first_17 = f"{place}{born:%Y%m%d}000"
        number = first_17 + check_character(first_17)
        return Paper(owner, Kind.RESIDENT_ID, number, (old_form(number),) if 1900 <= born.year < 1985 else ())

    def insurance_card(self, owner: int) -> Paper:
        """Return a medical insurance card with a number of its own."""
        return Paper(owner, Kind.INSURANCE_CARD, f"SZ{next(self._counts):09d}")

    def passport(self, owner: int, letter: str = "E") -> Paper:
        """Return a passport."""
        return Paper(owner, Kind.PASSPORT, f"{letter}{next(self._counts):08d}")

    def hk_macau_permit(self, owner: int) -> Paper:
        """Return a permit; its old form counts renewals behind the nine characters for life."""
        number = f"{self._rng.choice('HHHM')}{next(self._counts):08d}"
        return Paper(owner, Kind.HK_MACAU_PERMIT, number, (number + "01", number + "02"))

    def taiwan_permit(self, owner: int) -> Paper:
        """Return a permit; its old form counts issues behind the eight digits for life."""
        number = f"{next(self._counts):08d}"
        return Paper(owner, Kind.TAIWAN_PERMIT, number, (number + "01", number + "02(B)"))

    def foreigner_card(self, owner: int, born: date) -> Paper:
        """Return a permanent residence card, of the form of 2023 or of the one before."""
        if self._rng.random() < 0.5:
            return Paper(owner, Kind.FOREIGNER_CARD, f"XXA{next(self._counts):012d}")
        first_17 = f"944124{born:%Y%m%d}{next(self._counts) % 1000:03d}"
        return Paper(owner, Kind.FOREIGNER_CARD, first_17 + check_character(first_17))


class Hand:
    """How a clerk writes: mostly plainly, now and then in another of the accepted ways."""

    def __init__(self, rng: Random, sloppiness: float = 0.2) -> None:
        """Draw from `rng`; `sloppiness` is the share of values that are not written plainly."""
        self._rng = rng
        self._sloppiness = sloppiness

    def name(self, name: str) -> str:
        """Return the name, sometimes with a wide space inside, in capitals, or in full width."""
        if self._plainly():
            return name
        if name.isascii():
            return self._rng.choice((name.upper(), name.lower(), _full_width(name), name.replace(" ", "  ")))
        return self._rng.choice((name[0] + "\u3000" + name[1:], name[0] + " " + name[1:], f" {name} "))

    def document(self, paper: Paper) -> str:
        """Return a number of the paper, sometimes an old one, in groups, in full width, or with a lower-case x."""
        number = paper.number
        if paper.also and self._rng.random() < self._sloppiness / 2:
            number = self._rng.choice(paper.also)
        if self._plainly():
            return number
        ways = [_full_width(number), f"{number[:6]} {number[6:]}", f"{number[:4]}-{number[4:]}"]
        if number.endswith("X"):
            ways = [number.lower(), number.lower(), *ways]
        return self._rng.choice(ways)

    def phone(self, phone: str) -> str:
        """Return the number, sometimes with a country code, in groups, or in full width."""
        if self._plainly():
            return phone
        if phone.startswith("+852"):
            return self._rng.choice((f"+852 {phone[4:8]} {phone[8:]}", f"00852-{phone[4:]}", f"852{phone[4:]}"))
        grouped = f"{phone[:3]} {phone[3:7]} {phone[7:]}"
        ways = (f"+86{phone}", f"+86 {grouped}", grouped, grouped.replace(" ", "-"), _full_width(phone), f"0086{phone}")
        return self._rng.choice(ways)

    def _plainly(self) -> bool:
        return self._rng.random() >= self._sloppiness


def _full_width(text: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in text)


def _shuffled(rng: Random, size: int) -> Iterator[int]:
    # Walks through every number below `size` once: the step has no factor in common with a power of ten.
    number, step = rng.randrange(size), 7_368_787 % size
    while True:
        number = (number + step) % size
        yield number
