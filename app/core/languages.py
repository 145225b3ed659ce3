"""Which of the two languages of this service a caller would rather read, and how what was written in one is said in the other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from app.core.errors import FieldError

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


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """What refusals are called in another language than English.

    `titles` by the code of an error, `fields` by the code of a field, `details` by the English sentence. In a pattern `{}` stands for
    what is different each time, and comes again in its translation; a field's message is given with one where it carries figures.
    What is not in the book stays as it was written.
    """

    titles: Mapping[str, str]
    fields: Mapping[str, str | tuple[str, str]]
    details: Mapping[str, str]

    def problem(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return problem details as they are told in this language: title, detail, and the messages of fields."""
        said = {**told, "title": self.titles.get(told["code"], told["title"])}
        if "detail" in told:
            said["detail"] = self.detail(told["detail"])
        if "errors" in told:
            said["errors"] = [{**one, "detail": self.message(one["code"], one["detail"])} for one in told["errors"]]
        return said

    def messages(self, told: Sequence[FieldError]) -> list[FieldError]:
        """Return what is told of fields in this language."""
        return [FieldError(one.pointer, one.code, self.message(one.code, one.detail)) for one in told]

    def detail(self, sentence: str) -> str:
        """Return what an error says beside its title."""
        if sentence in self.details:
            return self.details[sentence]
        found = (_carried_over(sentence, *pattern) for pattern in self.details.items() if "{}" in pattern[0])
        return next((said for said in found if said is not None), sentence)

    def message(self, code: str, sentence: str) -> str:
        """Return what is said of a field, or of a row that an error of its own has refused."""
        known = self.fields.get(code) or self.titles.get(code, sentence)
        return known if isinstance(known, str) else _carried_over(sentence, *known) or sentence


def _carried_over(sentence: str, pattern: str, translation: str) -> str | None:
    found = _matcher(pattern).fullmatch(sentence)
    return None if found is None else translation.format(*(part.replace(" or ", " 或 ") for part in found.groups()))


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(map(re.escape, pattern.split("{}"))), re.DOTALL)


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
