"""The report as a person reads it: Chinese and English side by side, within 100 columns, with colour or without."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.demo.play.figures import Figures

WIDTH = 100
_BLOCKS = " ▁▂▃▄▅▆▇█"

_RESULTS = {
    "created": "新登记 created",
    "duplicate": "重复 duplicate",
    "conflict": "冲突 conflict",
    "invalid": "有误 invalid",
    "not_required": "无需登记 not required",
    "updated": "已更新 updated",
}
_CLASSES = {
    "confirmed": "确诊 confirmed",
    "probable": "临床诊断 probable",
    "suspected": "疑似 suspected",
    "discarded": "排除 discarded",
}
_FLAGS = {
    "fever": "发热 fever",
    "exposure": "接触史 exposure",
    "incomplete": "不完整 incomplete",
    "late": "迟报 late",
    "sold_while_suspended": "停售期间 while suspended",
    "red_code": "红码 red code",
    "yellow_code": "黄码 yellow code",
}
_MATCHES = {
    "certain": "确定 certain (document)",
    "strong": "高度 strong (name + phone)",
    "buyer": "购药人 as buyer",
    "patient": "用药人 as patient",
    "counted": "有效 counted",
    "withdrawn": "已撤回 withdrawn",
}
_STATUSES = {
    "paid": "已支付 paid",
    "approved": "已批准 approved",
    "proposed": "待审核 proposed",
    "rejected": "已驳回 rejected",
    "reversed": "已撤销 reversed",
    "not_eligible": "不符合 not eligible",
}
_ALERTS = {
    "clue.reported": "线索 clue.reported",
    "case.matched": "病例命中 case.matched",
    "match.withdrawn": "命中撤回 match.withdrawn",
}


def console(*, stderr: bool = False) -> Console:
    """Return a console no wider than the report."""
    wide = Console(stderr=stderr)
    return Console(stderr=stderr, width=min(WIDTH, wide.width) if wide.is_terminal else WIDTH)


def show(figures: Figures, to: Console) -> None:
    """Print the report."""
    curve = _curve(figures, columns=2 if to.width >= WIDTH else 1)
    for part in (_title(figures), _counter(figures), curve, _matches(figures), _rewards(figures)):
        to.print(part)
        to.print()
    to.print(_alerts(figures))
    to.print()
    to.print(_net(figures))
    to.print()
    to.print(_verdict(figures))


def _title(figures: Figures) -> RenderableType:
    city = figures["city"]
    lines = Text(justify="center")
    lines.append("药店哨兵 Pharmacy Sentinel\n", "bold")
    lines.append(f"福田区 Futian · {city['first_day']} – {city['last_day']} · 演练 a city that never was\n")
    lines.append(
        f"{city['streets']} 街道 streets · {city['pharmacies']} 药店 pharmacies · {city['residents']:,} 居民 residents",
        "dim",
    )
    return Panel(lines, box=box.ROUNDED, border_style="cyan")


def _counter(figures: Figures) -> RenderableType:
    registrations, cases = figures["registrations"], figures["cases"]
    rows, case_rows = registrations["rows"], cases["rows"]
    return _side_by_side(
        _counts("登记 Registrations", rows, _RESULTS, f"{sum(rows.values()):,} 行 rows sent by tills"),
        _counts("标记 Flags", registrations["flags"], _FLAGS, f"{registrations['stored']:,} 条入库 stored"),
        _counts("病例 Cases", cases["classified"], _CLASSES, f"{sum(case_rows.values())} 行 rows listed"),
    )


def _curve(figures: Figures, *, columns: int) -> RenderableType:
    """Draw the days, each so many columns wide."""
    curve, lead = figures["curve"], figures["lead"]
    table = Table.grid(padding=(0, 2))
    for name, member, style in (
        ("购药登记 registered", "registrations", "blue"),
        ("其中病例 by cases", "registrations_of_cases", "cyan"),
        ("发病 onsets", "onsets", "magenta"),
        ("确诊 confirmed", "confirmed", "red"),
    ):
        values = [day[member] for day in curve]
        bars = Text(_bars(values, columns), style)
        table.add_row(name, bars, Text(f"最高 peak {max(values)}, 共 total {sum(values):,}", "dim"))
    first, last = curve[0]["day"][5:], curve[-1]["day"][5:]
    table.add_row("", Text(first + " " * (columns * len(curve) - len(first) - len(last)) + last, "dim"), "")
    words = Text()
    if lead["first"] is not None:
        seen = lead["first"]
        words.append(f"\n{seen['pharmacy']} saw it first: {seen['registered_at'].replace('T', ' ')[:16]}, ")
        words.append(f"{seen['days_before']} days before the first case was confirmed.", "bold")
    words.append(
        f"\n确诊前 {lead['seen_before_confirmation']} of {lead['confirmed_cases']} confirmed cases had been registered at a "
        f"pharmacy beforehand,\n提前 in the median {lead['median_days']} days earlier, at most {lead['most_days']}."
    )
    return _section("疫情曲线 The outbreak by day", Group(table, words))


def _matches(figures: Figures) -> RenderableType:
    matches = figures["matches"]
    return _side_by_side(
        _counts("比对 Matches", matches["by_strength"], _MATCHES, f"{matches['total']} 条 in all"),
        _counts("角色 Role", matches["by_role"], _MATCHES),
        _counts("状态 Status", matches["by_status"], _MATCHES),
    )


def _rewards(figures: Figures) -> RenderableType:
    decisions = figures["decisions"]
    money = decisions["money"]
    words = _counts("奖励 Reward decisions", decisions["by_status"], _STATUSES, f"{decisions['total']} 项 in all")
    sums = Table.grid(padding=(0, 2))
    sums.add_column()
    sums.add_column(justify="right")
    for name, member in (
        ("已支付 paid", "paid"),
        ("已追回 taken back", "reversed"),
        ("账面余额 balance", "balance"),
        ("已批准 approved", "approved"),
        ("待审核 proposed", "proposed"),
    ):
        sums.add_row(name, f"{float(money[member]):,.2f}")
    unmet = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, expand=True)
    unmet.add_column("首个未满足 First criterion not met")
    unmet.add_column("", justify="right", width=3)
    unmet.add_column("例 in one decision's words", ratio=1, style="dim")
    for row in decisions["by_first_unmet"]:
        unmet.add_row(f"{row['name']} {row['code'].replace('_', ' ')}", str(row["count"]), row["example"])
    return Group(_side_by_side(words, _section(f"金额 {money['currency']}", sums)), Text(), unmet)


def _net(figures: Figures) -> RenderableType:
    net = figures["net"]
    words = Text(f"流调所述购药 {net['covered']} of {net['covered'] + net['missed']} purchases that the cases told of ")
    words.append("were registered")
    if net["rate"] is not None:
        words.append(f": {net['rate']:.0%}", "bold")
        words.append(f" (95 %: {net['low']:.1%} – {net['high']:.1%})")
    words.append(f"; {net['not_required']} more did not have to be.")
    if net["never_registered"] is not None:
        words.append(
            f"\n推算漏登 never registered, estimated: {net['never_registered']:g}, at most {net['at_most']:g}."
        )
    words.append(f"\n静默药店 pharmacies fallen silent: {net['silent']}.")
    return _section("登记网 The net", words)


def _alerts(figures: Figures) -> RenderableType:
    alerts, times = figures["alerts"], figures["post_to_delivery"]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("送达 delivered", f"{alerts['delivered']:,} of {alerts['events']:,}")
    table.add_row("签名验证 signatures verified", f"{alerts['signatures_verified']:,}")
    table.add_row("从上报到送达 POST to delivery, p50", f"{times['p50_seconds'] * 1000:,.0f} ms")
    table.add_row("p99", f"{times['p99_seconds'] * 1000:,.0f} ms")
    return _side_by_side(
        _counts("预警 Alerts", alerts["raised"], _ALERTS, f"{sum(alerts['raised'].values()):,} 条 raised"),
        _section("投递 Deliveries", table),
    )


def _verdict(figures: Figures) -> RenderableType:
    performance = figures["performance"]
    pace = (
        f"{performance['play_seconds']} s played, {performance['rows_per_second']:g} rows/s, "
        f"{performance['requests']:,} requests, {performance['sent_again']} sent again"
    )
    restarts = sum(performance["restarts"].values())
    if restarts:
        pace += f", {restarts} restarts"
    if figures["agrees"]:
        words = Text(justify="center")
        words.append("漏网 slipped through: ", "bold")
        words.append(f"{figures['slipped_through']}\n", "bold green")
        words.append("全部吻合 Every figure agrees with the known truth.\n", "green")
        words.append(pace, "dim")
        return Panel(words, box=box.ROUNDED, border_style="green")
    lines = Text(f"漏网 slipped through: {figures['slipped_through']}\n", "bold red")
    lines.append("不吻合 These figures differ from the known truth:\n\n", "red")
    for difference in figures["differences"]:
        lines.append(f"· {difference}\n")
    lines.append(f"\n{pace}", "dim")
    return Panel(lines, box=box.HEAVY, border_style="red")


def _counts(title: str, counts: Mapping[str, int], words: Mapping[str, str], note: str = "") -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name in [*(name for name in words if name in counts), *(name for name in counts if name not in words)]:
        table.add_row(words.get(name, name), f"{counts[name]:,}")
    return _section(title, Group(table, Text(note, "dim")) if note else table)


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, "bold cyan"), Padding(body, (0, 0, 0, 1)))


def _side_by_side(*parts: RenderableType) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 2))
    for _ in parts:
        table.add_column(ratio=1)
    table.add_row(*parts)
    return table


def _bars(values: Iterable[int], columns: int) -> str:
    """Return a bar of eighths for each value; whatever happened at all is seen."""
    heights: list[Any] = list(values)
    top = max([*heights, 1])
    return "".join(_BLOCKS[0 if not value else max(1, round(8 * value / top))] * columns for value in heights)
