"""The report's figures: sums of what was read back, as JSON knows them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.demo.play.caller import Caller
from app.demo.play.notebook import Notebook
from app.demo.play.reading import Found, Item
from app.demo.play.subscriber import Subscriber
from app.demo.play.verdict import Verdict, money
from app.demo.script import CHINA, DAYS
from app.demo.story import Plan

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Performance:
    """How the play went."""

    play_seconds: float
    wall_seconds: float
    restarts: dict[str, int]


def sum_up(
    story: Plan,
    found: Found,
    verdict: Verdict,
    notebook: Notebook,
    subscriber: Subscriber,
    caller: Caller,
    performance: Performance,
) -> Figures:
    """Return the whole report. All values are JSON; money is a decimal string, times are RFC 3339 or seconds."""
    rows = sum(notebook.results["registrations"].values())
    return {
        "agrees": not verdict.differences,
        "differences": verdict.differences,
        "city": {
            "district": "440304",
            "scale": story.scale,
            "seed": story.seed,
            "streets": len({body["division"] for body in story.pharmacies}),
            "pharmacies": len(story.pharmacies),
            "residents": len(story.facts.city.residents),
            "first_day": story.calendar.first_day.isoformat(),
            "last_day": story.calendar.on(DAYS).isoformat(),
            "last_hour": story.calendar.last_hour.isoformat(),
        },
        "registrations": {
            "rows": dict(notebook.results["registrations"]),
            "stored": len(found.registrations),
            "flags": _counted(flag for row in found.registrations for flag in row["flags"]),
        },
        "cases": {
            "rows": dict(notebook.results["cases"]),
            "classified": _counted(case["classification"] for case in found.cases),
        },
        "matches": {
            "total": len(found.matches),
            "by_strength": _counted(match["strength"] for match in found.matches),
            "by_role": _counted(match["role"] for match in found.matches),
            "by_status": _counted(match["status"] for match in found.matches),
        },
        "decisions": {
            "total": len(found.decisions),
            "by_status": _counted(decision["status"] for decision in found.decisions),
            "by_first_unmet": _unmet(found),
            "money": {
                "currency": "CNY",
                **{name: str(amount) for name, amount in money(found).items()},
                "balance": found.rewards["balance"],
                "proposed": found.rewards["amounts"]["proposed"],
                "approved": found.rewards["amounts"]["approved"],
            },
        },
        "alerts": {
            "raised": _counted(alert["kind"] for alert in found.alerts),
            "events": len(found.events),
            "delivered": sum(delivery["state"] == "delivered" for delivery in found.deliveries),
            "arrived": len(subscriber.arrivals),
            "signatures_verified": subscriber.verified,
            "signatures_refused": sum(subscriber.refused.values()),
            "arrived_again": subscriber.repeated,
        },
        "net": _net(found),
        "post_to_delivery": _delivery_times(notebook, subscriber),
        "curve": _curve(story, found),
        "lead": _lead(story, found, notebook),
        "slipped_through": verdict.slipped_through,
        "performance": {
            "wall_seconds": round(performance.wall_seconds, 1),
            "play_seconds": round(performance.play_seconds, 1),
            "rows_per_second": round(rows / performance.play_seconds, 1),
            "requests": caller.requests,
            "sent_again": caller.resent,
            "restarts": performance.restarts,
        },
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _unmet(found: Found) -> list[Figures]:
    """Count decisions by the first criterion that is not met, each with its name and one decision's own words."""
    groups: dict[str, list[Item]] = {}
    for decision in found.decisions:
        if decision["status"] == "not_eligible":
            groups.setdefault(decision["first_unmet"], []).append(decision)
    rows = []
    for code, decisions in sorted(groups.items(), key=lambda entry: -len(entry[1])):
        detail = next(c["detail"] for c in decisions[0]["criteria"] if c["code"] == code)
        rows.append({"code": code, "name": found.criterion_words[code], "count": len(decisions), "example": detail})
    return rows


