"""How urgent an alert is, and which way it may go."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.alerts.rules import ALLOWED, EVENTS, AlertKind, AlertState, Severity, deadline_after, severity_of_match
from app.cases.rules import Classification

STATES = st.sampled_from(AlertState)


class TestTheStatesOfAnAlert:
    def test_are_a_table_in_which_every_state_stands(self) -> None:
        assert set(ALLOWED) == set(AlertState)

    @given(st.lists(STATES, max_size=10))
    def test_only_ever_lead_forward_to_the_end(self, wishes: list[AlertState]) -> None:
        state, steps = AlertState.RAISED, 0
        for wish in wishes:
            if wish in ALLOWED[state]:
                state, steps = wish, steps + 1
        assert steps <= 2
        assert (state is AlertState.CLOSED) == (AlertState.CLOSED in wishes)


class TestUrgency:
    @given(st.sampled_from(Classification))
    def test_is_least_where_a_match_is_withdrawn(self, classification: Classification) -> None:
        assert severity_of_match(classification, counts=False) is Severity.INFO

    def test_is_most_with_a_confirmed_case(self) -> None:
        found = {one: severity_of_match(one, counts=True) for one in Classification}
        assert {one for one, severity in found.items() if severity is Severity.CRITICAL} == {Classification.CONFIRMED}

    def test_leaves_less_time_the_greater_it_is(self) -> None:
        assert deadline_after(Severity.CRITICAL) < deadline_after(Severity.WARNING) < deadline_after(Severity.INFO)
        assert deadline_after(Severity.CRITICAL) == timedelta(hours=2)

    def test_has_an_event_of_the_same_name_for_each_kind(self) -> None:
        assert {kind: event.name for kind, event in EVENTS.items()} == {kind: kind.value for kind in AlertKind}
