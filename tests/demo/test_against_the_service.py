"""The simulator's words and truth beside the service's own rules. Only here do the two meet."""

import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from pydantic import ValidationError

from app.cases.schemas import CaseIn, ClassificationIn
from app.core.clock import china_day
from app.demo import shelf
from app.demo.papers import Kind
from app.demo.script import Reclassify, SetRegime, SetRoster, SetStanding
from app.demo.story import Plan
from app.demo.truth import Terms, find_matches, result_of
from app.people.documents import DocumentType
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from app.pharmacies.schemas import PharmacyIn, PharmacyPatch, RosterIn
from app.questionnaires.rules import NOTHING_ASKED
from app.regimes.schemas import RegimeIn
from app.registrations.rules import flags_of, is_clue, judge_form, missing_fields, read_people
from app.registrations.schemas import RegistrationIn
from app.rewards.criteria import Facts as RewardFacts
from app.rewards.criteria import Policy
from app.rewards.rules import decide
from tests.catalogue.shipped import resolver
from tests.demo.stories import SEEDS, actions_of, case_rows, registration_rows, told

REQUIRED = ("name", "document", "phone", "address", "temperature")


def read(person: PersonIn, at: datetime) -> Presentation:
    presentation = prepare(person, china_day(at))
    assert isinstance(presentation, Presentation), presentation
    return presentation


def strength(one: Presentation, other: Presentation) -> str | None:
    if one.document and other.document and one.document.comparable == other.document.comparable:
        return "certain"
    complete = one.phone and one.name and other.phone and other.name
    if complete and (one.phone, one.name.comparable) == (other.phone, other.name.comparable):
        return "strong"
    return None


def marks(shown: Presentation) -> list[str]:
    return [identifier.comparable for identifier in (shown.document, shown.phone) if identifier is not None]


def kept_registrations(story: Plan) -> dict[str, tuple[RegistrationIn, datetime]]:
    rows = [(at, row.body) for at, row in registration_rows(story) if "created" in row.expected]
    return {body["client_reference"]: (RegistrationIn.model_validate_json(json.dumps(body)), at) for at, body in rows}


def known_cases(story: Plan) -> dict[str, CaseIn]:
    rows = [row.body for _, row in case_rows(story) if {"created", "updated"} & set(row.expected)]
    return {body["case_number"]: CaseIn.model_validate_json(json.dumps(body)) for body in rows}


def matches_by_the_written_word(story: Plan) -> set[tuple[str, str, str, str]]:
    by_mark = defaultdict(list)
    for reference, (row, at) in kept_registrations(story).items():
        for role, person in (("buyer", row.buyer), ("patient", row.patient)):
            shown = read(person, at) if person is not None else None
            for mark in marks(shown) if shown is not None else ():
                by_mark[mark].append((reference, role, shown, china_day(row.purchased_at)))
    found = set()
    for number, case in known_cases(story).items():
        listed = read(case.person, story.calendar.last_hour)
        anchor = case.onset_on or (china_day(case.confirmed_at) if case.confirmed_at else None)
        for reference, role, shown, day in (entry for mark in marks(listed) for entry in by_mark[mark]):
            how = strength(shown, listed)
            if how is not None and (anchor is None or -14 <= (day - anchor).days <= 30):
                found.add((number, reference, role, how))
    return found


BODIES = {
    Reclassify: ClassificationIn,
    SetRegime: RegimeIn,
    SetStanding: PharmacyPatch,
    SetRoster: RosterIn,
}


