"""Loading a list of pharmacies from a table, as licensing offices keep it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.core.clock import china_day
from app.core.database import driver
from app.core.ids import new_ids
from app.core.sheets import Lines, Row, RowError, read_sheet
from app.core.snapshots import changed
from app.divisions.queries import DIVISIONS
from app.divisions.rules import Gazetteer
from app.pharmacies.queries import PHARMACIES
from app.pharmacies.rules import Standing, uscc_warnings
from app.pharmacies.schemas import PharmacyIn
from app.pharmacies.service import ENROLLED

REQUIRED = ("name", "uscc", "licence_number", "division", "address")
OPTIONAL = ("lat", "lon", "chain", "enrolled_on")
HEADERS = {
    "名称": "name",
    "药店名称": "name",
    "统一社会信用代码": "uscc",
    "许可证号": "licence_number",
    "许可证编号": "licence_number",
    "药品经营许可证号": "licence_number",
    "行政区划": "division",
    "行政区划代码": "division",
    "地址": "address",
    "经营地址": "address",
    "纬度": "lat",
    "经度": "lon",
    "连锁": "chain",
    "连锁企业": "chain",
    "入网日期": "enrolled_on",
}
"""Chinese headers of the columns."""

_CHANGEABLE = ("name", "address", "lat", "lon", "chain")
_Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PharmaciesImported:
    """What became of an import: rows by outcome, and every complaint. A row with an error was left out, one with a warning was not."""

    created: int
    changed: int
    unchanged: int
    errors: tuple[RowError, ...]
    warnings: tuple[RowError, ...]


async def import_pharmacies(session: AsyncSession, lines: Lines, *, actor: Actor, now: datetime) -> PharmaciesImported:
    """Enrol the pharmacies of a table and bring known ones up to date; good rows are kept whatever the bad ones do.

    Columns: name, uscc, licence_number, division, address; may have lat, lon, chain, enrolled_on; English or Chinese headers. A pharmacy
    is known by credit code and licence number; an empty cell leaves what is known; division, enrolment and standing of a
    known one stay. Loading the same file again changes nothing.

    Raises:
        SheetUnreadable: the file is not such a table.
    """
    gazetteer = await DIVISIONS.get(session)
    rows = read_sheet(lines, REQUIRED, OPTIONAL, HEADERS)
    good, errors = _check_rows(rows, gazetteer, actor, china_day(now))
    if not good:
        return PharmaciesImported(0, 0, 0, tuple(errors), ())
    await changed(session, PHARMACIES.name)  # the lock: nobody else enrols until this is committed
    known = await _known(session, good)
    fresh: list[PharmacyIn] = []
    moved: list[tuple[Any, ...]] = []
    warnings: list[RowError] = []
    unchanged = 0
    for name, (row, pharmacy) in good.items():
        existing = known.get(name)
        if existing is None:
            fresh.append(pharmacy)
        elif not actor.sees(existing["division"]):
            errors.append(row.error("uscc", "out_of_division", "Enrolled already, outside your division"))
            continue
        elif existing["division"] != pharmacy.division:
            errors.append(row.error("division", "division_differs", "Enrolled already, in another division"))
            continue
        else:
            before = tuple(existing[column] for column in _CHANGEABLE)
            after = _merged(before, pharmacy)
            if after == before:
                unchanged += 1
            else:
                moved.append((existing["id"], *after))
        warnings.extend(row.error("uscc", found.code, found.detail) for found in uscc_warnings(pharmacy.uscc))
    await _insert(session, fresh, actor=actor, now=now)
    await _update(session, moved)
    if fresh or moved:
        await audit.record(
            session,
            actor=actor,
            now=now,
            action="pharmacies.imported",
            subject=("pharmacies", None),
            division=actor.division,
            detail={"created": len(fresh), "changed": len(moved)},
        )
    errors.sort(key=lambda error: error.line)
    return PharmaciesImported(len(fresh), len(moved), unchanged, tuple(errors), tuple(warnings))


def _check_rows(
    rows: Iterable[Row], gazetteer: Gazetteer, actor: Actor, today: date
) -> tuple[dict[_Name, tuple[Row, PharmacyIn]], list[RowError]]:
    good: dict[_Name, tuple[Row, PharmacyIn]] = {}
    errors: list[RowError] = []
    for row in rows:
        read = _read(row)
        if not isinstance(read, PharmacyIn):
            errors.extend(read)
        elif not actor.sees(read.division):
            errors.append(row.error("division", "out_of_division", "Not within your division"))
        elif not gazetteer.known(read.division):
            errors.append(row.error("division", "division_unknown", "There is no such division"))
        elif read.enrolled_on is not None and read.enrolled_on > today:
            errors.append(row.error("enrolled_on", "enrolled_in_future", "The day of enrolment lies in the future"))
        elif good.setdefault((read.uscc, read.licence_number), (row, read))[1] != read:
            errors.append(row.error("uscc", "duplicate_pharmacy", "The file says something else of it further up"))
    return good, errors


def _read(row: Row) -> PharmacyIn | list[RowError]:
    told: dict[str, Any] = {column: row[column] for column in (*REQUIRED, *OPTIONAL) if row[column]}
    location = {axis: told.pop(axis) for axis in ("lat", "lon") if axis in told}
    try:
        return PharmacyIn.model_validate(told | ({"location": location} if location else {}))
    except ValidationError as error:
        return [
            row.error(str(found["loc"][-1]), "required" if found["type"] == "missing" else found["type"], found["msg"])
            for found in error.errors()
        ]


def _merged(before: Sequence[Any], pharmacy: PharmacyIn) -> tuple[Any, ...]:
    place = pharmacy.location
    told = (pharmacy.name, pharmacy.address, place and place.lat, place and place.lon, pharmacy.chain)
    return tuple(old if new is None else new for old, new in zip(before, told, strict=True))


async def _known(session: AsyncSession, names: Iterable[_Name]) -> Mapping[_Name, Mapping[str, Any]]:
    pairs = list(names)
    rows = await (await driver(session)).fetch(
        """SELECT p.id, p.uscc, p.licence_number, p.division, p.name, p.address, p.lat, p.lon, p.chain
        FROM unnest($1::text[], $2::text[]) AS asked (uscc, licence_number)
        JOIN pharmacies p USING (uscc, licence_number)""",
        [uscc for uscc, _ in pairs],
        [licence for _, licence in pairs],
    )
    return {(row["uscc"], row["licence_number"]): row for row in rows}


async def _insert(session: AsyncSession, fresh: Sequence[PharmacyIn], *, actor: Actor, now: datetime) -> None:
    ids = new_ids(len(fresh))
    connection = await driver(session)
    await connection.execute(
        """WITH enrolled AS (
            INSERT INTO pharmacies (id, name, uscc, licence_number, division, address, lat, lon, chain, enrolled_on, created_at)
            SELECT row.*, $11 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                                          $7::float8[], $8::float8[], $9::text[], $10::date[]) AS row
            RETURNING id, enrolled_on
        )
        INSERT INTO pharmacy_standings (pharmacy_id, number, standing, valid_from, reason, recorded_by, recorded_at)
        SELECT id, 1, $12, enrolled_on, $13, $14, $11 FROM enrolled""",
        ids,
        [one.name for one in fresh],
        [one.uscc for one in fresh],
        [one.licence_number for one in fresh],
        [one.division for one in fresh],
        [one.address for one in fresh],
        [one.location and one.location.lat for one in fresh],
        [one.location and one.location.lon for one in fresh],
        [one.chain for one in fresh],
        [one.enrolled_on or china_day(now) for one in fresh],
        now,
        Standing.ACTIVE.value,
        ENROLLED,
        actor.account_id,
    )


async def _update(session: AsyncSession, moved: Sequence[tuple[Any, ...]]) -> None:
    if not moved:
        return
    connection = await driver(session)
    await connection.execute(
        """UPDATE pharmacies p SET name = row.name, address = row.address, lat = row.lat, lon = row.lon, chain = row.chain
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::text[])
             AS row (id, name, address, lat, lon, chain)
        WHERE p.id = row.id""",
        *(list(column) for column in zip(*moved, strict=True)),
    )
