"""Recording purchases: one verb for one till's single purchase and for ten thousand rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.catalogue.directory import Directory
from app.catalogue.misses import misses_of
from app.catalogue.queries import CATALOGUE
from app.catalogue.rows import Sighting, note_sightings
from app.catalogue.rules import Resolution, Resolver
from app.core import jobs
from app.core.clock import china_day
from app.core.errors import AppError, Conflict, FieldError, Forbidden, Gone, InvalidRequest
from app.core.ids import new_id
from app.core.sealing import HashKind, Keyring
from app.core.snapshots import versions
from app.people.rules import tells_identity
from app.people.service import ensure_people
from app.pharmacies.queries import PHARMACIES
from app.pharmacies.rules import PharmacyFacts
from app.questionnaires.queries import QUESTIONNAIRES
from app.questionnaires.rules import FormBook
from app.regimes.queries import REGIMES
from app.regimes.rules import RegimeCalendar, RegimeKind
from app.registrations import rows as stored
from app.registrations.ahead import Ahead
from app.registrations.chain import Receipt, content_of
from app.registrations.drafts import Draft, Named, Recorded, Submission
from app.registrations.limits import note_repeats
from app.registrations.receipts import Heads, add_links
from app.registrations.rules import (
    DOUBTS,
    People,
    flags_of,
    judge_form,
    large_lines,
    missing_fields,
    read_people,
    trace_findings,
)
from app.registrations.schemas import RegistrationIn

RECORDED = jobs.declare("registrations.recorded")
"""Follows new registrations; payload `{"registration_ids": […]}`, at most 500 of them."""
_IDS_PER_JOB = 500


class RegistrationNotRequired(InvalidRequest):
    """Nothing is registered here today, or nothing on the receipt is a listed drug. The purchase was not stored."""

    code, title = "registration_not_required", "This purchase need not, and so may not, be registered"


class ClientReferenceConflict(Conflict):
    """The pharmacy has used this `client_reference` for a purchase with other content. Nothing was changed."""

    code, title = "client_reference_conflict", "This reference names another purchase"


class PharmacyClosed(Gone):
    """The pharmacy has closed; its tills cannot register any more."""

    code, title = "pharmacy_closed", "The pharmacy is closed"


class PharmacyNotYours(Forbidden):
    """The key may not speak for the pharmacy named, or a chain's key named none."""

    code, title = "pharmacy_not_yours", "This key does not speak for that pharmacy"


Outcome = Recorded | AppError


@dataclass(frozen=True, slots=True)
class Facts:
    """Reference data as this transaction reads it, and what it met that no list knows."""

    catalogue: Directory
    calendar: RegimeCalendar
    directory: Mapping[UUID, PharmacyFacts]
    questionnaires: FormBook
    unknown: Counter[Sighting] = field(default_factory=Counter)


async def record_registrations(
    session: AsyncSession,
    submissions: Sequence[Submission],
    *,
    now: datetime,
    keyring: Keyring,
    heads: Heads | None = None,
    meanwhile: Callable[[Iterator[None]], None] | None = None,
) -> list[Outcome]:
    """Record purchases; return what became of each, in order.

    An outcome that is an error (`ClientReferenceConflict`, `InvalidRequest`, `RegistrationNotRequired`, `PharmacyClosed`,
    `PharmacyNotYours`) concerns that row alone: it was not stored, and the others were not held up. `now` is the server's time of
    receipt. About ten statements, whatever the number of rows. `meanwhile` is called with what can be done while the database writes,
    step by step; it need not be done.
    """
    facts = await read_facts(session)
    named = [_name(submission, facts.directory, keyring) for submission in submissions]
    earlier = await stored.find_by_reference(session, [row.name for row in named if isinstance(row, Named)])
    drafts: dict[tuple[UUID, str], Draft] = {}
    opened = [_open(row, earlier, drafts, facts, now) if isinstance(row, Named) else row for row in named]
    await note_repeats(session, list(drafts.values()), facts.catalogue, keyring=keyring)
    ahead = Ahead(
        list(drafts.values()),
        lambda draft, receipt: recorded(draft, receipt, now, facts.catalogue, duplicate=False),
        heads=heads,
        now=now,
        keyring=keyring,
    )
    if meanwhile is not None and drafts:
        meanwhile(ahead.steps())
    winners = await _keep(session, list(drafts.values()), now, keyring)
    kept = [draft for draft in drafts.values() if draft.id in winners]
    entries = [ahead.entries[draft.id] for draft in kept]
    new = ahead.settle(await add_links(session, entries, now=now, keyring=keyring, heads=heads, early=ahead.links()))
    if meanwhile is not None and ahead.is_behind:
        meanwhile(ahead.steps())
    await _follow(session, kept, now)
    await note_sightings(session, facts.unknown)
    # Whoever took a name between our look and our insert has committed by now; what it stored decides.
    rivals = await stored.find_by_reference(session, [n for n, draft in drafts.items() if draft.id not in winners])

    def settle(row: Named) -> Outcome:
        draft = drafts[row.name]
        if draft.id not in winners:
            return _compare(rivals[row.name], row.digest)
        if row.digest != draft.named.digest:
            return ClientReferenceConflict()
        return new[draft.id] if row is draft.named else replace(new[draft.id], duplicate=True, told=None)

    return [settle(row) if isinstance(row, Named) else row for row in opened]


