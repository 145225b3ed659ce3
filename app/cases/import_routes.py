"""The door for case lists as files, and the template for them."""

from typing import Annotated

from fastapi import Depends, Request, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.cases.columns import template
from app.core.http import Built, Router
from app.imports import doors
from app.imports.doors import DryRun, TemplateFormat, Written
from app.imports.schemas import ImportOut

router = Router(prefix="/v1/cases/import", tags=["imports"])

IMPORT_PATH = "/v1/cases/import"
_KIND = "cases"

Authority = Annotated[Actor, Depends(requires(Permission.RECORD_CASES))]


@router.post("", **doors.UPLOAD)
async def import_cases(request: Request, actor: Authority, built: Built, dry_run: DryRun = False) -> ImportOut:
    """Hand in a case list, one case to a row: CSV (UTF-8, UTF-16 or GB18030; comma, semicolon or tab) or XLSX, as the body.

    The answer comes as soon as the file is safe; its rows are recorded in the background, in their order and by the rules of
    `POST /v1/cases/batch`. Follow it at `GET /v1/imports/{id}`. Lists may overlap and may be handed in again: what they lack is not
    taken away, what would lower a classification or contradict what is stored is a `conflict`.
    """
    return await doors.take_file(request, built, _KIND, actor=actor, dry_run=dry_run)


@router.get("/template", **doors.DOWNLOAD)
async def get_case_import_template(actor: Authority, written: Written = TemplateFormat.XLSX) -> Response:
    """Fetch an empty case list with all usual columns, headed in Chinese and English.

    Its sample row is made up; it begins with `#示例` and is skipped if it is left in.
    """
    return doors.hand_out(template(), written, _KIND)
