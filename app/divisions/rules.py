"""What a division's code says about itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How large a division is."""

    PROVINCE = "province"
    CITY = "city"
    COUNTY = "county"
    STREET = "street"
    COMMUNITY = "community"


# GB/T 2260 gives two digits each to province, city and county; GB/T 10114 and the statistics bureau three each below.
LEVELS = {2: Level.PROVINCE, 4: Level.CITY, 6: Level.COUNTY, 9: Level.STREET, 12: Level.COMMUNITY}
_PARENT_LENGTH = {4: 2, 6: 4, 9: 6, 12: 9}


def is_wellformed(code: str) -> bool:
    """Say whether a text has the shape of a division's code.

    Codes padded with zeros to a fixed width (`440304000000` for a county, `4400` for a province) are not well-formed:
    one division would go by two names. County codes that end in `00` are the exception that the statistics codes make
    for cities without counties (441900 Dongguan).

    >>> is_wellformed("440304005"), is_wellformed("440304000000"), is_wellformed("441900"), is_wellformed("44030")
    (True, False, True, False)
    """
    if len(code) not in LEVELS or not (code.isascii() and code.isdigit()) or code[:2] == "00":
        return False
    match len(code):
        case 4:
            return not code.endswith("00")
        case 9 | 12:
            return not code.endswith("000")
        case _:
            return True


def level_of(code: str) -> Level:
    """Return the level of a code.

    Raises:
        ValueError: the code has none of the five lengths.
    """
    try:
        return LEVELS[len(code)]
    except KeyError:
        raise ValueError("a division code has 2, 4, 6, 9 or 12 digits") from None


def parent_of(code: str) -> str | None:
    """Return the code of the division next above, None for a province.

    >>> parent_of("440304005"), parent_of("44")
    ('440304', None)
    """
    length = _PARENT_LENGTH.get(len(code))
    return None if length is None else code[:length]


def ancestors(code: str) -> tuple[str, ...]:
    """Return the code itself and every division above it, narrowest first.

    >>> ancestors("440304005")
    ('440304005', '440304', '4403', '44')
    """
    return tuple(code[:length] for length in (12, 9, 6, 4, 2) if length <= len(code))


def within(code: str, scope: str | None) -> bool:
    """Say whether a division is the scope or lies below it; a scope of None is the whole country."""
    return scope is None or code.startswith(scope)


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """All divisions by code, in memory."""

    names: Mapping[str, str]

    def known(self, code: str) -> bool:
        """Say whether there is a division with this code."""
        return code in self.names

    def name_of(self, code: str) -> str | None:
        """Return the division's own name, None if it is unknown."""
        return self.names.get(code)
