"""THE STORY: what follows a registration, a case, a withdrawal.

A till's purchase or an authority's list is committed together with a job. A worker then runs one of the tails below, each in
one transaction: bring the matches into line, judge what cases told of their purchases, raise the alerts – and publish, which is
the last step because it takes a lock. If anything fails, nothing of it happened, and the job is tried again; every step is
harmless when repeated.

    registration committed,
    corrected or voided ────┐
                            ├─▶ rematch ─▶ judge declared purchases ─▶ raise alerts ─▶ publish events
    case changed, ──────────┤          ▲                                     ┆
    match reviewed ─────────┘          │                                     └┄┄▶ evaluate rewards
    standing or roster changed ────────┘

Whoever looks for the sick is told first. What a pharmacy earns is worked out by a job of its own, which the tail leaves behind and which gives
way to tails that are due (docs/decisions/told-before-paid.md).

Matching runs after the commit, from a job that each side enqueues: whichever of two simultaneous facts commits last sees the other.
A withdrawal is no special way: a discarded case, a corrected or voided registration is a fact like others, under which matches
may no longer hold.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Row, Uuid, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.alerts.rules import AlertKind, Severity, severity_of_match
from app.alerts.service import NewAlert, raise_alerts
from app.capture.queries import cases_declared_at
from app.capture.service import judge_purchases
from app.capture.silences import note_reports
from app.cases.models import Case
from app.cases.queries import classified_since
from app.cases.service import CHANGED as CASES_CHANGED
from app.core.handlers import Job, Registry
from app.core.ids import read_id
from app.core.sealing import Keyring
from app.matching.queries import cases_matched_at, cases_matched_with, cases_with_matches, find_stored
from app.matching.rules import COUNTING, MatchRole
from app.matching.service import REVIEWED as MATCHES_REVIEWED
from app.matching.service import Change, follow_reviews, rematch
from app.pharmacies.models import CHANGED as PHARMACIES_CHANGED
from app.registrations.models import Registration
from app.registrations.queries import REAL
from app.registrations.rules import is_clue
from app.registrations.schemas import Flag
from app.registrations.service import RECORDED as REGISTRATIONS_RECORDED
from app.rewards.service import DUE as REWARDS_DUE
from app.rewards.service import evaluate_cases, evaluate_later


@dataclass(frozen=True, slots=True)
class Flow:
    """The tails, with the keys that they need."""

    keyring: Keyring

    def register(self, registry: Registry) -> None:
        """Say which jobs the tails work on."""
        registry.transactional(REGISTRATIONS_RECORDED, self.after_registrations, batch=20)
        # A province's list is followed in few large steps, of which one looks for matches while the other writes down alerts:
        # each step reads recipients once, and takes the lock of events once. A short list is shared by two.
        registry.transactional(CASES_CHANGED, self.after_cases, batch=50, concurrency=2, timeout_seconds=180.0)
        registry.transactional(MATCHES_REVIEWED, self.after_reviews, batch=20)
        registry.transactional(PHARMACIES_CHANGED, self.after_pharmacies, batch=20)
        urgent = (REGISTRATIONS_RECORDED, CASES_CHANGED, MATCHES_REVIEWED, PHARMACIES_CHANGED)
        registry.transactional(REWARDS_DUE, self.evaluate_rewards, batch=50, timeout_seconds=180.0, gives_way_to=urgent)

    async def after_registrations(self, session: AsyncSession, jobs: Sequence[Job], *, now: datetime) -> None:
        """Follow new, corrected and voided registrations: their matches, the alerts of these, the clues among them.

        Rewards fall due for all cases that are or were matched: a correction may change a reward and not the match.
        """
        ids = _ids(jobs, "registration_ids")
        changes = await rematch(session, registration_ids=ids, now=now, keyring=self.keyring)
        cases = await cases_matched_with(session, ids)
        await evaluate_later(session, cases)
        net = await judge_purchases(session, cases, now=now)
        await note_reports(session, ids)
        alerts = [*await _clues(session, ids), *await _news_of(session, changes), *net.raised]
        await raise_alerts(session, alerts, ended=net.ended, now=now, keyring=self.keyring)

    async def after_cases(self, session: AsyncSession, jobs: Sequence[Job], *, now: datetime) -> None:
        """Follow new and changed cases. Rewards fall due for all that have matches: confirmation alone changes them.

        So does what is told: a match with a suspected case that is confirmed now is more urgent news than it was.
        """
        await self.follow_cases(session, _ids(jobs, "case_ids"), now=now)

    async def follow_cases(self, session: AsyncSession, ids: Sequence[UUID], *, now: datetime) -> None:
        """Bring everything that follows from these cases into line, whether or not anything has changed in them."""
        changes = await rematch(session, case_ids=ids, now=now, keyring=self.keyring)
        matched = await cases_with_matches(session, ids)
        await evaluate_later(session, matched)
        net = await judge_purchases(session, ids, now=now)
        standing = await _reclassified(session, matched, changes)
        alerts = [*await _news_of(session, [*changes, *standing]), *net.raised]
        await raise_alerts(session, alerts, ended=net.ended, now=now, keyring=self.keyring)

    async def after_reviews(self, session: AsyncSession, jobs: Sequence[Job], *, now: datetime) -> None:
        """Follow what reviewers said of two people, in all their matches."""
        reviews = [UUID(job.payload["review_id"]) for job in jobs]
        registrations, changes = await follow_reviews(session, reviews, now=now, keyring=self.keyring)
        cases = await cases_matched_with(session, registrations)
        await evaluate_later(session, cases)
        net = await judge_purchases(session, cases, now=now)
        alerts = [*await _news_of(session, changes), *net.raised]
        await raise_alerts(session, alerts, ended=net.ended, now=now, keyring=self.keyring)

    async def after_pharmacies(self, session: AsyncSession, jobs: Sequence[Job], *, now: datetime) -> None:
        """Follow a new standing or roster: the rewards of all cases that were matched there, as far as none is granted.

        And what was told of purchases there: a pharmacy that was closed had nothing to register.
        """
        pharmacies = [UUID(job.payload["pharmacy_id"]) for job in jobs]
        await evaluate_later(session, await cases_matched_at(session, pharmacies))
        net = await judge_purchases(session, await cases_declared_at(session, pharmacies), now=now)
        await raise_alerts(session, net.raised, ended=net.ended, now=now, keyring=self.keyring)

    async def evaluate_rewards(self, session: AsyncSession, jobs: Sequence[Job], *, now: datetime) -> None:
        """Work out what the pharmacies of these cases earn, however many tails have asked for it meanwhile."""
        await evaluate_cases(session, _ids(jobs, "case_ids"), now=now)


def _ids(jobs: Iterable[Job], name: str) -> list[UUID]:
    return list(dict.fromkeys(read_id(value) for job in jobs for value in job.payload[name]))


def _among(column: InstrumentedAttribute[UUID], ids: Collection[UUID]) -> ColumnElement[bool]:
    # One parameter however many ids there are: a statement can have 32,767.
    return column == func.any(bindparam(None, list(ids), ARRAY(Uuid)))


async def _clues(session: AsyncSession, ids: Collection[UUID]) -> list[NewAlert]:
    """Return an alert for each registration that a person must act on today. Once raised it stays, whatever is corrected."""
    rows = await session.scalars(
        select(Registration).where(
            _among(Registration.id, ids),
            REAL,
            Registration.voided_at.is_(None),
            Registration.flags.overlap([Flag.FEVER.value, Flag.EXPOSURE.value]),
        )
    )
    return [
        NewAlert(
            key=f"clue.reported:{row.id}",
            kind=AlertKind.CLUE_REPORTED,
            severity=Severity.WARNING,
            division=row.division,
            registration_id=row.id,
            pharmacy_id=row.pharmacy_id,
            person_id=row.patient_id or row.buyer_id,
            facts={
                "buyer_id": row.buyer_id,
                "patient_id": row.patient_id,
                "flags": row.flags,
                "purchased_at": row.purchased_at.isoformat(),
                "received_at": row.received_at.isoformat(),
            },
        )
        for row in rows
        if is_clue(row.flags)
    ]


async def _reclassified(session: AsyncSession, case_ids: Collection[UUID], changes: Sequence[Change]) -> list[Change]:
    """Return the matches that go on counting, of cases that were classified otherwise before: whoever knows of them is told.

    Also where that was told before: the alert's key, which names the turn of the classification, makes it harmless.
    """
    anew = [case_id for case_id, since in (await classified_since(session, case_ids)).items() if since > 1]
    stored = await find_stored(session, case_ids=anew) if anew else {}
    changed = {change.match_id for change in changes}
    return [
        Change(match.id, *key, match.strength, match.status, match.turn, match.division)
        for key, match in stored.items()
        if match.status in COUNTING and match.id not in changed
    ]


async def _news_of(session: AsyncSession, changes: Sequence[Change]) -> list[NewAlert]:
    """Return an alert for each match that began to count, was withdrawn, or counts with a case of another classification."""
    if not changes:
        return []
    # The columns that are told, not whole rows: a list of a hundred thousand cases makes tens of thousands of matches.
    registrations = {
        row.id: row
        for row in await session.execute(
            select(
                *(Registration.id, Registration.pharmacy_id, Registration.buyer_id, Registration.patient_id),
                *(Registration.purchased_at, Registration.received_at),
            ).where(_among(Registration.id, {change.registration_id for change in changes}))
        )
    }
    cases = {
        row.id: row
        for row in await session.execute(
            select(Case.id, Case.case_number, Case.disease, Case.classification).where(
                _among(Case.id, {change.case_id for change in changes})
            )
        )
    }
    since = await classified_since(session, cases.keys())
    return [
        _news(change, registrations[change.registration_id], cases[change.case_id], since[change.case_id])
        for change in changes
    ]


def _news(change: Change, registration: Row[*tuple[Any, ...]], case: Row[*tuple[Any, ...]], since: int) -> NewAlert:
    kind = AlertKind.CASE_MATCHED if change.counts else AlertKind.MATCH_WITHDRAWN
    patient = registration.patient_id if change.role is MatchRole.PATIENT else None
    # Each turn of the match is told once, and of one that counts each turn of the case's classification.
    turns = f"{change.turn}:{since}" if change.counts else f"{change.turn}"
    return NewAlert(
        key=f"{kind.value}:{change.match_id}:{turns}",
        kind=kind,
        severity=severity_of_match(case.classification, counts=change.counts),
        division=change.division,
        disease=case.disease,
        registration_id=change.registration_id,
        pharmacy_id=registration.pharmacy_id,
        case_id=change.case_id,
        match_id=change.match_id,
        person_id=patient or registration.buyer_id,
        facts={
            "case_number": case.case_number,
            "classification": case.classification.value,
            "role": change.role.value,
            "strength": change.strength.value,
            "buyer_id": registration.buyer_id,
            "patient_id": registration.patient_id,
            "purchased_at": registration.purchased_at.isoformat(),
            "received_at": registration.received_at.isoformat(),
        },
    )