async def read_facts(session: AsyncSession) -> Facts:
    """Return the reference data, held in memory while it is what the transaction would read."""
    known = await versions(session)
    return Facts(
        catalogue=await CATALOGUE.get(session, known),
        calendar=await REGIMES.get(session, known),
        directory=await PHARMACIES.get(session, known),
        questionnaires=await QUESTIONNAIRES.get(session, known),
    )


def _name(submission: Submission, directory: Mapping[UUID, PharmacyFacts], keyring: Keyring) -> Named | AppError:
    allowed = submission.actor.pharmacy_ids
    wanted = submission.row.pharmacy_id
    if wanted is None and len(allowed) == 1:
        wanted = next(iter(allowed))
    if wanted is None:
        return PharmacyNotYours(errors=[FieldError("/pharmacy_id", "required", "A chain's key must name the pharmacy")])
    if wanted not in allowed or wanted not in directory:
        return PharmacyNotYours(errors=[FieldError("/pharmacy_id", "pharmacy_not_yours", PharmacyNotYours.title)])
    content = content_of(submission.row)
    return Named(
        submission,
        directory[wanted],
        (wanted, submission.row.client_reference),
        content,
        keyring.hash(HashKind.CONTENT, content),
    )


def _open(
    row: Named,
    earlier: Mapping[tuple[UUID, str], stored.Earlier],
    drafts: dict[tuple[UUID, str], Draft],
    facts: Facts,
    now: datetime,
) -> Outcome | Named:
    """Return what became of the row if that is clear; else draft it, and return it for `settle`."""
    if row.name in earlier:
        return _compare(earlier[row.name], row.digest)
    if row.name not in drafts:
        judged = judge(row, facts, now)
        if isinstance(judged, AppError):
            return judged
        drafts[row.name] = judged
    return row


def _compare(earlier: stored.Earlier, digest: bytes) -> Outcome:
    if earlier.digest != digest:
        if digest not in earlier.former:
            return ClientReferenceConflict()
        earlier = earlier.former[digest]
    return Recorded(
        id=earlier.id,
        duplicate=True,
        received_at=earlier.received_at,
        revision=earlier.revision,
        flags=earlier.flags,
        warnings=earlier.warnings,
        lines=earlier.lines,
        is_newest=earlier.is_newest,
    )


def judge(named: Named, facts: Facts, now: datetime) -> Draft | AppError:
    """Return what will be kept of a row that came at `now`, or why nothing will."""
    row, pharmacy = named.submission.row, named.pharmacy
    day = china_day(row.purchased_at)
    if pharmacy.is_closed_on(day):
        return PharmacyClosed()
    people = read_people(row, now)
    errors = [*judge_form(row, now), *(people if isinstance(people, list) else ())]
    if errors or isinstance(people, list):
        return InvalidRequest(errors=errors)
    regime = facts.calendar.regime_on(pharmacy.division, day)
    if regime.state is RegimeKind.COUNTS:
        return RegistrationNotRequired("Only anonymous sales counts are sent here on that day")
    resolutions = _resolve(row, facts.catalogue.resolver_for(pharmacy.division, day))
    if not pharmacy.sandbox:
        _note_unknown(facts.unknown, named, people, resolutions, day)
    listed = [line for line, found in enumerate(resolutions) if found.drug_id is not None]
    if regime.state is not RegimeKind.REGISTER_ALL and not listed:
        return RegistrationNotRequired("No item is on the catalogue")
    told = facts.questionnaires.asked(pharmacy.division, day, regime.asking).judge(row.answers)
    if told.errors:
        return InvalidRequest(errors=told.errors)
    lacking, unlike = trace_findings(row, day, listed, regime.required)
    missing = [*missing_fields(row, people, regime.required), *told.missing, *lacking]
    large = _large(row, resolutions, facts.catalogue) if facts.catalogue.limits_purchases else []
    flags = flags_of(
        row,
        now,
        incomplete=bool(missing),
        suspended=regime.state is RegimeKind.SUSPENDED,
        exposed=told.is_clue,
        large=bool(large),
        untraced=bool(lacking or unlike),
    )
    warnings = [*missing, *people.warnings, *told.warnings, *_doubts(resolutions), *unlike, *large]
    return Draft(named, people, regime, resolutions, flags, warnings, new_id())


