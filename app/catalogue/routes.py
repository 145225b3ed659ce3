"""The doors of the catalogue: what must be registered here and now, is this one of them, and what nobody knew."""

import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import ValidationError

from app.auth.guards import TillRoute, requires
from app.auth.rules import Actor, Permission
from app.catalogue import queries, service
from app.catalogue.directory import Directory, Drug, Edition
from app.catalogue.queries import CATALOGUE
from app.catalogue.rules import Resolution
from app.catalogue.schemas import (
    AddedAliasOut,
    AliasesOut,
    CatalogueOut,
    DrugListOut,
    DrugOut,
    LimitedDrugOut,
    LimitIn,
    LimitOut,
    ListedDrugOut,
    NewAliasIn,
    PlaceFilter,
    ResolvedListOut,
    ResolvedOut,
    ResolveIn,
    UnresolvedFilter,
    UnresolvedOut,
)
from app.catalogue.vocabulary import AliasKind
from app.core.batches import RowReader
from app.core.clock import china_day
from app.core.errors import InvalidRequest, NotFound
from app.core.http import Built, Now, Router, Services, Transaction, header, services, unless_held
from app.core.pagination import Page, Paging, row_number
from app.core.validation import field_errors

router = Router(prefix="/v1/catalogue", tags=["catalogue"])
tills = Router(prefix="/v1/catalogue", tags=["catalogue"], route_class=TillRoute)

Reader = Annotated[Actor, Depends(requires(Permission.READ_CATALOGUE))]
Keeper = Annotated[Actor, Depends(requires(Permission.KEEP_CATALOGUE))]

JSON = "application/json"
KNOWN_FOR_SECONDS = 1.0
_PRODUCTS = RowReader(ResolveIn)
_MOST_RESEMBLED = 3
_MOST_RENDERED = 200
_RENDERED: dict[str, bytes] = {}
"""Bodies by fingerprint: the same edition is written out once, however many tills ask for it."""

_PLACE = PlaceFilter.model_json_schema()["properties"]
_PARAMETERS: list[dict[str, Any]] = [
    {"name": "division", "in": "query", "required": True, "schema": _PLACE["division"]},
    {"name": "on", "in": "query", "required": False, "schema": _PLACE["on"]},
    {"name": "if-none-match", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 1000}},
]
for _parameter in _PARAMETERS[:2]:
    _parameter["description"] = _parameter["schema"].pop("description")


class KnownShelf:
    """The shelf, remembered for a second, so that a scan costs no look-up. A registration always reads it anew."""

    def __init__(self, built: Services) -> None:
        self._database = built.database
        self._known: tuple[float, service.Shelf] | None = None

    async def look(self) -> service.Shelf:
        """Return a shelf that was read within the last second."""
        known = self._known
        moment = time.monotonic()
        if known is not None and known[0] > moment:
            return known[1]
        async with self._database.transaction() as session:
            shelf = await service.read_shelf(session)
        self._known = (moment + KNOWN_FOR_SECONDS, shelf)
        return shelf

    def forget(self) -> None:
        """Read the shelf anew at the next look."""
        self._known = None


@tills.get(
    "",
    response_model=CatalogueOut,
    responses={304: {"description": "Nothing has changed since the answer that carried this ETag"}},
    openapi_extra={"parameters": _PARAMETERS},
)
async def read_catalogue(request: Request, actor: Reader) -> Response:
    """Listed drugs in force in a division, narrowest list first, with their aliases and codes.

    A till keeps the answer and sends its ETag along the next time: 304 means that what it has still holds.
    """
    try:
        place = PlaceFilter.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise InvalidRequest(errors=field_errors(error, within=("query",))) from None
    built = services(request)
    shelf = await _shelf_of(built).look()
    edition = shelf.edition(place.division, place.on or china_day(built.clock.now()), "?division")
    return unless_held(header(request, b"if-none-match"), edition.fingerprint, lambda: _rendered(edition))


@tills.post("/resolve", response_model=ResolvedListOut, openapi_extra=_PRODUCTS.documented())
async def resolve_products(request: Request, actor: Reader) -> Response:
    """Which of these product codes and names are listed, as a registration would see them; one answer per item.

    Fast enough to be asked at each scan. `unknown_codes` are codes that are well formed and on no list.
    """
    body = await _PRODUCTS.one(request)
    built = services(request)
    shelf = await _shelf_of(built).look()
    found = shelf.resolve(body.division, body.on or china_day(built.clock.now()), body.items)
    answer = ResolvedListOut.model_construct(items=[_resolved(resolution, drug) for resolution, drug in found])
    return Response(answer.model_dump_json(), media_type=JSON)


