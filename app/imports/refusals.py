"""The file of refused rows: as they came, with the reasons in a column of their own, to be corrected and handed in again."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from app.core.database import Database
from app.core.sealing import Keyring
from app.core.sheet_text import BYTE_ORDER_MARK, csv_line
from app.core.sheets import RowError
from app.core.workbooks import write_workbook
from app.imports.columns import sentence
from app.imports.queries import sealed_refusals
from app.imports.schemas import ImportFormat

ERRORS_COLUMN = "错误原因/errors"
"""Header of the column of reasons; it is ignored when the file comes back."""


def errors_column(header: Sequence[str]) -> int | None:
    """Return the place of the column of reasons in a header that came back."""
    return next((place for place, name in enumerate(header) if name.strip() == ERRORS_COLUMN), None)


async def refused_rows(
    database: Database, keyring: Keyring, import_id: UUID, header: Sequence[str]
) -> AsyncIterator[list[str]]:
    """Yield the header and then the refused rows, each with its reasons at the end. No transaction is open in between."""
    before = errors_column(header)
    own = [cell for place, cell in enumerate(header) if place != before]
    yield [*own, ERRORS_COLUMN]
    number = -1
    while True:
        async with database.transaction() as session:
            found = await sealed_refusals(session, import_id, number)
        if found is None:
            return
        number, sealed = found
        content = keyring.open(sealed, table="import_chunks", row=import_id, column=f"refused {number}")
        for _, cells, errors in json.loads(content):
            kept = _without_reasons(cells, len(header), before)
            reasons = "; ".join(sentence(RowError(*error)) for error in errors)
            yield [*kept, *[""] * (len(own) - len(kept)), reasons]


def _without_reasons(cells: list[str], width: int, before: int | None) -> list[str]:
    if before is None:
        return cells
    # In a row with too many cells the reasons stand behind them all.
    place = len(cells) - 1 if len(cells) > width else before
    return [cell for at, cell in enumerate(cells) if at != place]


async def refused_file(
    rows: AsyncIterator[list[str]], file_format: ImportFormat, delimiter: str
) -> AsyncIterator[bytes]:
    """Yield the file in the format in which the rows came; text is in UTF-8 with a byte order mark."""
    if file_format is ImportFormat.XLSX:
        file = io.BytesIO()
        await asyncio.to_thread(write_workbook, [row async for row in rows], file)
        yield file.getvalue()
        return
    yield BYTE_ORDER_MARK.encode()
    lines: list[str] = []
    async for row in rows:
        lines.append(csv_line(row, delimiter))
        if len(lines) == 500:
            yield "".join(lines).encode("utf-8", "replace")
            lines.clear()
    yield "".join(lines).encode("utf-8", "replace")