def _note_unknown(
    unknown: Counter[Sighting], named: Named, people: People, resolutions: Sequence[Resolution], day: date
) -> None:
    """Count what no list knows of a purchase, also of one that is refused because none of its lines is listed."""
    for item, found in zip(named.submission.row.items, resolutions, strict=True):
        if found.drug_id is None or found.unknown:
            for miss in misses_of(item, found, lambda text: _names(people, text)):
                unknown[Sighting(named.pharmacy.id, named.pharmacy.division, day, miss)] += 1


def _names(people: People, text: str) -> bool:
    patient = people.patient
    return tells_identity(text, people.buyer.identity) or (
        patient is not None and tells_identity(text, patient.identity)
    )


def _large(row: RegistrationIn, resolutions: Sequence[Resolution], catalogue: Directory) -> list[FieldError]:
    drugs = []
    for line, found in enumerate(resolutions):
        if found.drug_id is not None:
            limit = catalogue.drug(found.drug_id).limit
            drugs.append((line, found.drug_id, None if limit is None else limit.most_per_purchase))
    return large_lines(row, drugs)


def _doubts(resolutions: Sequence[Resolution]) -> Iterator[FieldError]:
    for line, found in enumerate(resolutions):
        for warning in found.warnings:
            yield FieldError(f"/items/{line}", warning, DOUBTS[warning])


def _resolve(row: RegistrationIn, resolver: Resolver) -> list[Resolution]:
    return [
        resolver.resolve(
            gtin=item.gtin, approval_number=item.approval_number, trace_codes=item.trace_codes or (), name=item.name
        )
        for item in row.items
    ]


async def _keep(session: AsyncSession, drafts: Sequence[Draft], now: datetime, keyring: Keyring) -> set[UUID]:
    """Store people and registrations; return the ids of those that nobody else had stored."""
    if not drafts:
        return set()
    of_buyers = [(draft.people.buyer, draft.named.pharmacy.sandbox) for draft in drafts]
    of_patients = [(d.people.patient, d.named.pharmacy.sandbox) for d in drafts if d.people.patient is not None]
    presented = [*of_buyers, *of_patients]
    invented = {index for index, (_, sandbox) in enumerate(presented) if sandbox}
    ids = iter(await ensure_people(session, [one for one, _ in presented], now=now, keyring=keyring, invented=invented))
    for draft in drafts:
        draft.buyer_id = next(ids)
    for draft in drafts:
        if draft.people.patient is not None:
            draft.patient_id = next(ids)
    return await stored.insert_registrations(session, drafts, now)


async def _follow(session: AsyncSession, kept: Sequence[Draft], now: datetime) -> None:
    """Store what follows new registrations: their lines, their audit entries and the job."""
    await stored.insert_items(session, kept)
    await audit.record_all(session, _entries(kept, now))
    # Nothing follows what a sandbox sends: no match, no alert, and so no reward and no event.
    order = iter(draft.id for draft in kept if not draft.named.pharmacy.sandbox)
    payloads = []
    while chunk := list(islice(order, _IDS_PER_JOB)):
        payloads.append({"registration_ids": chunk})
    await jobs.enqueue(session, RECORDED, payloads)


def _entries(drafts: Sequence[Draft], now: datetime) -> list[dict[str, object]]:
    """One entry per key and pharmacy: the registration itself says when it came and through which key."""
    groups: dict[tuple[UUID | None, UUID], list[Draft]] = {}
    for draft in drafts:
        groups.setdefault((draft.named.submission.actor.key_id, draft.named.pharmacy.id), []).append(draft)
    return [
        audit.entry(
            actor=group[0].named.submission.actor,
            now=now,
            action="registrations.recorded",
            subject=("pharmacy", pharmacy_id),
            division=group[0].named.pharmacy.division,
            detail={"count": len(group), "first": str(group[0].id), "last": str(group[-1].id)},
        )
        for (_, pharmacy_id), group in groups.items()
    ]


def recorded(
    draft: Draft, receipt: Receipt, received_at: datetime, catalogue: Directory, *, duplicate: bool
) -> Recorded:
    """Return the outcome of a draft that is kept."""
    return Recorded(
        id=draft.id,
        duplicate=duplicate,
        received_at=received_at,
        revision=receipt.link.revision,
        flags=draft.flags,
        warnings=draft.warnings,
        lines={
            line: (found.drug_id, catalogue.drug(found.drug_id).wording)
            for line, found in enumerate(draft.resolutions)
            if found.drug_id is not None
        },
        receipt=receipt,
    )
