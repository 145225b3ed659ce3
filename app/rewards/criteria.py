"""The twelve criteria of a reward: each a small question to the facts, answered in words that can be read out.

Pure: facts in, criteria out. Built from published schemes (Futian: screened and registered on one's own, before the
confirmation; Tengzhou: the first reporter only); the numbers are this project's choice and stand in `Policy`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from app.core.clock import CHINA


class Award(StrEnum):
    """Who is rewarded when several pharmacies registered the same case."""

    FIRST = "first"
    EVERY = "every"


class CriterionCode(StrEnum):
    """The criteria, in the order in which they are read."""

    CASE_CONFIRMED = "case_confirmed"
    IDENTITY_ESTABLISHED = "identity_established"
    LISTED_DRUG = "listed_drug"
    REGISTERED_BEFORE_CONFIRMATION = "registered_before_confirmation"
    REGISTERED_ON_TIME = "registered_on_time"
    WITHIN_WINDOW = "within_window"
    RECORD_COMPLETE = "record_complete"
    PHARMACY_IN_GOOD_STANDING = "pharmacy_in_good_standing"
    NOT_OWN_STAFF = "not_own_staff"
    UNALTERED = "unaltered"
    FIRST_REPORTER = "first_reporter"
    UNDER_CAP = "under_cap"


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the reward policy. The default values are version 1."""

    version: int = 1
    on_time_hours: int = 24
    """Longest time between purchase and arrival at the server, in hours; exactly that long is still on time."""
    window_days: int = 14
    """Longest time between purchase and confirmation, in days of 24 hours; exactly that long is still within."""
    award: Award = Award.FIRST
    amount: Decimal = Decimal("1000.00")
    currency: str = "CNY"
    cap_per_month: int = 3
    """Most rewards of one pharmacy for cases confirmed in one calendar month (in China)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the criteria need to know about one registration that was matched with a case."""

    case_id: UUID
    pharmacy_id: UUID
    registration_id: UUID
    division: str
    """Of the pharmacy."""
    classification: str
    confirmed_at: datetime | None
    strength: str
    match_status: str
    had_listed_drug: bool
    purchased_at: datetime
    """The till's word."""
    received_at: datetime
    """The server's clock."""
    complete_at_first: bool
    """What the regime required was there in the first revision."""
    standing: str | None
    """Of the pharmacy, on the day of the purchase; None before it was enrolled."""
    buyer_on_roster: bool
    identity_amended: bool
    """The buyer's or patient's identity was corrected after the case was known."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion, met or not, with the reason in Chinese and English."""

    code: CriterionCode
    met: bool
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Rival:
    """Another pharmacy that takes the first place instead."""

    received_at: datetime | None
    """When its registration was received; None where an official has granted it the reward already."""


Answer = tuple[bool, str, str]


def own_criteria(facts: Facts, policy: Policy) -> tuple[Criterion, ...]:
    """Return the first ten criteria: those that depend on this registration and its case alone."""
    return tuple(Criterion(code, *question(facts, policy)) for code, question in _QUESTIONS)


def with_first_reporter(ten: tuple[Criterion, ...], policy: Policy, rival: Rival | None) -> tuple[Criterion, ...]:
    """Return the ten criteria and the eleventh: is this the earliest registration that meets them?"""
    return (*ten, Criterion(CriterionCode.FIRST_REPORTER, *_first_reporter(all_met(ten), policy, rival)))


def with_cap(eleven: tuple[Criterion, ...], policy: Policy, place: int) -> tuple[Criterion, ...]:
    """Return the eleven criteria and the twelfth: is there a place left for the pharmacy in the case's month?

    `place` counts from 1 in the order of confirmation; it matters only where the eleven are met.
    """
    return (*eleven, Criterion(CriterionCode.UNDER_CAP, *_under_cap(all_met(eleven), policy, place)))


def assess(facts: Facts, policy: Policy, *, rival: Rival | None = None, place: int = 1) -> tuple[Criterion, ...]:
    """Return all twelve criteria in their order, met or not."""
    return with_cap(with_first_reporter(own_criteria(facts, policy), policy, rival), policy, place)