@router.get("/unresolved")
async def list_unresolved(
    session: Transaction,
    now: Now,
    actor: Keeper,
    filters: Annotated[UnresolvedFilter, Query()],
    paging: Paging,
) -> Page[UnresolvedOut]:
    """List the codes and names that tills sent and no list in force knows, the most frequent first.

    Names that a single clerk typed once are not shown, nor any that could be a person's number. Sightings take half a minute
    to appear.
    """
    rows = await queries.list_unresolved(
        session,
        scope=actor.division,
        filters=filters,
        today=china_day(now),
        limit=paging.wanted,
        after=paging.after_key(row_number, str, str),
    )
    shown, cursor = paging.cut(rows, lambda row: (row.times, row.kind, row.value))
    directory = await CATALOGUE.get(session)
    return Page(items=[_unresolved(row, directory) for row in shown], next_cursor=cursor)


@router.post(
    "/aliases",
    status_code=201,
    responses={
        200: {"model": AddedAliasOut, "description": "The drug was known by this already"},
        404: {"description": NotFound.title},
        409: {"description": service.AliasTaken.title},
    },
)
async def add_alias(
    body: NewAliasIn, session: Transaction, now: Now, actor: Keeper, built: Built, response: Response
) -> AddedAliasOut:
    """Make a listed drug known by a further code or name, such as one from the list of what did not resolve.

    It holds from the next purchase on, wherever the drug's list does; so the list must be of your division.
    """
    added = await service.add_alias(session, body.drug_id, kind=body.kind, value=body.value, actor=actor, now=now)
    _shelf_of(built).forget()  # other processes notice within a second
    if not added.created:
        response.status_code = 200
    return AddedAliasOut(drug=_short(added.drug), kind=added.kind, value=added.value)


@router.put("/drugs/{drug_id}/limit")
async def set_limit(
    drug_id: UUID, body: LimitIn, session: Transaction, now: Now, actor: Keeper, built: Built
) -> LimitedDrugOut:
    """Say how much of a listed drug is noticed. Purchases beyond it are kept and flagged, and the clerk is told.

    It holds from the next purchase on, wherever the drug's list does, and for later versions of the list as well.
    """
    drug = await service.set_limit(session, drug_id, body, actor=actor, now=now)
    _shelf_of(built).forget()  # other processes notice within a second
    return LimitedDrugOut(drug=_short(drug), limit=None if drug.limit is None else LimitOut.model_validate(drug.limit))


def _shelf_of(built: Services) -> KnownShelf:
    shelf: KnownShelf = built.parts.setdefault(KnownShelf, KnownShelf(built))
    return shelf


def _rendered(edition: Edition) -> bytes:
    body = _RENDERED.get(edition.fingerprint)
    if body is None:
        if len(_RENDERED) >= _MOST_RENDERED:
            _RENDERED.clear()
        body = _RENDERED[edition.fingerprint] = _catalogue(edition).model_dump_json().encode()
    return body


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
        limit=None if drug.limit is None else LimitOut.model_validate(drug.limit),
    )


def _resolved(resolution: Resolution, drug: Drug | None) -> ResolvedOut:
    return ResolvedOut.model_construct(
        drug=None if drug is None else _short(drug),
        resolved_by=resolution.by,
        warnings=list(resolution.warnings),
        unknown_codes=list(resolution.unknown),
    )


def _short(drug: Drug) -> DrugOut:
    return DrugOut.model_construct(id=drug.id, list=drug.list_code, wording=drug.wording, syndrome=drug.syndrome)


def _unresolved(row: queries.Unresolved, directory: Directory) -> UnresolvedOut:
    resembled: tuple[Drug, ...] = ()
    if row.kind is AliasKind.NAME:
        resolver = directory.resolver_for(row.division, row.last_seen_on)
        resembled = tuple(directory.drug(drug_id) for drug_id in resolver.resembling(row.value)[:_MOST_RESEMBLED])
    return UnresolvedOut(
        kind=row.kind,
        value=row.value,
        pharmacies=row.pharmacies,
        times=row.times,
        first_seen_on=row.first_seen_on,
        last_seen_on=row.last_seen_on,
        drug=None if row.drug_id is None else _short(directory.drug(row.drug_id)),
        resembles=[_short(drug) for drug in resembled],
    )
