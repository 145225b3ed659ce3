"""Loading lists in versions, naming aliases, resolving what tills send."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import delete, insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.catalogue.directory import Directory, Drug, Edition, Limit
from app.catalogue.models import DrugAlias, DrugLimit, DrugList, ListedDrug
from app.catalogue.queries import CATALOGUE, aliases_of, drug_ids_of, find_list_of, find_newest, versions_of
from app.catalogue.rules import CodeInvalid, Resolution, normal_alias
from app.catalogue.schemas import DrugListIn, LimitIn, ProductIn
from app.catalogue.vocabulary import AliasKind
from app.catalogue.wording import parse_wording
from app.core.errors import AppError, FieldError, NotFound, OutOfDivision
from app.core.ids import new_id
from app.core.snapshots import changed, versions
from app.divisions.queries import DIVISIONS
from app.divisions.rules import Gazetteer
from app.divisions.service import insist_on_known, require_known

_MOST_VALUE = 100


class DrugListInvalid(AppError):
    """A list cannot be loaded as it stands; `errors` points to each entry. Nothing of it was loaded."""

    status, code, title = 422, "drug_list_invalid", "The drug list is not valid"


class AliasInvalid(AppError):
    """A code or name cannot be of the kind that it was given as (wrong check digit, prefix or shape)."""

    status, code, title = 422, "alias_invalid", "The alias is not valid"


class AliasTaken(AppError):
    """Another entry of the same list is already known by this code or name."""

    status, code, title = 409, "alias_taken", "The alias belongs to another entry"


@dataclass(frozen=True, slots=True)
class LoadedList:
    """What became of a list: its version in force after loading; whether that is a new one; aliases that were new."""

    id: UUID
    code: str
    version: int
    created: bool
    aliases_added: int


@dataclass(frozen=True, slots=True)
class AddedAlias:
    """An alias in the form in which it is compared; `created` is False if the entry was known by it already."""

    drug: Drug
    kind: AliasKind
    value: str
    created: bool


Found = Sequence[tuple[Resolution, Drug | None]]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The catalogue and the divisions as one transaction read them; answers without asking the database again."""

    catalogue: Directory
    divisions: Gazetteer

    def edition(self, division: str, on: date, pointer: str = "/division") -> Edition:
        """Return the lists in force in a division on a calendar day in China.

        Raises:
            DivisionUnknown: there is no such division.
        """
        insist_on_known(self.divisions, division, pointer)
        return self.catalogue.edition(division, on)

    def resolve(self, division: str, on: date, products: Sequence[ProductIn]) -> Found:
        """Return, per product and in order, what it is in a division on a calendar day in China.

        Raises:
            DivisionUnknown: there is no such division.
        """
        resolver = self.edition(division, on).resolver
        found = (
            resolver.resolve(
                gtin=product.gtin,
                approval_number=product.approval_number,
                trace_codes=product.trace_codes,
                name=product.name,
            )
            for product in products
        )
        return [(one, None if one.drug_id is None else self.catalogue.drug(one.drug_id)) for one in found]


async def read_shelf(session: AsyncSession) -> Shelf:
    """Return the catalogue and the divisions as they are now."""
    known = await versions(session)
    return Shelf(await CATALOGUE.get(session, known), await DIVISIONS.get(session, known))