def all_met(criteria: tuple[Criterion, ...]) -> bool:
    """Return whether nothing is missing."""
    return all(criterion.met for criterion in criteria)


def first_unmet(criteria: tuple[Criterion, ...]) -> CriterionCode | None:
    """Return the first criterion that is not met, None when all are."""
    return next((criterion.code for criterion in criteria if not criterion.met), None)


def _case_confirmed(facts: Facts, policy: Policy) -> Answer:
    if facts.classification == "confirmed":
        return True, "病例已确诊。", "The case is confirmed."
    zh = {"suspected": "疑似", "probable": "临床诊断", "discarded": "排除"}.get(
        facts.classification, facts.classification
    )
    if facts.classification == "discarded":
        return False, "病例已排除,比对撤回。", "The case was discarded and its matches are withdrawn."
    return False, f"病例分类为{zh},尚未确诊。", f"The case is classified {facts.classification}, not confirmed."


def _identity_established(facts: Facts, policy: Policy) -> Answer:
    if facts.match_status == "confirmed":
        return True, "身份经人工核实一致。", "A person reviewed the match and confirmed the identity."
    if facts.match_status == "counted" and facts.strength == "certain":
        return True, "证件号码一致。", "The identity documents are the same."
    if facts.match_status == "counted" and facts.strength == "strong":
        return True, "手机号和姓名均一致。", "Both phone and name are the same."
    if facts.match_status == "rejected":
        return False, "经人工核实不是同一人。", "A person reviewed the match and found somebody else."
    if facts.match_status == "withdrawn":
        return False, "比对已撤回。", "The match was withdrawn."
    return False, "疑似同一人,尚待人工核实。", "Possibly the same person; nobody has confirmed it yet."


def _listed_drug(facts: Facts, policy: Policy) -> Answer:
    if facts.had_listed_drug:
        return True, "所购药品在购买当时的目录内。", "A drug was on the catalogue at the time of purchase."
    return False, "所购药品不在购买当时的目录内。", "No drug was on the catalogue at the time of purchase."


def _registered_before_confirmation(facts: Facts, policy: Policy) -> Answer:
    if facts.confirmed_at is None:
        return False, "病例尚无确诊时间。", "The case has no time of confirmation yet."
    received, confirmed = _time(facts.received_at), _time(facts.confirmed_at)
    if facts.received_at < facts.confirmed_at:
        return (
            True,
            f"服务器于{received}收到登记,早于{confirmed}确诊。",
            f"Received {received}, before the confirmation {confirmed}.",
        )
    return (
        False,
        f"服务器于{received}收到登记,不早于{confirmed}确诊。",
        f"Received {received}, not before the confirmation {confirmed}.",
    )


def _registered_on_time(facts: Facts, policy: Policy) -> Answer:
    taken, limit = facts.received_at - facts.purchased_at, policy.on_time_hours
    hours, minutes = _hours_minutes(taken)
    zh = f"购买后{hours}小时{minutes}分钟收到登记"
    en = f"Received {hours} h {minutes} min after the purchase"
    if taken <= timedelta(hours=limit):
        return True, f"{zh},未超过{limit}小时。", f"{en}, within {limit} h."
    return False, f"{zh},超过{limit}小时。", f"{en}, later than {limit} h."


