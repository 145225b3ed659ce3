"""The reward report as a fold over counts."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from app.reports.reward_figures import GroupBy, ReportFilter, RewardReportOut, Tally, as_table, sum_up
from app.rewards.criteria import CriterionCode
from app.rewards.rules import DecisionStatus

TALLIES = [
    Tally("440304006", DecisionStatus.PAID, None, 2, Decimal("2000.00")),
    Tally("440304005", DecisionStatus.PROPOSED, None, 1, Decimal("1000.00")),
    Tally("440304005", DecisionStatus.NOT_ELIGIBLE, CriterionCode.REGISTERED_ON_TIME, 3, Decimal("0.00")),
    Tally("440304005", DecisionStatus.NOT_ELIGIBLE, CriterionCode.UNDER_CAP, 1, Decimal("0.00")),
]
tallies = st.lists(
    st.builds(
        Tally,
        st.sampled_from(["440304005", "440304006", "440303"]),
        st.sampled_from(DecisionStatus),
        st.none() | st.sampled_from(CriterionCode),
        st.integers(1, 50),
        st.integers(0, 10**7).map(lambda fen: Decimal(fen) / 100),
    )
)


def report(
    group_by: GroupBy = GroupBy.DIVISION, names: Mapping[str, str] | None = None, **period: str
) -> RewardReportOut:
    filters = ReportFilter.model_validate({"group_by": group_by, **period})
    return sum_up(filters, TALLIES, {"440304006": Decimal("2000.00")}, names or {})


class TestTheReport:
    def test_has_a_line_per_key_in_order_and_its_figures(self) -> None:
        first, second = report(names={"440304005": "沙头街道"}).lines
        assert (first.key, first.name, first.count) == ("440304005", "沙头街道", 5)
        assert first.by_status[DecisionStatus.NOT_ELIGIBLE] == 4
        assert first.first_unmet[CriterionCode.REGISTERED_ON_TIME] == 3
        assert first.amounts[DecisionStatus.PROPOSED] == Decimal("1000.00")
        assert (second.key, second.name, second.balance) == ("440304006", "440304006", Decimal("2000.00"))

    @given(tallies)
    def test_has_a_total_that_is_the_sum_of_its_lines(self, some: list[Tally]) -> None:
        told = sum_up(ReportFilter(), some, {"440303": Decimal(5)}, {})
        for status in DecisionStatus:
            assert told.total.by_status[status] == sum(line.by_status[status] for line in told.lines)
            assert told.total.amounts[status] == sum(line.amounts[status] for line in told.lines)
        for code in CriterionCode:
            assert told.total.first_unmet[code] == sum(line.first_unmet[code] for line in told.lines)
        assert told.total.count == sum(tally.count for tally in some)
        assert told.total.balance == sum(line.balance for line in told.lines)

    def test_says_where_the_decisions_of_a_line_are_listed(self) -> None:
        told = report(GroupBy.MONTH, **{"from": "2026-02-01", "to": "2026-03-01"})
        address = urlsplit(told.lines[0].decisions)
        assert address.path == "/v1/rewards/decisions"
        assert parse_qs(address.query) == {"month": ["440304005"], "from": ["2026-02-01"], "to": ["2026-03-01"]}
        assert parse_qs(urlsplit(report().lines[0].decisions).query) == {"division": ["440304005"], "below": ["false"]}
        assert report().total.decisions == "/v1/rewards/decisions"

    def test_repeats_its_period(self) -> None:
        told = report(**{"from": "2026-02-01", "to": "2026-03-01"})
        assert (told.from_day, told.to_day) == (date(2026, 2, 1), date(2026, 3, 1))


class TestTheTable:
    def test_has_a_header_in_both_languages_and_as_many_cells_in_every_line(self) -> None:
        header, rows = as_table(report())
        assert header[0] == "行政区划代码 Division code"
        assert {len(row) for row in rows} == {len(header)}
        assert len(rows) == 3

    def test_ends_with_the_total(self) -> None:
        header, rows = as_table(report())
        told = dict(zip(header, rows[-1], strict=True))
        assert told["名称 Name"] == "合计 Total"
        assert told["决定数 Decisions"] == 7
        assert told["首个未满足:登记超时 registered_on_time"] == 3
        assert told["金额(已支付) CNY paid"] == Decimal("2000.00")