@pytest.mark.parametrize("seed", SEEDS)
class TestTheBodies:
    def test_are_understood(self, seed: int) -> None:
        story = told(seed)
        for body in story.pharmacies:
            PharmacyIn.model_validate_json(json.dumps(body))
        for action in actions_of(story):
            if isinstance(action, Reclassify | SetRegime | SetStanding | SetRoster):
                BODIES[type(action)].model_validate_json(json.dumps(action.body))
        for _, row in registration_rows(story):
            if row.expected != ("invalid",):
                RegistrationIn.model_validate_json(json.dumps(row.body))
        for _, row in case_rows(story):
            CaseIn.model_validate_json(json.dumps(row.body))

    def test_are_refused_where_they_are_malformed(self, seed: int) -> None:
        for at, row in registration_rows(told(seed)):
            if row.expected == ("invalid",):
                try:
                    registration = RegistrationIn.model_validate_json(json.dumps(row.body))
                except ValidationError:
                    continue
                assert isinstance(read_people(registration, at), list) or judge_form(registration, at)

    def test_match_by_the_written_word_exactly_as_by_who_is_who(self, seed: int) -> None:
        story = told(seed)
        assert matches_by_the_written_word(story) == {
            (match.case_number, match.client_reference, match.role, match.strength) for match in story.truth.matches
        }

    def test_raise_the_flags_that_the_truth_counts(self, seed: int) -> None:
        story = told(seed)
        flags: Counter[str] = Counter()
        clues = 0
        for registration, at in kept_registrations(story).values():
            people = read_people(registration, at)
            assert not isinstance(people, list), people
            incomplete = bool(missing_fields(registration, people, REQUIRED))
            exposed = NOTHING_ASKED.judge(registration.answers).is_clue
            raised = flags_of(registration, at, incomplete=incomplete, exposed=exposed)
            assert not judge_form(registration, at)
            clues += is_clue(raised)
            flags.update(flag.value for flag in raised)
        expected = dict(story.truth.flags)
        assert expected.pop("sold_while_suspended") > 0
        assert flags == expected
        assert clues == story.truth.alerts["clue.reported"]


def reward_facts(story: Plan) -> list[RewardFacts]:
    """What the reward rules would be told, from the simulator's knowledge; received late in the first minutes of the hour."""
    facts = story.facts
    kept = [slip for slip in facts.slips if result_of(facts, slip) == "created"]
    return [
        RewardFacts(
            case_id=_id(case.number),
            pharmacy_id=_id(match.pharmacy),
            registration_id=_id(slip.reference),
            division="440304",
            classification=case.classification,
            confirmed_at=case.confirmed_at,
            strength=match.strength,
            match_status=match.status,
            had_listed_drug=shelf.has_listed(slip.purchase.basket),
            purchased_at=slip.purchase.at,
            received_at=slip.sent_at + timedelta(minutes=4),
            complete_at_first=slip.purchase.is_complete(),
            standing="suspended"
            if facts.stage.is_suspended(match.pharmacy, facts.calendar.day_of(slip.purchase.at))
            else "active",
            buyer_on_roster=slip.purchase.buyer.resident in facts.rosters.get(match.pharmacy, ()),
            amended=False,
        )
        for match, case, slip in find_matches(facts, kept)
    ]


def _id(sign: object) -> UUID:
    return uuid5(NAMESPACE_URL, str(sign))


@pytest.mark.parametrize("seed", SEEDS)
class TestTheDecisions:
    def test_are_those_of_the_reward_rules(self, seed: int) -> None:
        story = told(seed)
        found = reward_facts(story)
        policies = dict.fromkeys((fact.case_id for fact in found), Policy())
        verdicts = {key: verdict.first_unmet for key, verdict in decide(found, policies, {}).items()}
        # Officials' acts aside: what was paid and reversed would not be proposed again.
        assert {key: verdicts[key] for key in verdicts if key not in reversed_keys(story)} == {
            (_id(decision.case_number), _id(decision.pharmacy)): decision.first_unmet
            for decision in story.truth.decisions
            if decision.status != "reversed"
        }

    def test_are_paid_by_the_same_terms(self, seed: int) -> None:
        policy, terms = Policy(), Terms()
        assert (policy.amount, policy.currency, policy.cap_per_month, policy.window_days) == (
            terms.amount,
            terms.currency,
            terms.rewards_per_month,
            terms.window_days,
        )
        assert timedelta(hours=policy.on_time_hours) == terms.on_time
        assert told(seed).truth.amounts_by_status()["not_eligible"] == 0


def reversed_keys(story: Plan) -> set[tuple[UUID, UUID]]:
    taken_back = [decision for decision in story.truth.decisions if decision.status == "reversed"]
    return {(_id(decision.case_number), _id(decision.pharmacy)) for decision in taken_back}


class TestTheWords:
    def test_for_documents_are_the_service_s(self) -> None:
        assert {kind.value for kind in Kind} == {kind.value for kind in DocumentType}

    @pytest.mark.parametrize("product", [*shelf.LISTED, *shelf.UNLISTED], ids=lambda product: product.name)
    def test_for_products_are_on_the_list_or_not_as_the_shelf_says(self, product: shelf.Product) -> None:
        found = resolver("gd37", "sz_plus2").resolve(name=product.name, gtin=shelf.gtin("699000000001"))
        assert (found.drug_id is not None) is product.listed