def _net(found: Found) -> Figures:
    """Return what was told of and registered, the rate with its 95 % interval, and what is estimated beyond it."""
    total, estimate = found.net["total"], found.net["estimate"]
    counts = {name: total[name] for name in ("covered", "missed", "not_required", "rate", "low", "high")}
    beyond = {
        name: estimate[f"never_registered{end}"] for name, end in (("never_registered", ""), ("at_most", "_high"))
    }
    return counts | beyond | {"silent": len(found.silences)}


def _delivery_times(notebook: Notebook, subscriber: Subscriber) -> Figures:
    """Measure from the moment at which a till's request leaves to the arrival of the clue that it holds."""
    seconds = sorted(
        arrival.at - notebook.sent_at[arrival.data["registration_id"]]
        for arrival in subscriber.arrivals.values()
        if arrival.kind == "clue.reported" and arrival.data["registration_id"] in notebook.sent_at
    )
    return {
        "measured": len(seconds),
        "p50_seconds": round(_quantile(seconds, 0.5), 3),
        "p99_seconds": round(_quantile(seconds, 0.99), 3),
    }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _curve(story: Plan, found: Found) -> list[Figures]:
    """Count by day: purchases registered, those of cases (by purchase), onsets, confirmations."""
    purchases = Counter(_day(row["purchased_at"]) for row in found.registrations)
    seen = {match["registration_id"] for match in found.matches if match["status"] == "counted"}
    of_cases = Counter(_day(row["purchased_at"]) for row in found.registrations if row["id"] in seen)
    real = [case for case in found.cases if case["classification"] != "discarded"]
    onsets = Counter(case["onset_on"] for case in real if case["onset_on"])
    confirmed = Counter(_day(case["confirmed_at"]) for case in real if case["confirmed_at"])
    days = [story.calendar.on(day).isoformat() for day in range(DAYS + 1)]
    return [
        {
            "day": day,
            "registrations": purchases[day],
            "registrations_of_cases": of_cases[day],
            "onsets": onsets[day],
            "confirmed": confirmed[day],
        }
        for day in days
    ]


def _day(instant: str) -> str:
    return datetime.fromisoformat(instant).astimezone(CHINA).date().isoformat()


def _lead(story: Plan, found: Found, notebook: Notebook) -> Figures:
    """Tell how much earlier a pharmacy had registered a case than it was confirmed, and which saw one first of all."""
    confirmed = {c["id"]: datetime.fromisoformat(c["confirmed_at"]) for c in found.cases if c["confirmed_at"]}
    earliest: dict[str, tuple[datetime, str]] = {}
    for match in found.matches:
        if match["status"] == "counted" and match["case_id"] in confirmed:
            sight = (datetime.fromisoformat(match["received_at"]), match["pharmacy_id"])
            earliest[match["case_id"]] = min(sight, earliest.get(match["case_id"], sight))
    ahead = {case: confirmed[case] - at for case, (at, _) in earliest.items() if at < confirmed[case]}
    days = sorted(lead.total_seconds() / 86400 for lead in ahead.values())
    figures: Figures = {
        "confirmed_cases": len(confirmed),
        "seen_before_confirmation": len(days),
        "median_days": round(_quantile(days, 0.5), 1),
        "most_days": round(days[-1], 1) if days else 0.0,
        "first": None,
    }
    if earliest:
        at, pharmacy_id = min(earliest.values())
        figures["first"] = {
            "pharmacy": story.pharmacies[notebook.pharmacy_ids.index(pharmacy_id)]["name"],
            "registered_at": at.astimezone(CHINA).isoformat(timespec="minutes"),
            "first_confirmation_at": min(confirmed.values()).astimezone(CHINA).isoformat(timespec="minutes"),
            "days_before": round((min(confirmed.values()) - at).total_seconds() / 86400, 1),
        }
    return figures