async def load_list(
    session: AsyncSession, wanted: DrugListIn, *, actor: Actor, now: datetime, shipped: bool = False
) -> LoadedList:
    """Load a list in full, as a new version that ends the version before on its own first day.

    The same content again makes no new version. Aliases of entries whose wording stays are carried over; those that come
    with the list are added.

    Raises:
        DivisionUnknown: there is no such division.
        OutOfDivision: the list is for a division outside the actor's own.
        DrugListInvalid: an entry or the period makes no sense; nothing was loaded.
    """
    await require_known(session, wanted.division)
    if not actor.sees(wanted.division):
        raise OutOfDivision
    if findings := check_list(wanted):
        raise DrugListInvalid(errors=findings[:100])
    digest = _digest(wanted)
    newest = await find_newest(session, wanted.code)
    if newest is not None and newest.digest == digest and not await _new_aliases(session, newest.id, wanted):
        return LoadedList(newest.id, newest.code, newest.version, created=False, aliases_added=0)
    await changed(session, CATALOGUE.name)  # from here on this is the only writer
    newest = await find_newest(session, wanted.code)
    if created := newest is None or newest.digest != digest:
        newest = await _insert_version(session, wanted, newest, digest, now=now, shipped=shipped)
    aliases = await _new_aliases(session, newest.id, wanted)
    if aliases:
        await session.execute(upsert(DrugAlias).on_conflict_do_nothing(), aliases)
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="drug_list.loaded",
        subject=("drug_list", newest.id),
        division=newest.division,
        detail={"code": newest.code, "version": newest.version, "drugs": len(wanted.drugs), "aliases": len(aliases)},
    )
    return LoadedList(newest.id, newest.code, newest.version, created=created, aliases_added=len(aliases))


async def add_alias(
    session: AsyncSession, drug_id: UUID, *, kind: AliasKind, value: str, actor: Actor, now: datetime
) -> AddedAlias:
    """Make an entry known by a further code or name. It holds from the next purchase on.

    Raises:
        NotFound: there is no such entry, or its list is for a division outside the actor's own.
        AliasInvalid: the value cannot be of that kind.
        AliasTaken: another entry of the list has it.
    """
    listing = await find_list_of(session, drug_id)
    if listing is None or not actor.sees(listing.division):
        raise NotFound
    try:
        stored = _stored(kind, value)
    except CodeInvalid as error:
        raise AliasInvalid(errors=[FieldError("/value", "alias_invalid", str(error))]) from error
    drug = (await CATALOGUE.get(session)).drug(
        drug_id
    )  # before the change: what is read between would be held as the new state
    await changed(session, CATALOGUE.name)
    owner = (await aliases_of(session, listing.id)).get((kind, stored))
    if owner is not None and owner != drug_id:
        raise AliasTaken
    if owner is not None:
        return AddedAlias(drug, kind, stored, created=False)
    await session.execute(insert(DrugAlias), [{"drug_id": drug_id, "kind": kind, "value": stored}])
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="drug_alias.added",
        subject=("listed_drug", drug_id),
        division=listing.division,
        detail={"kind": kind.value, "value": stored},
    )
    return AddedAlias(drug, kind, stored, created=True)


async def set_limit(session: AsyncSession, drug_id: UUID, wanted: LimitIn, *, actor: Actor, now: datetime) -> Drug:
    """Say how much of an entry is noticed, in place of what was said before; return it. It holds from the next purchase on.

    Raises:
        NotFound: there is no such entry, or its list is for a division outside the actor's own.
    """
    listing = await find_list_of(session, drug_id)
    if listing is None or not actor.sees(listing.division):
        raise NotFound
    drug = (await CATALOGUE.get(session)).drug(drug_id)  # before the change, as in `add_alias`
    limit = Limit(wanted.most_per_purchase, wanted.most_per_buyer, wanted.within_days)
    await changed(session, CATALOGUE.name)
    entry = {"list_code": listing.code, "wording": drug.wording}
    if limit == Limit(None, None, None):
        await session.execute(delete(DrugLimit).filter_by(**entry))
    else:
        told = {**asdict(limit), "set_at": now}
        statement = upsert(DrugLimit).values(**entry, **told)
        await session.execute(statement.on_conflict_do_update(index_elements=list(entry), set_=told))
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="drug_limit.set",
        subject=("listed_drug", drug_id),
        division=listing.division,
        detail=asdict(limit),
    )
    return replace(drug, limit=None if limit == Limit(None, None, None) else limit)


