"""Correcting and voiding registrations: nothing is edited silently, both stay visible."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.catalogue.rows import note_sightings
from app.core import jobs
from app.core.errors import AppError, Conflict, FieldError, InvalidRequest, NotFound
from app.core.sealing import HashKind, Keyring
from app.people.plain import naming
from app.people.queries import open_people
from app.people.rules import Identity
from app.people.service import ensure_people
from app.registrations import revisions
from app.registrations.chain import Entry, LinkKind, Receipt, content_of, correction_content, void_content
from app.registrations.drafts import Draft, Named, Recorded, Submission
from app.registrations.limits import note_repeats
from app.registrations.receipts import add_links, find_receipts, receipt_of
from app.registrations.revisions import Former, Held
from app.registrations.rows import find_by_reference, find_lines
from app.registrations.schemas import CorrectionIn, RegistrationIn, VoidIn, named
from app.registrations.service import RECORDED, Facts, judge, read_facts, recorded

MOST_REVISIONS = 100
"""Of one registration."""


class RegistrationVoided(Conflict):
    """The registration was voided, so it cannot be corrected; register the purchase anew under another reference."""

    code, title = "registration_voided", "The registration was voided"


class TooManyCorrections(Conflict):
    """The registration has been corrected 99 times already. Nothing was changed; something sends in a loop."""

    code, title = "too_many_corrections", "The registration has too many revisions"


@dataclass(frozen=True, slots=True)
class Voided:
    """A registration that does not hold, and since when."""

    id: UUID
    revision: int
    voided_at: datetime
    reason: str
    receipt: Receipt


async def correct_registration(
    session: AsyncSession,
    registration_id: UUID,
    correction: CorrectionIn,
    *,
    actor: Actor,
    now: datetime,
    keyring: Keyring,
) -> tuple[Recorded, RegistrationIn]:
    """Make a new revision of a registration of the actor's pharmacy; return it, and the purchase as it stands in it.

    It is judged by the rules that the first revision was judged by, at the time of the first receipt. A correction with content
    and reason of one that was made before, or with the content that stands there, changes nothing and gets the same answer.

    Raises:
        NotFound: there is none, or it is another pharmacy's.
        RegistrationVoided: it does not hold any more.
        TooManyCorrections: there are a hundred revisions already.
        InvalidRequest, RegistrationNotRequired, PharmacyClosed: as for a new registration.
    """
    held = await _hold(session, registration_id, actor)
    row = _named_as_before(correction, held)
    content = content_of(row)
    digest = keyring.hash(HashKind.CONTENT, content)
    former = await revisions.find_former(session, held.id)
    if _is_made(correction.reason, digest, held, former):
        return await _as_answered(session, held, digest, keyring), row
    if held.voided_at is not None:
        raise RegistrationVoided
    if held.revision >= MOST_REVISIONS:
        raise TooManyCorrections
    facts = await read_facts(session)
    pharmacy = replace(facts.directory[held.pharmacy_id], division=held.division)  # as it was at the time of receipt
    name = (held.pharmacy_id, held.client_reference)
    draft = _judge(Named(Submission(actor, row), pharmacy, name, content, digest), facts, held)
    identities = [person.identity for person in (draft.people.buyer, draft.people.patient) if person is not None]
    await _check_reason(session, correction.reason, held, identities, keyring)
    await note_repeats(session, [draft], facts.catalogue, keyring=keyring)
    await _ensure_people(session, draft, now, keyring)
    await revisions.replace(session, held, draft, correction.reason, actor=actor, now=now)
    await note_sightings(session, facts.unknown)
    sent = correction_content(correction, row)
    receipt = await _follow(session, held, held.revision + 1, LinkKind.CORRECTED, sent, actor, now, keyring)
    return recorded(draft, receipt, held.received_at, facts.catalogue, duplicate=False), row


async def void_registration(
    session: AsyncSession, registration_id: UUID, void: VoidIn, *, actor: Actor, now: datetime, keyring: Keyring
) -> Voided:
    """Say that a registration of the actor's pharmacy does not hold. Again changes nothing: the first reason stays.

    Raises:
        NotFound: there is none, or it is another pharmacy's.
        InvalidRequest: the reason names buyer or patient.
    """
    held = await _hold(session, registration_id, actor)
    if held.voided_at is not None:
        receipts = (await find_receipts(session, [held.id], keyring))[held.id]
        # Nothing follows a void, so its receipt is the last one.
        return Voided(held.id, held.revision, held.voided_at, held.void_reason or "", receipts[-1])
    await _check_reason(session, void.reason, held, (), keyring)
    await revisions.mark_void(session, held, void.reason, now=now)
    receipt = await _follow(session, held, held.revision, LinkKind.VOIDED, void_content(void), actor, now, keyring)
    return Voided(held.id, held.revision, now, void.reason, receipt)


async def _hold(session: AsyncSession, registration_id: UUID, actor: Actor) -> Held:
    held = await revisions.hold(session, registration_id, actor.pharmacy_ids)
    if held is None:
        raise NotFound
    return held


def _named_as_before(correction: CorrectionIn, held: Held) -> RegistrationIn:
    """Return the purchase as it should have been sent, under the name that it has."""
    told = correction.registration
    errors = [
        FieldError(f"/registration/{name}", "name_differs", "A registration keeps its name; leave it out or repeat it")
        for name, kept in (("client_reference", held.client_reference), ("pharmacy_id", held.pharmacy_id))
        if getattr(told, name) not in (None, kept)
    ]
    if errors:
        raise InvalidRequest(errors=errors)
    return named(told, held.client_reference)


def _is_made(reason: str, digest: bytes, held: Held, former: Sequence[Former]) -> bool:
    """Say whether nothing is to be done: this stands there, or was made of it before and has been corrected since.

    A till that was offline sends what it has again, in any order; the second of two corrections must not be undone by the
    first one's repetition. Whoever wants the earlier content back gives another reason.
    """
    if digest == held.content_digest:
        return True
    return any((before.reason, after.content_digest) == (reason, digest) for before, after in pairwise(former))


async def _as_answered(session: AsyncSession, held: Held, digest: bytes, keyring: Keyring) -> Recorded:
    """Return the answer that this content got when it came."""
    name = (held.pharmacy_id, held.client_reference)
    earlier = (await find_by_reference(session, [name]))[name]
    earlier = earlier if earlier.digest == digest else earlier.former[digest]
    receipts = (await find_receipts(session, [held.id], keyring))[held.id]
    return Recorded(
        id=held.id,
        duplicate=True,
        received_at=held.received_at,
        revision=earlier.revision,
        flags=earlier.flags,
        warnings=earlier.warnings,
        lines=earlier.lines if not earlier.is_newest else (await find_lines(session, [held.id]))[held.id],
        is_newest=earlier.is_newest,
        receipt=receipt_of(receipts, earlier.revision),
    )


def _judge(named: Named, facts: Facts, held: Held) -> Draft:
    judged = judge(named, facts, held.received_at)
    if isinstance(judged, AppError):
        judged.errors = tuple(
            FieldError("/registration" + error.pointer, error.code, error.detail) for error in judged.errors
        )
        raise judged
    judged.id = held.id
    return judged


async def _check_reason(
    session: AsyncSession, reason: str, held: Held, identities: Iterable[Identity], keyring: Keyring
) -> None:
    known = (await open_people(session, held.people, keyring)).values()
    if errors := naming("/reason", "reason_contains_identity", reason, (*known, *identities)):
        raise InvalidRequest(errors=errors)


async def _ensure_people(session: AsyncSession, draft: Draft, now: datetime, keyring: Keyring) -> None:
    people = [one for one in (draft.people.buyer, draft.people.patient) if one is not None]
    draft.buyer_id, *patient = await ensure_people(
        session, people, now=now, keyring=keyring, invented=range(len(people)) if draft.named.pharmacy.sandbox else ()
    )
    draft.patient_id = patient[0] if patient else None


async def _follow(
    session: AsyncSession,
    held: Held,
    revision: int,
    kind: LinkKind,
    content: bytes,
    actor: Actor,
    now: datetime,
    keyring: Keyring,
) -> Receipt:
    """Write the audit entry, the job that matches anew, and the link in the pharmacy's chain."""
    await audit.record(
        session,
        actor=actor,
        now=now,
        action=f"registration.{kind.value}",
        subject=("registration", held.id),
        division=held.division,
        detail={"revision": revision},
    )
    await jobs.enqueue(session, RECORDED, [{"registration_ids": [held.id]}])
    entry = Entry(held.pharmacy_id, held.id, held.client_reference, revision, kind, content)
    return (await add_links(session, [entry], now=now, keyring=keyring))[held.id]
