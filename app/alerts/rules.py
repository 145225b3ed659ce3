"""How urgent an alert is, and how long an answer may take."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from app.cases.rules import Classification
from app.webhooks.kinds import EventKind, declare


class AlertKind(StrEnum):
    """What an alert is about."""

    CASE_MATCHED = "case.matched"
    CLUE_REPORTED = "clue.reported"
    MATCH_WITHDRAWN = "match.withdrawn"
    PURCHASE_MISSED = "purchase.missed"
    PHARMACY_SILENT = "pharmacy.silent"


class Severity(StrEnum):
    """How much depends on an answer."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """Where an alert stands."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


ALLOWED: Mapping[AlertState, frozenset[AlertState]] = {
    AlertState.RAISED: frozenset({AlertState.ACKNOWLEDGED, AlertState.CLOSED}),
    AlertState.ACKNOWLEDGED: frozenset({AlertState.CLOSED}),
    AlertState.CLOSED: frozenset(),
}
"""Which state may follow which."""


EVENTS: Mapping[AlertKind, EventKind] = {
    AlertKind.CASE_MATCHED: declare(
        "case.matched",
        "A registration concerns a person on a case list: where and when the person was. Again when the case is classified anew.",
    ),
    AlertKind.CLUE_REPORTED: declare(
        "clue.reported", "A buyer or patient had fever, or was in or in contact with an affected place: act today."
    ),
    AlertKind.MATCH_WITHDRAWN: declare(
        "match.withdrawn",
        "A match that was told of before no longer holds: the case was discarded, the facts changed, or a reviewer said so.",
    ),
    AlertKind.PURCHASE_MISSED: declare(
        "purchase.missed",
        "A case told of a purchase that had to be registered and was not; told again, `closed`, when that no longer holds.",
    ),
    AlertKind.PHARMACY_SILENT: declare(
        "pharmacy.silent",
        "A pharmacy that usually reports has stopped; told again, `closed`, when it has ended.",
    ),
}
"""The event by which subscribers learn of an alert of each kind."""

_DEADLINES = {
    # A confirmed case's contacts are to be traced within hours; a clue is to be followed up on the same day. (Choice.)
    Severity.CRITICAL: timedelta(hours=2),
    Severity.WARNING: timedelta(hours=24),
    Severity.INFO: timedelta(hours=72),
}


def severity_of_match(classification: Classification, *, counts: bool) -> Severity:
    """Return how urgent the news of a match is: most with a confirmed case, least where it ceased to count."""
    if not counts:
        return Severity.INFO
    return Severity.CRITICAL if classification is Classification.CONFIRMED else Severity.WARNING


def severity_of_miss(classification: Classification) -> Severity:
    """Return how urgent a miss is: of a case that is confirmed or probable, somebody must go to the pharmacy today."""
    sure = classification in (Classification.CONFIRMED, Classification.PROBABLE)
    return Severity.WARNING if sure else Severity.INFO


def deadline_after(severity: Severity) -> timedelta:
    """Return how long an answer may take."""
    return _DEADLINES[severity]
