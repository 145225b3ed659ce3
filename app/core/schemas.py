"""The grammar of bodies: strict objects, text that a database and a person can hold."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

# Control characters (among them NUL, which PostgreSQL cannot store) and lone surrogates are nobody's name.
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"


def _sane_year(value: Any) -> Any:
    if not 1900 <= value.year <= 2200:
        raise PydanticCustomError("time_out_of_range", "The year must lie between 1900 and 2200")
    return value


_WRITTEN_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _written_as_instant(value: Any) -> Any:
    # Pydantic would read 1771119667 as seconds since 1970, and a day without a time as its midnight.
    if isinstance(value, datetime) or (isinstance(value, str) and _WRITTEN_INSTANT.fullmatch(value)):
        return value
    raise PydanticCustomError("time_format", "A time is written as 2026-02-15T09:41:07+08:00")


Instant = Annotated[AwareDatetime, BeforeValidator(_written_as_instant), AfterValidator(_sane_year)]
"""RFC 3339 with an offset, between the years 1900 and 2200."""


def _sane_in_utc(value: datetime) -> datetime:
    sane: datetime = _sane_year(value)
    return sane.astimezone(UTC)


UtcInstant = Annotated[AwareDatetime, BeforeValidator(_written_as_instant), AfterValidator(_sane_in_utc)]
"""The same, in UTC: who sends another offset of the same instant sends the same."""

_WRITTEN_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _written_as_day(value: Any) -> Any:
    # Pydantic would read 20260101 as seconds since 1970, and so as a day in August of that year.
    if isinstance(value, date) or (isinstance(value, str) and _WRITTEN_DAY.fullmatch(value)):
        return value
    raise PydanticCustomError("date_format", "A day is written as 2026-02-15")


Day = Annotated[date, BeforeValidator(_written_as_day), AfterValidator(_sane_year)]
"""A calendar day in China as YYYY-MM-DD, between the years 1900 and 2200."""

ShortText = Annotated[str, StringConstraints(max_length=100, pattern=_PRINTABLE)]
"""Up to 100 characters without control characters."""

LongText = Annotated[str, StringConstraints(max_length=500, pattern=_PRINTABLE)]
"""Up to 500 characters without control characters."""

Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PRINTABLE, strip_whitespace=True)]
"""1 to 100 characters without control characters: a name or title that must be there."""

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_PRINTABLE, strip_whitespace=True)]
"""1 to 500 characters: why an official or epidemiologist did something."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
"""A lower-case code such as a disease, a question or an answer; never free text."""

DivisionCode = Annotated[str, StringConstraints(pattern=r"^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$")]
"""A division code (GB/T 2260 and the statistics codes below it): 2, 4, 6, 9 or 12 digits."""


class Model(BaseModel):
    """What we hear: unknown members are refused, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(Model):
    """Query parameters of a list: unknown ones are refused. `limit` and `cursor` are read by `core.pagination`."""

    @model_validator(mode="before")
    @classmethod
    def _leave_the_page_aside(cls, value: Any) -> Any:
        # FastAPI hands a model of query parameters all of them, also those that another dependency reads.
        if isinstance(value, Mapping):
            return {name: given for name, given in value.items() if name not in {"limit", "cursor"}}
        return value


class Out(BaseModel):
    """What we say: every member is always there (no defaults), so that a generated client is exact."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)


RowStatus = Literal["created", "updated", "duplicate", "conflict", "invalid", "not_required"]


class FieldErrorOut(Out):
    """What is wrong with, or noteworthy about, one field."""

    pointer: str
    code: str
    detail: str


class RowResult(Out):
    """What became of one row. `errors` say why it was not kept; their pointers are relative to the row."""

    index: int
    status: RowStatus
    id: UUID | None
    errors: list[FieldErrorOut]
