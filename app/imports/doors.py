"""What every door for files has in common: taking the upload, handing out the template."""

import io
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Query, Request, Response

from app.auth.rules import Actor
from app.core.errors import UnsupportedMediaType
from app.core.http import Services, header
from app.core.sheet_text import BYTE_ORDER_MARK, csv_line
from app.core.workbooks import XLSX, write_workbook
from app.imports import queries
from app.imports.importers import Importers
from app.imports.receiving import Reception
from app.imports.routes import CSV, shown
from app.imports.schemas import ImportOut
from app.imports.service import TooManyImports

_TYPES = ("text/csv", "text/tab-separated-values", "text/plain", "application/octet-stream", XLSX)
_CONTENT = {
    "text/csv": {"schema": {"type": "string"}},
    XLSX: {"schema": {"type": "string", "format": "binary"}},
}

UPLOAD: dict[str, Any] = {
    "status_code": 202,
    "responses": {409: {"description": TooManyImports.title}},
    "openapi_extra": {"requestBody": {"required": True, "content": _CONTENT}},
}
"""How a door that takes a file is described."""

DOWNLOAD: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"description": "The template", "content": _CONTENT}},
}
"""How a door that hands out a template is described."""


class TemplateFormat(StrEnum):
    """How the template is written."""

    CSV = "csv"
    XLSX = "xlsx"


DryRun = Annotated[bool, Query(description="Judge every row and keep none")]
Written = Annotated[TemplateFormat, Query(alias="format", description="CSV or XLSX")]


async def take_file(request: Request, built: Services, kind: str, *, actor: Actor, dry_run: bool) -> ImportOut:
    """Take the file in a request's body; its rows are recorded in the background.

    Raises:
        UnsupportedMediaType: the body is not said to be a table, or compressed.
        SheetUnreadable: it is none, or not one with the columns that are needed.
        TooManyImports: the account has enough imports under way.
    """
    media_type, charset = _media_type(request)
    if media_type not in _TYPES or header(request, b"content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send text/csv or an XLSX workbook, not compressed")
    importer = built.parts[Importers][kind]
    async with Reception(
        built.database, built.clock, built.keyring, importer, actor=actor, dry_run=dry_run, charset=charset
    ) as reception:
        async for data in request.stream():
            await reception.take(data)
        import_id = await reception.end()
    async with built.database.transaction() as session:
        found = await queries.get_import(session, import_id, actor=actor)
        return shown(found, await queries.progress_of(session, import_id))


def hand_out(template: Sequence[Sequence[str]], written: TemplateFormat, name: str) -> Response:
    """Return a template as a file of this name."""
    if written is TemplateFormat.XLSX:
        file = io.BytesIO()
        write_workbook(template, file)
        content, media_type = file.getvalue(), XLSX
    else:
        content, media_type = (BYTE_ORDER_MARK + "".join(map(csv_line, template))).encode(), CSV
    headers = {"Content-Disposition": f'attachment; filename="{name}.{written.value}"'}
    return Response(content, media_type=media_type, headers=headers)


def _media_type(request: Request) -> tuple[str, str | None]:
    """Return media type and charset of the body as its sender names them."""
    kind, *parameters = header(request, b"content-type").split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), value.strip().strip('"')
    return kind.strip().lower(), None
