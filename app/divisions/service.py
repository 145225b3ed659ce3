"""Loading divisions, and insisting on a known one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.audit.rules import Doer
from app.core.database import driver
from app.core.errors import AppError, FieldError
from app.core.sheets import Lines, Row, RowError, read_sheet
from app.core.snapshots import changed
from app.divisions.queries import DIVISIONS
from app.divisions.rules import Gazetteer, is_wellformed, level_of, parent_of

_MAX_NAME = 100


class DivisionUnknown(AppError):
    """The request names a division that this installation does not know; an administrator can import further ones."""

    status, code, title = 422, "division_unknown", "Unknown division"


@dataclass(frozen=True, slots=True)
class DivisionsImported:
    """What became of an import: rows by outcome, and every complaint. A row with a complaint was left out."""

    created: int
    changed: int
    unchanged: int
    errors: tuple[RowError, ...]


async def require_known(session: AsyncSession, code: str, pointer: str = "/division") -> Gazetteer:
    """Return all divisions, having made sure that this one is among them.

    Raises:
        DivisionUnknown: it is not; `pointer` says where the request named it.
    """
    gazetteer = await DIVISIONS.get(session)
    insist_on_known(gazetteer, code, pointer)
    return gazetteer


def insist_on_known(gazetteer: Gazetteer, code: str, pointer: str = "/division") -> None:
    """Make sure that a division is among those known.

    Raises:
        DivisionUnknown: it is not; `pointer` says where the request named it.
    """
    if not gazetteer.known(code):
        raise DivisionUnknown(errors=[FieldError(pointer, "division_unknown", "There is no such division")])


async def load_shipped(session: AsyncSession, *, actor: Doer, now: datetime) -> DivisionsImported:
    """Load the divisions that ship with the package. Loading them again changes nothing."""
    shipped = files("app.divisions") / "data" / "divisions.csv"
    return await import_divisions(session, shipped.read_text("utf-8").splitlines(), actor=actor, now=now)


async def import_divisions(session: AsyncSession, lines: Lines, *, actor: Doer, now: datetime) -> DivisionsImported:
    """Load divisions from a table with the columns `code` and `name`; good rows are kept whatever the bad ones do.

    A known code gets the new name; nothing is ever removed, because pharmacies and cases may point to it. Parents may stand
    in the same file, in any order.

    Raises:
        SheetUnreadable: the file is not such a table.
    """
    gazetteer = await DIVISIONS.get(session)
    names, errors = check_rows(read_sheet(lines, ("code", "name")), gazetteer)
    fresh = {code: name for code, name in names.items() if gazetteer.name_of(code) != name}
    created = 0
    if fresh:
        await changed(session, DIVISIONS.name)
        rows = await (await driver(session)).fetch(
            """INSERT INTO divisions (code, name, level, parent_code)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
            ON CONFLICT (code) DO UPDATE SET name = excluded.name
            RETURNING (xmax = 0) AS created""",  # xmax is 0 for a row that was inserted, not updated
            list(fresh),
            list(fresh.values()),
            [level_of(code).value for code in fresh],
            [parent_of(code) for code in fresh],
        )
        created = sum(row["created"] for row in rows)
        await audit.record(
            session,
            actor=actor,
            now=now,
            action="divisions.imported",
            subject=("divisions", None),
            detail={"created": created, "changed": len(fresh) - created},
        )
    return DivisionsImported(created, len(fresh) - created, len(names) - len(fresh), tuple(errors))


def check_rows(rows: Iterable[Row], gazetteer: Gazetteer) -> tuple[dict[str, str], list[RowError]]:
    """Return the names of the good rows by code, and the complaints about the others."""
    names: dict[str, str] = {}
    read: dict[str, Row] = {}
    errors: list[RowError] = []
    for row in rows:
        code, name = row["code"], row["name"]
        if not is_wellformed(code):
            detail = "A code has 2, 4, 6, 9 or 12 digits and is not padded with zeros"
            errors.append(row.error("code", "division_malformed", detail))
        elif not name or len(name) > _MAX_NAME:
            errors.append(row.error("name", "name_invalid", f"A name has 1 to {_MAX_NAME} characters"))
        elif names.setdefault(code, name) != name:
            errors.append(row.error("code", "duplicate_code", "The file gives this code another name further up"))
        else:
            read.setdefault(code, row)
    for code in sorted(names, key=len):  # widest first, so that a row left out takes those below it with it
        parent = parent_of(code)
        if parent is not None and parent not in names and not gazetteer.known(parent):
            del names[code]
            errors.append(read[code].error("code", "parent_unknown", "The division next above is not known"))
    return names, errors