def check_list(wanted: DrugListIn) -> list[FieldError]:
    """Return what is wrong with a list, with pointers into it."""
    found: list[FieldError] = []
    if wanted.valid_to is not None and wanted.valid_to <= wanted.valid_from:
        found.append(FieldError("/valid_to", "period_invalid", "A list ends after it begins"))
    wordings: set[str] = set()
    owners: dict[tuple[AliasKind, str], int] = {}
    for number, drug in enumerate(wanted.drugs):
        pointer = f"/drugs/{number}"
        try:
            meaning = parse_wording(drug.wording)
        except ValueError:
            found.append(FieldError(f"{pointer}/wording", "wording_unreadable", "No drug's name is left"))
        else:
            if meaning.text in wordings:
                found.append(FieldError(f"{pointer}/wording", "wording_twice", "This entry stands further up"))
            wordings.add(meaning.text)
        for position, alias in enumerate(drug.aliases):
            where = f"{pointer}/aliases/{position}/value"
            try:
                owner = owners.setdefault((alias.kind, _stored(alias.kind, alias.value)), number)
            except CodeInvalid as error:
                found.append(FieldError(where, "alias_invalid", str(error)))
            else:
                if owner != number:
                    found.append(FieldError(where, "alias_taken", "Another entry of this list has it"))
    return found


async def _insert_version(
    session: AsyncSession, wanted: DrugListIn, before: DrugList | None, digest: bytes, *, now: datetime, shipped: bool
) -> DrugList:
    for old in await versions_of(session, wanted.code):
        if old.valid_to is None or old.valid_to > wanted.valid_from:
            # A version that would begin no earlier than the new one never holds: its period becomes empty.
            old.valid_to = max(old.valid_from, wanted.valid_from)
    listing = DrugList(
        id=new_id(),
        version=1 if before is None else before.version + 1,
        shipped=shipped,
        digest=digest,
        loaded_at=now,
        **wanted.model_dump(exclude={"drugs"}),
    )
    session.add(listing)
    await session.flush()
    rows = [
        {"id": new_id(), "list_id": listing.id, "position": position, **drug.model_dump(exclude={"aliases"})}
        for position, drug in enumerate(wanted.drugs, 1)
    ]
    await session.execute(insert(ListedDrug), rows)
    if before is not None:
        ids = {row["wording"]: row["id"] for row in rows}
        old_ids = {drug_id: wording for wording, drug_id in (await drug_ids_of(session, before.id)).items()}
        given = {(alias.kind, _stored(alias.kind, alias.value)) for drug in wanted.drugs for alias in drug.aliases}
        carried = [
            {"drug_id": ids[old_ids[owner]], "kind": kind, "value": value}
            for (kind, value), owner in (await aliases_of(session, before.id)).items()
            if old_ids[owner] in ids
            and (kind, value) not in given  # what the list itself says goes before what was said
        ]
        if carried:
            await session.execute(insert(DrugAlias), carried)
    return listing


async def _new_aliases(session: AsyncSession, list_id: UUID, wanted: DrugListIn) -> list[dict[str, object]]:
    """Return the rows for aliases that come with the list and are not yet there.

    Raises:
        DrugListInvalid: an alias was meanwhile given to another entry.
    """
    given = [
        (drug.wording, alias.kind, _stored(alias.kind, alias.value)) for drug in wanted.drugs for alias in drug.aliases
    ]
    if not given:
        return []
    ids = await drug_ids_of(session, list_id)
    there = await aliases_of(session, list_id)
    for wording, kind, value in given:
        if there.get((kind, value), ids[wording]) != ids[wording]:
            raise DrugListInvalid(f"An alias of {wording} belongs to another entry of the list in force")
    return [
        {"drug_id": ids[wording], "kind": kind, "value": value}
        for wording, kind, value in dict.fromkeys(given)
        if (kind, value) not in there
    ]


def _stored(kind: AliasKind, value: str) -> str:
    stored = normal_alias(kind, value)
    if len(stored) > _MOST_VALUE:
        raise CodeInvalid(f"an alias has at most {_MOST_VALUE} characters")
    return stored


def _digest(wanted: DrugListIn) -> bytes:
    return hashlib.sha256(wanted.model_dump_json(exclude={"drugs": {"__all__": {"aliases"}}}).encode()).digest()
