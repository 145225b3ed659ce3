"""Which of the two languages of this service a caller would rather read."""

from enum import StrEnum
from functools import lru_cache

_MOST_READ = 500


class Language(StrEnum):
    """A language in which people are told what to do."""

    ZH = "zh"
    EN = "en"


@lru_cache(maxsize=256)
def preferred(accept_language: str | None, otherwise: Language = Language.ZH) -> Language:
    """Return the language that an `Accept-Language` field prefers (RFC 9110, 12.5.4); `otherwise` where it leaves the choice.

    >>> preferred("fr-CH, en;q=0.8, zh-CN;q=0.7").value
    'en'
    """
    weights: dict[str, float] = {}
    for part in (accept_language or "")[:_MOST_READ].split(","):
        tag, _, parameter = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(parameter)
        weights[primary] = max(weight, weights.get(primary, 0.0))
    anything = weights.get("*", 0.0)
    languages: tuple[Language, ...] = (otherwise, *Language)
    return max(languages, key=lambda language: weights.get(language.value, anything))


def said_in(language: Language) -> dict[str, str]:
    """Return the headers of an answer that is in a language."""
    return {"Content-Language": language.value, "Vary": "Accept-Language"}


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
