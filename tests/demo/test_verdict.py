"""The comparison with the truth: a service that is right in everything passes, one that is wrong in anything does not."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from app.demo.play.notebook import Notebook
from app.demo.play.reading import Found
from app.demo.play.subscriber import Arrival, Subscriber
from app.demo.play.verdict import Verdict
from app.demo.story import Plan
from app.demo.truth import result_of
from tests.demo.stories import told


@dataclass
class Account:
    """What a service said, a notebook and a subscriber's list; made right, then spoilt by a test."""

    story: Plan
    found: Found
    notebook: Notebook
    subscriber: Subscriber

    def differences(self) -> list[str]:
        return Verdict(self.story.truth, self.found, self.notebook, self.subscriber).differences


def perfect(story: Plan) -> Account:
    """The account of a service without fault."""
    truth, facts = story.truth, story.facts
    kept = [slip for slip in facts.slips if result_of(facts, slip) == "created"]
    flags = [name for name, count in truth.flags.items() for _ in range(count)]
    registrations: list[dict[str, Any]] = [
        {
            "id": f"r/{slip.reference}",
            "pharmacy_id": f"p{slip.purchase.pharmacy}",
            "client_reference": slip.reference,
            "flags": [],
        }
        for slip in kept
    ]
    registrations[0]["flags"] = flags
    cases = [{"id": f"c/{c.number}", "case_number": c.number, "classification": c.classification} for c in facts.cases]
    matches = [
        {
            "case_id": f"c/{match.case_number}",
            "pharmacy_id": f"p{match.pharmacy}",
            "registration_id": f"r/{match.client_reference}",
            "role": match.role,
            "strength": match.strength,
            "status": match.status,
        }
        for match in truth.matches
    ]
    decisions = [
        {
            "case_number": decision.case_number,
            "pharmacy_id": f"p{decision.pharmacy}",
            "registration_id": f"r/{decision.client_reference}",
            "status": decision.status,
            "first_unmet": decision.first_unmet,
            "amount": str(decision.amount),
            "history": [{"to_status": "paid"}] if decision.status in ("paid", "reversed") else [],
        }
        for decision in truth.decisions
    ]
    rewards = {
        "by_status": truth.decisions_by_status(),
        "first_unmet": truth.decisions_by_first_unmet(),
        "amounts": {status: str(amount) for status, amount in truth.amounts_by_status().items()},
        "balance": str(truth.paid - truth.reversed),
    }
    kinds = [kind for kind, count in truth.alerts.items() for _ in range(count)]
    alerts = [{"id": f"a{number}", "kind": kind} for number, kind in enumerate(kinds)]
    events: list[dict[str, Any]] = [
        {"id": f"e{number}", "type": kind, "data": {"alert_id": f"a{number}"}} for number, kind in enumerate(kinds)
    ]
    deliveries = [{"event_id": event["id"], "state": "delivered"} for event in events]
    told_of = Counter(telling.status for telling in truth.tellings)
    net = {"total": {name: told_of[name] for name in ("covered", "missed", "not_required", "not_judged")}}
    found = Found(registrations, cases, matches, decisions, rewards, net, [], alerts, events, deliveries, {})
    notebook = Notebook([f"p{index}" for index in range(len(story.pharmacies))])
    notebook.acknowledged = {f"r/{slip.reference}": (slip.purchase.pharmacy, slip.reference) for slip in kept}
    notebook.results["registrations"].update(truth.registrations)
    notebook.results["cases"].update(truth.case_rows)
    subscriber = Subscriber()
    subscriber.arrivals = {e["id"]: Arrival(e["id"], e["type"], e["data"], 0.0) for e in events}
    subscriber.kinds.update(kinds)
    return Account(story, found, notebook, subscriber)


def lose_registration(account: Account) -> None:
    account.found.registrations.pop()


def store_twice(account: Account) -> None:
    account.found.registrations.append(account.found.registrations[-1])


