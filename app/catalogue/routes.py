"""The doors of the catalogue: what must be registered here and now, and is this one of them?"""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from app.auth.guards import requires
from app.auth.rules import Actor, Permission
from app.catalogue import service
from app.catalogue.directory import Drug, Edition
from app.catalogue.rules import Resolution
from app.catalogue.schemas import (
    AliasesOut,
    CatalogueOut,
    DrugListOut,
    DrugOut,
    ListedDrugOut,
    ResolvedListOut,
    ResolvedOut,
    ResolveIn,
)
from app.catalogue.vocabulary import AliasKind
from app.core.clock import china_day
from app.core.http import Now, Transaction
from app.core.schemas import DivisionCode

router = APIRouter(prefix="/v1/catalogue", tags=["catalogue"])
Reader = Annotated[Actor, Depends(requires(Permission.READ_CATALOGUE))]


@router.get(
    "",
    response_model=CatalogueOut,
    responses={304: {"description": "Nothing has changed since the answer that carried this ETag"}},
)
async def read_catalogue(
    actor: Reader,
    session: Transaction,
    now: Now,
    response: Response,
    division: Annotated[DivisionCode, Query(description="Where the pharmacy is")],
    on: Annotated[date | None, Query(description="A day in China; today if left out")] = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> CatalogueOut | Response:
    """Listed drugs in force in a division, narrowest list first, with their aliases and codes.

    A till keeps the answer and sends its ETag along the next time: 304 means that what it has still holds.
    """
    edition = await service.read_catalogue(session, division=division, on=on or china_day(now))
    headers = {"ETag": f'W/"{edition.fingerprint}"', "Cache-Control": "private, no-cache"}
    if _matches(if_none_match, edition.fingerprint):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return _catalogue(edition)


@router.post("/resolve")
async def resolve_products(actor: Reader, session: Transaction, now: Now, body: ResolveIn) -> ResolvedListOut:
    """Which of these product codes and names are listed, as a registration would see them; one answer per item."""
    found = await service.resolve_products(
        session, division=body.division, on=body.on or china_day(now), products=body.items
    )
    return ResolvedListOut(items=[_resolved(resolution, drug) for resolution, drug in found])


def _matches(if_none_match: str | None, fingerprint: str) -> bool:
    """Compare weakly (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return "*" in tags or f'"{fingerprint}"' in tags


def _catalogue(edition: Edition) -> CatalogueOut:
    return CatalogueOut(
        lists=[
            DrugListOut(
                id=listing.id,
                code=listing.code,
                version=listing.version,
                name=listing.name,
                division=listing.division,
                valid_from=listing.valid_from,
                valid_to=listing.valid_to,
                published_size=listing.published_size,
                confirmed=sum(drug.confirmed for drug in listing.drugs),
                source=listing.source,
            )
            for listing in edition.lists
        ],
        drugs=[_drug(drug) for listing in edition.lists for drug in listing.drugs],
    )


def _drug(drug: Drug) -> ListedDrugOut:
    values: dict[AliasKind, list[str]] = {kind: [] for kind in AliasKind}
    for kind, value in drug.aliases:
        values[kind].append(value)
    return ListedDrugOut(
        id=drug.id,
        list=drug.list_code,
        wording=drug.wording,
        kind=drug.kind,
        name_en=drug.name_en,
        syndrome=drug.syndrome,
        confirmed=drug.confirmed,
        source_url=drug.source_url,
        aliases=AliasesOut(
            gtins=values[AliasKind.GTIN],
            approval_numbers=values[AliasKind.APPROVAL],
            trace_prefixes=values[AliasKind.TRACE],
            names=values[AliasKind.NAME],
        ),
    )


def _resolved(resolution: Resolution, drug: Drug | None) -> ResolvedOut:
    return ResolvedOut(
        drug=None
        if drug is None
        else DrugOut(id=drug.id, list=drug.list_code, wording=drug.wording, syndrome=drug.syndrome),
        resolved_by=resolution.by,
        warnings=list(resolution.warnings),
        unknown_codes=list(resolution.unknown),
    )
