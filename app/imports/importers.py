"""What a chapter that takes files must say: which columns there are, and how rows are recorded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.core.sheets import Record, RowError
from app.imports.schemas import ImportResult

COUNTED = ("created", "updated", "duplicate", "conflict", "invalid", "not_required", "skipped")
"""What can become of a row; `updated` added to what was known, `skipped` is the sample of the template that was left in."""
REFUSED = frozenset({"conflict", "invalid"})
"""Rows that can be corrected. What may not be kept (`not_required`) is not handed back either."""

Became = Literal["created", "updated", "duplicate", "conflict", "invalid", "not_required", "skipped"]


@dataclass(slots=True)  # not frozen: each row of a batch makes one, at a fifth of the cost
class Verdict:
    """What became of a row, and why it was not kept."""

    status: Became
    errors: Sequence[RowError] = ()


class Importer(Protocol):
    """Records the rows of one kind of file."""

    @property
    def kind(self) -> str:
        """What the rows are: the word in the path and on the command line."""

    @property
    def in_order(self) -> bool:
        """Whether a row may build on one before it, so that the chunks of a file must follow one another."""

    def read_header(self, cells: Sequence[str]) -> Any:
        """Return how rows under this header are read; its cells are the names that complaints use.

        Raises:
            SheetUnreadable: it lacks a column or has one that is not known.
        """

    async def record(
        self, session: AsyncSession, plan: Any, records: Sequence[Record], *, actor: Actor, now: datetime
    ) -> list[Verdict]:
        """Record rows in the session's transaction; return what became of each. One row never keeps another out."""


class Importers(dict[str, Importer]):
    """The importers of all kinds, by kind."""

    def __init__(self, *importers: Importer) -> None:
        super().__init__((importer.kind, importer) for importer in importers)


def result_of(counts: Mapping[str, int]) -> ImportResult:
    """Return what an import came to whose rows became this."""
    told = Counter(counts)
    refused = sum(told[status] for status in REFUSED)
    kept = told["created"] + told["updated"] + told["duplicate"]
    if refused:
        return ImportResult.PARTIAL if kept else ImportResult.REFUSED
    if kept:
        return ImportResult.COMPLETE
    return ImportResult.NOT_REQUIRED if told["not_required"] else ImportResult.NO_ROWS