def forget_flag(account: Account) -> None:
    account.found.registrations[0]["flags"].remove("fever")


def miscount_result(account: Account) -> None:
    account.notebook.results["registrations"]["duplicate"] -= 1


def surprise(account: Account) -> None:
    account.notebook.surprises.append("POS-1: created expected, invalid answered")


def miss_match(account: Account) -> None:
    account.found.matches.pop()


def weaken_match(account: Account) -> None:
    account.found.matches[0]["strength"] = "strong"


def match_the_other_way(account: Account) -> None:
    first, *others = account.found.matches
    first["registration_id"] = next(
        m["registration_id"] for m in others if m["registration_id"] != first["registration_id"]
    )


def reclassify(account: Account) -> None:
    account.found.cases[0]["classification"] = "probable"


def judge_otherwise(account: Account) -> None:
    unmet = next(decision for decision in account.found.decisions if decision["first_unmet"])
    unmet["first_unmet"] = "unaltered"


def pay_less(account: Account) -> None:
    next(d for d in account.found.decisions if d["status"] == "paid")["amount"] = str(Decimal("999.99"))


def lose_ledger_entry(account: Account) -> None:
    account.found.rewards["balance"] = "0.00"


def miss_purchase(account: Account) -> None:
    total = account.found.net["total"]
    total["covered"], total["missed"] = total["covered"] - 1, 1


def take_for_silent(account: Account) -> None:
    account.found.silences.append({"pharmacy_id": "p1"})


def raise_twice(account: Account) -> None:
    account.found.alerts.append(account.found.alerts[0])


def raise_too_few(account: Account) -> None:
    for told_of in (account.found.alerts, account.found.events, account.found.deliveries):
        told_of.pop()
    account.subscriber.arrivals.popitem()


def lose_event(account: Account) -> None:
    account.found.events.pop()


def lose_delivery(account: Account) -> None:
    account.found.deliveries.pop()


def leave_delivery_pending(account: Account) -> None:
    account.found.deliveries[0]["state"] = "pending"


def never_arrive(account: Account) -> None:
    account.subscriber.arrivals.popitem()


def sign_wrongly(account: Account) -> None:
    account.subscriber.refused["no_match"] += 1


SPOILT: tuple[Callable[[Account], None], ...] = (
    *(lose_registration, store_twice, forget_flag, miscount_result, surprise),
    *(miss_match, weaken_match, match_the_other_way, reclassify),
    *(miss_purchase, take_for_silent),
    *(judge_otherwise, pay_less, lose_ledger_entry),
    *(raise_twice, raise_too_few, lose_event, lose_delivery, leave_delivery_pending, never_arrive, sign_wrongly),
)


class TestTheVerdict:
    def test_finds_nothing_amiss_with_a_service_without_fault(self) -> None:
        account = perfect(told())
        verdict = Verdict(account.story.truth, account.found, account.notebook, account.subscriber)
        assert verdict.differences == []
        assert verdict.slipped_through == 0

    @pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
    def test_finds_whatever_is_wrong(self, spoil: Callable[[Account], None]) -> None:
        account = deepcopy(perfect(told()))
        spoil(account)
        assert account.differences() != []

    @pytest.mark.parametrize(
        "spoil",
        [lose_registration, miss_match, miss_purchase, raise_too_few, never_arrive],
        ids=lambda spoil: spoil.__name__,
    )
    def test_counts_what_slipped_through(self, spoil: Callable[[Account], None]) -> None:
        account = deepcopy(perfect(told()))
        spoil(account)
        verdict = Verdict(account.story.truth, account.found, account.notebook, account.subscriber)
        assert verdict.slipped_through >= 1

    def test_names_nobody(self) -> None:
        account = deepcopy(perfect(told()))
        for spoil in SPOILT:
            spoil(account)
        text = "\n".join(account.differences())
        assert len(text) > 500
        assert not [word for word in account.story.identities if word in text]
