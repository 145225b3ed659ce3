"""The reward report: counts and sums per pharmacy, division or month, and the shapes in which they are told."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from urllib.parse import urlencode

from pydantic import Field

from app.core.schemas import Out
from app.rewards.criteria import CriterionCode
from app.rewards.rules import NOTHING, DecisionStatus
from app.rewards.schemas import Period

CURRENCY = "CNY"


class GroupBy(StrEnum):
    """What a line of the report stands for."""

    PHARMACY = "pharmacy"
    DIVISION = "division"
    MONTH = "month"


class Format(StrEnum):
    """How the report is written."""

    JSON = "json"
    CSV = "csv"


class ReportFilter(Period):
    """Which decisions to sum up, by what, and how to write it."""

    group_by: GroupBy = GroupBy.PHARMACY
    format: Format | None = Field(default=None, description="Goes before `Accept`; JSON if neither says")


class LineOut(Out):
    """One line. `by_status` and `first_unmet` count decisions; `amounts` and `balance` are money.

    `first_unmet` counts, for decisions that are not eligible, the first criterion that is not met. `balance` is the sum of the
    ledger: what has been paid and not taken back. `decisions` is where the decisions behind the line are listed.
    """

    key: str | None
    name: str
    count: int
    by_status: dict[DecisionStatus, int]
    amounts: dict[DecisionStatus, Decimal]
    balance: Decimal
    first_unmet: dict[CriterionCode, int]
    decisions: str


class RewardReportOut(Out):
    """Totals per group; a period is half-open, its days are those of China."""

    from_day: date | None
    to_day: date | None
    group_by: GroupBy
    currency: str
    lines: list[LineOut]
    total: LineOut


@dataclass(frozen=True, slots=True)
class Tally:
    """How many decisions of one group have one status and one first unmet criterion, and what they are worth."""

    key: str
    status: DecisionStatus
    first_unmet: CriterionCode | None
    count: int
    amount: Decimal


def sum_up(
    filters: ReportFilter, tallies: Iterable[Tally], balances: Mapping[str, Decimal], names: Mapping[str, str]
) -> RewardReportOut:
    """Return the report: a line per key in the order of the keys, and a total that is the sum of the lines."""
    by_key: dict[str, list[Tally]] = defaultdict(list)
    for tally in tallies:
        by_key[tally.key].append(tally)
    lines = [
        _line(filters, key, names.get(key, key), by_key[key], balances.get(key, NOTHING)) for key in sorted(by_key)
    ]
    everything = [tally for those in by_key.values() for tally in those]
    total = _line(filters, None, "合计 Total", everything, sum((line.balance for line in lines), NOTHING))
    return RewardReportOut(
        from_day=filters.from_,
        to_day=filters.to,
        group_by=filters.group_by,
        currency=CURRENCY,
        lines=lines,
        total=total,
    )


def _line(filters: ReportFilter, key: str | None, name: str, tallies: Iterable[Tally], balance: Decimal) -> LineOut:
    by_status = dict.fromkeys(DecisionStatus, 0)
    amounts = dict.fromkeys(DecisionStatus, NOTHING)
    first_unmet = dict.fromkeys(CriterionCode, 0)
    for tally in tallies:
        by_status[tally.status] += tally.count
        amounts[tally.status] += tally.amount
        if tally.first_unmet is not None and tally.status is DecisionStatus.NOT_ELIGIBLE:
            first_unmet[tally.first_unmet] += tally.count
    return LineOut(
        key=key,
        name=name,
        count=sum(by_status.values()),
        by_status=by_status,
        amounts=amounts,
        balance=balance,
        first_unmet=first_unmet,
        decisions=_decisions_of(filters, key),
    )


def _decisions_of(filters: ReportFilter, key: str | None) -> str:
    """Return the address at which exactly the decisions of a line are listed."""
    query: dict[str, str] = {}
    if key is not None:
        query[filters.group_by.value] = key
        if filters.group_by is GroupBy.DIVISION:
            query["below"] = "false"
    if filters.from_ is not None:
        query["from"] = filters.from_.isoformat()
    if filters.to is not None:
        query["to"] = filters.to.isoformat()
    return "/v1/rewards/decisions" + (f"?{urlencode(query)}" if query else "")


_STATUS_WORDS = {
    DecisionStatus.PROPOSED: "待审核 Proposed",
    DecisionStatus.NOT_ELIGIBLE: "不符合条件 Not eligible",
    DecisionStatus.APPROVED: "已批准 Approved",
    DecisionStatus.REJECTED: "已驳回 Rejected",
    DecisionStatus.PAID: "已支付 Paid",
    DecisionStatus.REVERSED: "已撤销 Reversed",
}
_CRITERION_WORDS = {
    CriterionCode.CASE_CONFIRMED: "病例未确诊 case_confirmed",
    CriterionCode.IDENTITY_ESTABLISHED: "身份未核实 identity_established",
    CriterionCode.LISTED_DRUG: "非目录药品 listed_drug",
    CriterionCode.REGISTERED_BEFORE_CONFIRMATION: "登记不早于确诊 registered_before_confirmation",
    CriterionCode.REGISTERED_ON_TIME: "登记超时 registered_on_time",
    CriterionCode.WITHIN_WINDOW: "超出时间窗 within_window",
    CriterionCode.RECORD_COMPLETE: "登记不完整 record_complete",
    CriterionCode.PHARMACY_IN_GOOD_STANDING: "药店资质异常 pharmacy_in_good_standing",
    CriterionCode.NOT_OWN_STAFF: "本店员工 not_own_staff",
    CriterionCode.UNALTERED: "登记被修改 unaltered",
    CriterionCode.FIRST_REPORTER: "非首报 first_reporter",
    CriterionCode.UNDER_CAP: "超出每月上限 under_cap",
}
_KEY_WORDS = {
    GroupBy.PHARMACY: "药店编号 Pharmacy id",
    GroupBy.DIVISION: "行政区划代码 Division code",
    GroupBy.MONTH: "月份 Month",
}
_WITH_MONEY = (DecisionStatus.PROPOSED, DecisionStatus.APPROVED, DecisionStatus.PAID, DecisionStatus.REVERSED)


def as_table(report: RewardReportOut) -> tuple[list[str], list[list[object]]]:
    """Return the report as a header in Chinese and English, and its lines; the total comes last."""
    header = [
        _KEY_WORDS[report.group_by],
        "名称 Name",
        "决定数 Decisions",
        *_STATUS_WORDS.values(),
        *(f"金额({_STATUS_WORDS[status].split()[0]}) {report.currency} {status.value}" for status in _WITH_MONEY),
        f"账面余额 {report.currency} ledger balance",
        *(f"首个未满足:{words}" for words in _CRITERION_WORDS.values()),
        "决定清单 Listed at",
    ]
    rows: list[list[object]] = [
        [
            line.key or "",
            line.name,
            line.count,
            *(line.by_status[status] for status in _STATUS_WORDS),
            *(line.amounts[status] for status in _WITH_MONEY),
            line.balance,
            *(line.first_unmet[code] for code in _CRITERION_WORDS),
            line.decisions,
        ]
        for line in (*report.lines, report.total)
    ]
    return header, rows
