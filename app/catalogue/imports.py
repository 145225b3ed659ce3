"""Drug lists from a table: what ships with the package, and what an authority hands in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor
from app.catalogue.queries import find_newest
from app.catalogue.schemas import DrugListIn
from app.catalogue.service import DrugListInvalid, LoadedList, load_list
from app.catalogue.vocabulary import AliasKind
from app.catalogue.wording import parse_wording
from app.core.errors import FieldError, OutOfDivision
from app.core.sheets import Lines, Row, RowError, read_sheet
from app.divisions.service import DivisionUnknown

# Column → field. What is said of the list stands in each of its rows.
_LIST = {
    "list": "code",
    "list_name": "name",
    "division": "division",
    "valid_from": "valid_from",
    "valid_to": "valid_to",
    "published_size": "published_size",
    "list_source": "source",
}
_DRUG = {
    "wording": "wording",
    "kind": "kind",
    "name_en": "name_en",
    "syndrome": "syndrome",
    "confirmed": "confirmed",
    "source_url": "source_url",
}
_ALIASES = {
    "gtins": AliasKind.GTIN,
    "approval_numbers": AliasKind.APPROVAL,
    "trace_prefixes": AliasKind.TRACE,
    "names": AliasKind.NAME,
}
REQUIRED = ("list", "list_name", "division", "valid_from", "wording", "kind", "syndrome")
OPTIONAL = tuple(column for column in {**_LIST, **_DRUG, **_ALIASES} if column not in REQUIRED)
"""Columns of the table. In the alias columns several values are parted by `|`."""


@dataclass(frozen=True, slots=True)
class ListsImported:
    """What became of an import. A list with an error was left out as a whole: in part, it would let drugs slip through.

    `notes` are entries that were loaded, but hold words that are not understood: they may need aliases.
    """

    loaded: tuple[LoadedList, ...]
    errors: tuple[RowError, ...]
    notes: tuple[RowError, ...]


async def load_shipped(session: AsyncSession, *, actor: Actor, now: datetime) -> ListsImported:
    """Load the lists that ship with the package. Loading them again changes nothing, nor does it ever replace a version
    that an authority has loaded under the same code.
    """
    lines = (files("app.catalogue") / "data" / "catalogue.csv").read_text("utf-8").splitlines()
    return await import_lists(session, lines, actor=actor, now=now, shipped=True)


async def import_lists(
    session: AsyncSession, lines: Lines, *, actor: Actor, now: datetime, shipped: bool = False
) -> ListsImported:
    """Load one or more lists, each in full, from a table with one row per entry.

    Raises:
        SheetUnreadable: the file is not such a table.
    """
    by_list: dict[str, list[Row]] = {}
    for row in read_sheet(lines, REQUIRED, OPTIONAL):
        by_list.setdefault(row["list"], []).append(row)
    loaded: list[LoadedList] = []
    errors: list[RowError] = []
    notes: list[RowError] = []
    for code, rows in by_list.items():
        wanted = read_list(rows)
        if isinstance(wanted, list):
            errors += wanted
            continue
        if shipped and (newest := await find_newest(session, code)) is not None and not newest.shipped:
            continue
        try:
            loaded.append(await load_list(session, wanted, actor=actor, now=now, shipped=shipped))
        except DrugListInvalid as error:
            errors += [_placed(rows, finding) for finding in error.errors] or [
                rows[0].error("wording", error.code, error.detail or error.title)
            ]
        except (DivisionUnknown, OutOfDivision) as error:
            errors.append(rows[0].error("division", error.code, error.title))
        else:
            notes += [
                row.error("wording", "wording_partly_unread", f"Not understood: {', '.join(unread)}")
                for row in rows
                if (unread := parse_wording(row["wording"]).unread)
            ]
    return ListsImported(tuple(loaded), tuple(errors), tuple(notes))


def read_list(rows: list[Row]) -> DrugListIn | list[RowError]:
    """Return the list that rows of one code describe, or what is wrong with them."""
    head = rows[0]
    errors = [
        row.error(column, "list_differs", "What is said of the list differs from its first row")
        for row in rows[1:]
        for column in _LIST
        if row[column] != head[column]
    ]
    content = {**_fields(head, _LIST), "drugs": [_drug(row) for row in rows]}
    try:
        wanted = DrugListIn.model_validate(content)
    except ValidationError as invalid:
        # The messages of these types do not repeat what was read.
        findings = [
            FieldError("/" + "/".join(map(str, item["loc"])), item["type"], item["msg"]) for item in invalid.errors()
        ]
        return errors + [_placed(rows, finding) for finding in findings]
    return errors or wanted


def _fields(row: Row, columns: Mapping[str, str]) -> dict[str, str]:
    return {field: row[column] for column, field in columns.items() if row[column]}


def _drug(row: Row) -> dict[str, object]:
    aliases = [
        {"kind": kind, "value": value.strip()}
        for column, kind in _ALIASES.items()
        for value in row[column].split("|")
        if value.strip()
    ]
    return {**_fields(row, _DRUG), "aliases": aliases}


def _placed(rows: list[Row], finding: FieldError) -> RowError:
    """Return a complaint about a field of a list as one about a cell of its table."""
    match finding.pointer.split("/")[1:]:
        case ["drugs", number, "aliases", *_]:
            return rows[int(number)].error("aliases", finding.code, finding.detail)
        case ["drugs", number, field, *_]:
            column = {name: column for column, name in _DRUG.items()}.get(field, field)
            return rows[int(number)].error(column, finding.code, finding.detail)
        case [field, *_]:
            column = {name: column for column, name in _LIST.items()}.get(field, field)
            return rows[0].error(column, finding.code, finding.detail)
        case _:
            return rows[0].error("list", finding.code, finding.detail)