def _within_window(facts: Facts, policy: Policy) -> Answer:
    if facts.confirmed_at is None:
        return False, "病例尚无确诊时间。", "The case has no time of confirmation yet."
    if facts.purchased_at > facts.confirmed_at:
        return False, "购买晚于确诊。", "The purchase was after the confirmation."
    before, limit = facts.confirmed_at - facts.purchased_at, policy.window_days
    days, hours = divmod(-(-before // timedelta(hours=1)), 24)
    zh, en = f"购买在确诊前{days}天{hours}小时", f"Purchased {days} d {hours} h before the confirmation"
    if before <= timedelta(days=limit):
        return True, f"{zh},未超过{limit}天。", f"{en}, within {limit} days."
    return False, f"{zh},超过{limit}天。", f"{en}, more than {limit} days."


def _record_complete(facts: Facts, policy: Policy) -> Answer:
    if facts.complete_at_first:
        return True, "首次登记时必填项目齐全。", "All that was required was there in the first revision."
    return False, "首次登记时必填项目不全。", "Something that was required was missing in the first revision."


def _pharmacy_in_good_standing(facts: Facts, policy: Policy) -> Answer:
    if facts.standing == "active":
        return True, "购买当日药店资质正常。", "The pharmacy was active on the day of the purchase."
    if facts.standing is None:
        return False, "购买当日药店尚未备案。", "The pharmacy was not enrolled yet on the day of the purchase."
    zh = {"suspended": "被暂停", "closed": "已关闭"}.get(facts.standing, facts.standing)
    return False, f"购买当日药店{zh}。", f"The pharmacy was {facts.standing} on the day of the purchase."


def _not_own_staff(facts: Facts, policy: Policy) -> Answer:
    if facts.buyer_on_roster:
        return False, "购药人是本店员工。", "The buyer is on the pharmacy's roster."
    return True, "购药人不是本店员工。", "The buyer is not on the pharmacy's roster."


def _unaltered(facts: Facts, policy: Policy) -> Answer:
    if facts.identity_amended:
        return False, "病例公布后登记的身份信息被修改。", "The identity was amended after the case was known."
    return True, "病例公布后登记的身份信息未被修改。", "The identity was not amended after the case was known."


def _first_reporter(own_met: bool, policy: Policy, rival: Rival | None) -> Answer:
    if policy.award is Award.EVERY:
        return True, "政策奖励每一家登记的药店。", "The policy rewards every pharmacy that registered."
    if not own_met:
        return (
            False,
            "前十项未全部满足,不能作为首报。",
            "Points 1 to 10 are not all met, so it cannot be the first reporter.",
        )
    if rival is None:
        return True, "最早满足前十项的登记。", "The earliest registration that meets points 1 to 10."
    if rival.received_at is None:
        return False, "该病例的奖励已授予另一家药店。", "The reward for this case has been granted to another pharmacy."
    at = _time(rival.received_at)
    return False, f"另一家药店于{at}更早登记。", f"Another pharmacy registered earlier, received {at}."


def _under_cap(otherwise_met: bool, policy: Policy, place: int) -> Answer:
    limit = policy.cap_per_month
    if not otherwise_met:
        return (
            True,
            "前述项目未全部满足,不占用每月名额。",
            "An earlier point is not met, so no place of the month is used.",
        )
    if place <= limit:
        en = f"Number {place} of the pharmacy in that month, at most {limit} are rewarded."
        return True, f"该药店当月第{place}例,每月上限{limit}例。", en
    # Without the number of those before: it would change with every case that a busy month gains.
    return (
        False,
        f"该药店当月{limit}个名额已由其他病例占用。",
        f"Other cases take all {limit} places of the pharmacy in that month: over the cap.",
    )


_QUESTIONS: tuple[tuple[CriterionCode, Callable[[Facts, Policy], Answer]], ...] = (
    (CriterionCode.CASE_CONFIRMED, _case_confirmed),
    (CriterionCode.IDENTITY_ESTABLISHED, _identity_established),
    (CriterionCode.LISTED_DRUG, _listed_drug),
    (CriterionCode.REGISTERED_BEFORE_CONFIRMATION, _registered_before_confirmation),
    (CriterionCode.REGISTERED_ON_TIME, _registered_on_time),
    (CriterionCode.WITHIN_WINDOW, _within_window),
    (CriterionCode.RECORD_COMPLETE, _record_complete),
    (CriterionCode.PHARMACY_IN_GOOD_STANDING, _pharmacy_in_good_standing),
    (CriterionCode.NOT_OWN_STAFF, _not_own_staff),
    (CriterionCode.UNALTERED, _unaltered),
)


def _time(instant: datetime) -> str:
    """China time to the second: a registration one second too late must not read as if it were on time."""
    return f"{instant.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"


def _hours_minutes(span: timedelta) -> tuple[int, int]:
    """Hours and minutes, rounded up for the same reason; a till's clock that runs ahead counts as no time at all."""
    return divmod(max(0, -(-span // timedelta(minutes=1))), 60)
