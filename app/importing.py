"""`sentinel import`: one table, one chapter's own import, one report."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import SYSTEM
from app.cases.imports import import_cases
from app.catalogue.imports import import_lists
from app.core.sealing import Keyring
from app.core.sheets import RowError, SheetUnreadable
from app.divisions.service import import_divisions
from app.pharmacies.imports import import_pharmacies


@dataclass(frozen=True, slots=True)
class Report:
    """How many rows had which outcome; what should be looked at; what was refused, and why."""

    counts: Mapping[str, int]
    notes: tuple[str, ...]
    errors: tuple[str, ...]


Import = Callable[[AsyncSession, Iterable[str], datetime, Keyring], Awaitable[Report]]


def read_lines(file: Path) -> list[str]:
    """Return the lines of a table in UTF-8.

    Raises:
        SheetUnreadable: it is not UTF-8.
    """
    try:
        return file.read_text("utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError:
        raise SheetUnreadable("The file is not text in UTF-8") from None


def _told(complaints: Iterable[RowError]) -> tuple[str, ...]:
    return tuple(f"line {error.line}, {error.column}: {error.detail} ({error.code})" for error in complaints)


async def _divisions(session: AsyncSession, lines: Iterable[str], now: datetime, _: Keyring) -> Report:
    done = await import_divisions(session, lines, actor=SYSTEM, now=now)
    counts = {"created": done.created, "changed": done.changed, "unchanged": done.unchanged}
    return Report(counts, (), _told(done.errors))


async def _catalogue(session: AsyncSession, lines: Iterable[str], now: datetime, _: Keyring) -> Report:
    done = await import_lists(session, lines, actor=SYSTEM, now=now)
    counts = {"lists": len(done.loaded), "new versions": sum(one.created for one in done.loaded)}
    return Report(counts, _told(done.notes), _told(done.errors))


async def _pharmacies(session: AsyncSession, lines: Iterable[str], now: datetime, _: Keyring) -> Report:
    done = await import_pharmacies(session, lines, actor=SYSTEM, now=now)
    counts = {"created": done.created, "changed": done.changed, "unchanged": done.unchanged}
    return Report(counts, _told(done.warnings), _told(done.errors))


async def _cases(session: AsyncSession, lines: Iterable[str], now: datetime, keyring: Keyring) -> Report:
    done = await import_cases(session, lines, actor=SYSTEM, now=now, keyring=keyring)
    return Report(done.counts, (), _told(done.errors))


KINDS: Mapping[str, Import] = {
    "divisions": _divisions,
    "catalogue": _catalogue,
    "pharmacies": _pharmacies,
    "cases": _cases,
}
"""What can be imported, by the word on the command line."""
