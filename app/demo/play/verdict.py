"""The service's account beside the truth, figure by figure and row by row. No difference is small."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from app.demo.play.notebook import Notebook
from app.demo.play.opening import KINDS
from app.demo.play.reading import Found
from app.demo.play.subscriber import Subscriber
from app.demo.truth import Decision, Match, Truth

SHOWN = 8
"""Of each list of differing rows."""

_PAY = "paid"


class Verdict:
    """Collects differences; none is the only good outcome."""

    def __init__(self, truth: Truth, found: Found, notebook: Notebook, subscriber: Subscriber) -> None:
        """Compare everything at once."""
        self.differences: list[str] = []
        self._truth = truth
        self._found = found
        self._notebook = notebook
        self._subscriber = subscriber
        self._pharmacies = {pharmacy_id: index for index, pharmacy_id in enumerate(notebook.pharmacy_ids)}
        self._case_numbers: dict[str, str] = {case["id"]: case["case_number"] for case in found.cases}
        self._references: dict[str, str] = {row["id"]: row["client_reference"] for row in found.registrations}
        self.lost = sorted(notebook.acknowledged.keys() - self._references.keys())
        """Registrations that were acknowledged and are not there."""
        self.missed = [match for match in truth.matches if match not in set(self.matches())]
        """Matches that the truth knows and the service does not."""
        self.undelivered = sorted({event["id"] for event in found.events} - subscriber.arrivals.keys())
        """Events that never arrived."""
        raised = Counter(alert["kind"] for alert in found.alerts)
        self.unraised = sum(max(0, count - raised[kind]) for kind, count in truth.alerts.items())
        """Alerts that should have been raised and were not."""
        self._compare_rows()
        self._compare_matches()
        self._compare_decisions()
        self._compare_net()
        self._compare_alerts()

    @property
    def slipped_through(self) -> int:
        """Purchases that were acknowledged and are gone or told of and not found, matches not found, alerts not raised or received."""
        missed = int(self._found.net["total"]["missed"])
        return len(self.lost) + len(self.missed) + self.unraised + len(self.undelivered) + missed

    def matches(self) -> list[Match]:
        """Return the service's matches in the truth's words."""
        return [
            Match(
                self._case_numbers.get(str(match["case_id"]), str(match["case_id"])),
                self._pharmacies.get(match["pharmacy_id"], -1),
                self._references.get(match["registration_id"], str(match["registration_id"])),
                match["role"],
                match["strength"],
                match["status"],
            )
            for match in self._found.matches
        ]

    def decisions(self) -> list[Decision]:
        """Return the service's decisions in the truth's words."""
        return [
            Decision(
                decision["case_number"],
                self._pharmacies.get(decision["pharmacy_id"], -1),
                self._references.get(decision["registration_id"], str(decision["registration_id"])),
                decision["status"],
                decision["first_unmet"],
                Decimal(decision["amount"]),
            )
            for decision in self._found.decisions
        ]

    def _compare_rows(self) -> None:
        truth, notebook, found = self._truth, self._notebook, self._found
        self.differences += notebook.surprises[:SHOWN]
        if len(notebook.surprises) > SHOWN:
            self.differences.append(f"… and {len(notebook.surprises) - SHOWN} more rows")
        self._figures("registration rows", truth.registrations, notebook.results["registrations"])
        self._figures("case rows", truth.case_rows, notebook.results["cases"])
        stored = Counter(
            (self._pharmacies.get(row["pharmacy_id"]), row["client_reference"]) for row in found.registrations
        )
        self._rows("registrations", set(notebook.acknowledged.values()), stored)
        self._figures("registrations stored", {"": truth.registrations["created"]}, {"": len(found.registrations)})
        self._figures("flags", truth.flags, Counter(flag for row in found.registrations for flag in row["flags"]))
        self._figures("cases", truth.cases, Counter(case["classification"] for case in found.cases))

    def _compare_matches(self) -> None:
        truth, matches = self._truth, self.matches()
        for member in ("strength", "role", "status"):
            counted = Counter(getattr(match, member) for match in matches)
            self._figures(f"matches by {member}", truth.matches_by(member), counted)
        self._rows("matches", truth.matches, matches)

    def _compare_decisions(self) -> None:
        truth, report, decisions = self._truth, self._found.rewards, self.decisions()
        self._rows("decisions", truth.decisions, decisions)
        amounts = {status: Decimal(amount) for status, amount in report["amounts"].items()}
        self._figures("decisions by status in the report", truth.decisions_by_status(), report["by_status"])
        self._figures("first unmet criteria in the report", truth.decisions_by_first_unmet(), report["first_unmet"])
        self._figures("amounts in the report", truth.amounts_by_status(), amounts)
        self._figures("money", {"paid": truth.paid, "reversed": truth.reversed}, money(self._found))
        balance = truth.paid - truth.reversed
        self._figures("ledger", {"balance": balance}, {"balance": Decimal(report["balance"])})

    def _compare_net(self) -> None:
        total = self._found.net["total"]
        told = Counter(telling.status for telling in self._truth.tellings)
        counted = {name: total[name] for name in ("covered", "missed", "not_required", "not_judged")}
        self._figures("purchases told of", told, counted)
        self._figures("pharmacies that fell silent", {}, Counter(one["pharmacy_id"] for one in self._found.silences))

    def _compare_alerts(self) -> None:
        truth, found, subscriber = self._truth, self._found, self._subscriber
        self._figures("alerts", truth.alerts, Counter(alert["kind"] for alert in found.alerts))
        self._figures("events", truth.alerts, Counter(event["type"] for event in found.events))
        self._figures("events verified by the subscriber", truth.alerts, subscriber.kinds)
        self._figures(
            "deliveries by state", {"delivered": len(found.events)}, Counter(d["state"] for d in found.deliveries)
        )
        self._figures("signatures refused", {}, subscriber.refused)
        events = [event["id"] for event in found.events]
        self._rows("events delivered", events, [delivery["event_id"] for delivery in found.deliveries])
        self._rows("events that arrived", events, list(subscriber.arrivals))
        told = {event["id"]: event["data"]["alert_id"] for event in found.events}
        self._rows("alerts told", [alert["id"] for alert in found.alerts], told.values())
        other = [event["type"] for event in found.events if event["type"] not in KINDS]
        self._figures("other events", {}, Counter(other))

    def _figures(self, what: str, expected: Mapping[str, Any], counted: Mapping[str, Any]) -> None:
        """Compare figures by name; a figure that is not there is nothing."""
        for name in sorted(expected.keys() | counted.keys()):
            wanted, got = expected.get(name, 0), counted.get(name, 0)
            if wanted != got:
                self.differences.append(f"{what}{', ' if name else ''}{name}: {wanted} expected, {got} found")

    def _rows(self, what: str, expected: Iterable[Hashable], found: Iterable[Hashable]) -> None:
        """Compare sets of rows, none of which may be there twice."""
        wanted, got = Counter(expected), Counter(found)
        for name, rows in (("not found", wanted - got), ("found but not expected", got - wanted)):
            signs = [str(row) for row in sorted(rows.elements(), key=str)]
            if signs:
                more = f" and {len(signs) - SHOWN} more" if len(signs) > SHOWN else ""
                self.differences.append(f"{what} {name}: {'; '.join(signs[:SHOWN])}{more}")


def money(found: Found) -> dict[str, Decimal]:
    """Return what was paid, and what of it was taken back, as the decisions' histories tell it."""
    sums = {"paid": Decimal("0.00"), "reversed": Decimal("0.00")}
    for decision in found.decisions:
        if _PAY in {step["to_status"] for step in decision["history"]}:
            sums["paid"] += Decimal(decision["amount"])
            if decision["status"] == "reversed":
                sums["reversed"] += Decimal(decision["amount"])
    return sums
