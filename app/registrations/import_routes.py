"""The door for files of purchases, and the template for them."""

import io
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.errors import UnsupportedMediaType
from app.core.http import Built
from app.core.sheet_text import BYTE_ORDER_MARK, csv_line
from app.core.workbooks import XLSX, write_workbook
from app.imports import queries
from app.imports.importers import Importers
from app.imports.receiving import Reception
from app.imports.routes import CSV, shown
from app.imports.schemas import ImportOut
from app.imports.service import TooManyImports
from app.registrations.columns import template

router = APIRouter(prefix="/v1/registrations/import", tags=["imports"])

IMPORT_PATH = "/v1/registrations/import"
_KIND = "registrations"
_TYPES = ("text/csv", "text/tab-separated-values", "text/plain", "application/octet-stream", XLSX)

Till = Annotated[Actor, Depends(requires(Permission.REGISTER))]


class TemplateFormat(StrEnum):
    """How the template is written."""

    CSV = "csv"
    XLSX = "xlsx"


@router.post(
    "",
    status_code=202,
    responses={409: {"description": TooManyImports.title}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                XLSX: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def import_registrations(
    request: Request,
    actor: Till,
    built: Built,
    dry_run: Annotated[bool, Query(description="Judge every row and keep none")] = False,
) -> ImportOut:
    """Hand in a file of purchases, one to a row: CSV (UTF-8, UTF-16 or GB18030; comma, semicolon or tab) or XLSX, as the body.

    The answer comes as soon as the file is safe; its rows are recorded in the background by the rules of the till. Follow it at
    `GET /v1/imports/{id}`. A row without `client_reference` is named by its content. Handing the same file in again does no harm.
    """
    kind, charset = _media_type(request)
    if kind not in _TYPES or request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send text/csv or an XLSX workbook, not compressed")
    importer = built.parts[Importers][_KIND]
    async with Reception(
        built.database, built.clock, built.keyring, importer, actor=actor, dry_run=dry_run, charset=charset
    ) as reception:
        async for data in request.stream():
            await reception.take(data)
        import_id = await reception.end()
    async with built.database.transaction() as session:
        found = await queries.get_import(session, import_id, actor=actor)
        return shown(found, await queries.progress_of(session, import_id))


@router.get(
    "/template",
    response_class=Response,
    responses={
        200: {
            "description": "The template",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                XLSX: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def get_import_template(
    actor: Till,
    written: Annotated[TemplateFormat, Query(alias="format", description="CSV or XLSX")] = TemplateFormat.XLSX,
) -> Response:
    """Fetch an empty table with all usual columns, headed in Chinese and English.

    Its sample row is made up; it begins with `#示例` and is skipped if it is left in.
    """
    if written is TemplateFormat.XLSX:
        file = io.BytesIO()
        write_workbook(template(), file)
        content, kind = file.getvalue(), XLSX
    else:
        content, kind = (BYTE_ORDER_MARK + "".join(map(csv_line, template()))).encode(), CSV
    headers = {"Content-Disposition": f'attachment; filename="registrations.{written.value}"'}
    return Response(content, media_type=kind, headers=headers)


def _media_type(request: Request) -> tuple[str, str | None]:
    """Return media type and charset of the body as its sender names them."""
    kind, *parameters = request.headers.get("content-type", "").split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), value.strip().strip('"')
    return kind.strip().lower(), None
