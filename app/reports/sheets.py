"""Figures as a table that opens well in a spreadsheet, and does nothing there but lie still."""

import csv
import io
from collections.abc import Iterable, Sequence

CSV = "text/csv; charset=utf-8"
_BYTE_ORDER_MARK = "\ufeff"  # without it, spreadsheets in China read UTF-8 as GB18030
_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table in UTF-8 with a byte order mark and CRLF line ends (RFC 4180).

    Text that a spreadsheet would take for a formula is preceded by an apostrophe; numbers are left as they are.
    """
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow([inert(cell) for cell in header])
    writer.writerows([inert(cell) for cell in row] for row in rows)
    return (_BYTE_ORDER_MARK + sheet.getvalue()).encode()


def inert(cell: object) -> object:
    """Return a cell that no spreadsheet runs (OWASP, CSV injection)."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_BEGINS):
        return "'" + cell
    return cell
