from hypothesis import given
from hypothesis import strategies as st

from app.auth.rules import MAY, SYSTEM, Actor, Permission, Role

divisions = st.sampled_from(["44", "4403", "440304", "440304005", "440303", "4401", "31"])


class TestTheTable:
    def test_says_of_each_permission_who_has_it(self) -> None:
        assert set(MAY) == set(Permission)
        assert all(MAY.values())
        for role in set(Role) - {Role.SYSTEM}:
            assert any(role in roles for roles in MAY.values())

    def test_gives_the_service_itself_none(self) -> None:
        assert not any(SYSTEM.may(permission) for permission in Permission)

    def test_keeps_apart_what_one_person_must_not_do_alone(self) -> None:
        assert MAY[Permission.REVEAL_BUYERS].isdisjoint({Role.OFFICIAL, Role.ADMIN, Role.PHARMACY, Role.AUDITOR})
        assert MAY[Permission.READ_AUDIT] == {Role.AUDITOR}
        assert MAY[Permission.REGISTER] == {Role.PHARMACY}
        assert Role.ADMIN not in MAY[Permission.DECIDE_REWARDS]


class TestAnActor:
    @given(divisions, divisions)
    def test_sees_its_division_and_those_below(self, own: str, other: str) -> None:
        actor = Actor(None, "x", Role.OFFICIAL, division=own)
        assert actor.sees(other) == (other[: len(own)] == own)
        assert Actor(None, "x", Role.OFFICIAL).sees(other)
