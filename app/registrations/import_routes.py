"""The door for files of purchases, and the template for them."""

from typing import Annotated

from fastapi import Depends, Request, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.core.http import Built, Router
from app.imports import doors
from app.imports.doors import DryRun, TemplateFormat, Written
from app.imports.schemas import ImportOut
from app.registrations.columns import template

router = Router(prefix="/v1/registrations/import", tags=["imports"])

IMPORT_PATH = "/v1/registrations/import"
_KIND = "registrations"

Till = Annotated[Actor, Depends(requires(Permission.REGISTER))]


@router.post("", **doors.UPLOAD)
async def import_registrations(request: Request, actor: Till, built: Built, dry_run: DryRun = False) -> ImportOut:
    """Hand in a file of purchases, one to a row: CSV (UTF-8, UTF-16 or GB18030; comma, semicolon or tab) or XLSX, as the body.

    The answer comes as soon as the file is safe; its rows are recorded in the background by the rules of the till. Follow it at
    `GET /v1/imports/{id}`. A row without `client_reference` is named by its content. Handing the same file in again does no harm.
    """
    return await doors.take_file(request, built, _KIND, actor=actor, dry_run=dry_run)


@router.get("/template", **doors.DOWNLOAD)
async def get_import_template(actor: Till, written: Written = TemplateFormat.XLSX) -> Response:
    """Fetch an empty table with all usual columns, headed in Chinese and English.

    Its sample row is made up; it begins with `#示例` and is skipped if it is left in.
    """
    return doors.hand_out(template(), written, _KIND)
