"""The one table: which role may do what; and whose divisions it may see."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from app.core.ratelimit import Budget


class Role(StrEnum):
    """What an account is."""

    PHARMACY = "pharmacy"
    HEALTH_AUTHORITY = "health_authority"
    EPIDEMIOLOGIST = "epidemiologist"
    OFFICIAL = "official"
    AUDITOR = "auditor"
    ADMIN = "admin"
    SYSTEM = "system"
    """The service itself, when a job acts; no key has this role."""


class Permission(StrEnum):
    """What can be allowed."""

    READ_CATALOGUE = "catalogue.read"
    KEEP_CATALOGUE = "catalogue.keep"
    READ_REGIMES = "regimes.read"
    DECLARE_REGIMES = "regimes.declare"
    READ_QUESTIONNAIRES = "questionnaires.read"
    DECLARE_QUESTIONNAIRES = "questionnaires.declare"
    READ_PHARMACIES = "pharmacies.read"
    ENROL_PHARMACIES = "pharmacies.enrol"
    ISSUE_PHARMACY_KEYS = "pharmacies.issue_keys"
    SET_ROSTER = "pharmacies.set_roster"
    REGISTER = "registrations.record"
    READ_REGISTRATIONS = "registrations.read"
    READ_RECEIPTS = "receipts.read"
    FOLLOW_IMPORTS = "imports.follow"
    REPORT_SALES = "sales.report"
    READ_SALES = "sales.read"
    RECORD_CASES = "cases.record"
    READ_CASES = "cases.read"
    DECLARE_PURCHASES = "purchases.declare"
    READ_SURVEILLANCE = "surveillance.read"
    READ_MATCHES = "matches.read"
    REVIEW_MATCHES = "matches.review"
    SEARCH_BUYERS = "buyers.search"
    REVEAL_BUYERS = "buyers.reveal"
    READ_REWARDS = "rewards.read"
    DECIDE_REWARDS = "rewards.decide"
    MANAGE_SUBSCRIPTIONS = "subscriptions.manage"
    SUBSCRIBE_IDENTIFIED = "subscriptions.identified"
    READ_EVENTS = "events.read"
    ANSWER_ALERTS = "alerts.answer"
    READ_AUDIT = "audit.read"


_P, _H, _E, _O, _AU, _AD = (
    Role.PHARMACY,
    Role.HEALTH_AUTHORITY,
    Role.EPIDEMIOLOGIST,
    Role.OFFICIAL,
    Role.AUDITOR,
    Role.ADMIN,
)

MAY: Mapping[Permission, frozenset[Role]] = {
    Permission.READ_CATALOGUE: frozenset({_P, _H, _E, _O, _AU, _AD}),
    Permission.KEEP_CATALOGUE: frozenset({_O}),
    Permission.READ_REGIMES: frozenset({_P, _H, _E, _O, _AU, _AD}),
    Permission.DECLARE_REGIMES: frozenset({_O}),
    Permission.READ_QUESTIONNAIRES: frozenset({_P, _H, _E, _O, _AU, _AD}),
    Permission.DECLARE_QUESTIONNAIRES: frozenset({_O}),
    Permission.READ_PHARMACIES: frozenset({_E, _O, _AD}),
    Permission.ENROL_PHARMACIES: frozenset({_O, _AD}),
    Permission.ISSUE_PHARMACY_KEYS: frozenset({_O, _AD}),
    Permission.SET_ROSTER: frozenset({_P, _O}),
    Permission.REGISTER: frozenset({_P}),
    Permission.READ_REGISTRATIONS: frozenset({_P, _E, _O}),
    Permission.READ_RECEIPTS: frozenset({_P, _AU}),
    Permission.FOLLOW_IMPORTS: frozenset({_P, _H}),
    Permission.REPORT_SALES: frozenset({_P}),
    Permission.READ_SALES: frozenset({_P, _E, _O}),
    Permission.RECORD_CASES: frozenset({_H}),
    Permission.READ_CASES: frozenset({_H, _E}),
    Permission.DECLARE_PURCHASES: frozenset({_H, _E}),
    Permission.READ_SURVEILLANCE: frozenset({_E, _O}),
    Permission.READ_MATCHES: frozenset({_E}),
    Permission.REVIEW_MATCHES: frozenset({_E}),
    Permission.SEARCH_BUYERS: frozenset({_E}),
    Permission.REVEAL_BUYERS: frozenset({_E}),
    Permission.READ_REWARDS: frozenset({_O}),
    Permission.DECIDE_REWARDS: frozenset({_O}),
    Permission.MANAGE_SUBSCRIPTIONS: frozenset({_E, _O}),
    Permission.SUBSCRIBE_IDENTIFIED: frozenset({_E}),
    Permission.READ_EVENTS: frozenset({_E, _O}),
    Permission.ANSWER_ALERTS: frozenset({_E, _O}),
    Permission.READ_AUDIT: frozenset({_AU}),
}

PURCHASES = Budget("purchases", per_second=100, burst=2_000)
"""Single registrations of one key. A busy till sends one a minute; a gateway for five hundred shops, ten a second."""
ROWS = Budget("rows", per_second=5_000, burst=50_000)
"""Rows of batches of one key: a chain of five hundred shops sends three days offline (150,000 rows) in half a minute."""
_TILL = Budget("till", per_second=50, burst=1_000)
_PERSON = Budget("requests", per_second=200, burst=5_000)
BUDGETS: Mapping[Role, Budget] = {role: _TILL if role is Role.PHARMACY else _PERSON for role in Role}
"""What all other requests are charged to; a till asks the catalogue at each scan."""

DEFAULT_OVERLAP_DAYS, MOST_OVERLAP_DAYS = 7, 30
"""How long a key goes on beside the one that takes its place."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts in this request or job.

    `division` is the code below which the actor sees everything and beyond which nothing; None is the whole country.
    `pharmacy_ids` are those in whose name a till may speak.
    """

    account_id: UUID | None
    name: str
    role: Role
    key_id: UUID | None = None
    division: str | None = None
    pharmacy_ids: frozenset[UUID] = frozenset()

    def may(self, permission: Permission) -> bool:
        """Return whether the actor's role has the permission."""
        return self.role in MAY[permission]

    def sees(self, division: str) -> bool:
        """Return whether a division lies within the actor's own."""
        return division.startswith(self.division or "")


SYSTEM = Actor(account_id=None, name="system", role=Role.SYSTEM)
"""The service itself."""
