"""Possible matches through the doors: each pass, from both sides, and what a worker may not leave behind. All are synthetic."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.core.sealing import Keyring
from app.people.documents import lengthen
from tests.conftest import Clients, SettableClock
from tests.factories.identities import flow_worker, old_form, resident_number
from tests.factories.world import World, a_case, a_person

ABSENT = dict.fromkeys(("document", "phone", "name", "birth_date"), "absent")
RESIDENT = resident_number(1)
SLIPPED = old_form(RESIDENT)[:13] + "9" + old_form(RESIDENT)[14:]


def shown(kind: str, number: str, **members: Any) -> dict[str, Any]:
    return a_person(document={"type": kind, "number": number}, **members)


# What the counter was shown, what the list tells, the pass, and the fields that agree.
PAIRS = {
    "a passport, one digit off": (
        shown("passport", "E12345678", phone=None),
        shown("passport", "E12345670"),
        "near_document",
        {"document": "near", "name": "equal"},
    ),
    "a permit, two digits turned round": (
        shown("hk_macau_permit", "H1234567801", phone=None),
        shown("hk_macau_permit", "H12345687"),
        "near_document",
        {"document": "near", "name": "equal"},
    ),
    "a resident number that was shown in 15 digits": (
        shown("resident_id", RESIDENT, phone=None),
        shown("resident_id", SLIPPED),
        "near_document",
        {"document": "near", "name": "equal", "birth_date": "equal"},
    ),
    "a birth date that the list tells": (
        shown("resident_id", RESIDENT, phone=None),
        a_person(document=None, phone=None, birth_date="1970-01-01"),
        "name_birth_city",
        {"name": "equal", "birth_date": "equal"},
    ),
    "a homophone": (
        shown("resident_id", RESIDENT, name="王晓样"),
        a_person(document=None, name="汪小阳"),
        "phone_sound",
        {"phone": "equal", "name": "near"},
    ),
    "a romanised name": (
        shown("passport", "E12345678", name="LYU XIAOYANG"),
        a_person(document=None, name="吕晓样"),
        "phone_sound",
        {"phone": "equal", "name": "near"},
    ),
    "a look-alike": (
        a_person(document=None, name="王小睛"),
        a_person(document=None, name="王小晴"),
        "phone_shape",
        {"phone": "equal", "name": "near"},
    ),
}
# Nothing but a shared phone, a namesake, or two people for certain.
STRANGERS = {
    "a family's phone": (shown("passport", "E12345678", name="李小样"), a_person(document=None)),
    "a namesake of another city": (
        shown("resident_id", RESIDENT, phone=None),
        a_person(document=None, phone=None, birth_date="1970-01-02"),
    ),
    "two resident numbers": (
        shown("resident_id", RESIDENT, name="王晓样"),
        shown("resident_id", resident_number(2), name="王小样"),
    ),
    "two passports": (shown("passport", "E12345678", phone=None), shown("passport", "E12345699", phone=None)),
    "a near passport of another name": (
        shown("passport", "E12345678", phone=None, name="李小样"),
        shown("passport", "E12345670", phone=None),
    ),
    "nothing but a name": (a_person(document=None, phone=None), a_person(document=None, phone=None)),
}


async def found(
    world: World, client_for: Clients, keyring: Keyring, clock: SettableClock, facts: list[str], pair: Any
) -> list[dict[str, Any]]:
    """Let one fact come after the other, with a worker after each; return the matches."""
    presented, told = pair[:2]
    listed = {name: value for name, value in told.items() if name != "address"}
    clock.moment = datetime(2026, 2, 18, 2, 0, tzinfo=UTC)
    for fact in facts:
        if fact == "purchase":
            answer = await client_for(world.tills[0]).post("/v1/registrations", json=world.purchase(buyer=presented))
        else:
            authority = client_for(world.tokens["health_authority"])
            answer = await authority.post("/v1/cases", json=a_case(person=listed))
        assert answer.status_code == 201, answer.text
        await flow_worker(world.database, keyring, clock).drain()
    answer = await client_for(world.tokens["epidemiologist"]).get("/v1/matches")
    return list(answer.json()["items"])


ORDERS = pytest.mark.parametrize("facts", [["purchase", "case"], ["case", "purchase"]], ids=" then ".join)


def test_the_slip_in_15_digits_is_one_that_nothing_checks() -> None:
    assert lengthen(SLIPPED) != RESIDENT


@ORDERS
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
async def test_possible_matches_wait_for_review(
    world: World, client_for: Clients, keyring: Keyring, clock: SettableClock, facts: list[str], pair: Any
) -> None:
    [match] = await found(world, client_for, keyring, clock, facts, pair)
    assert (match["strength"], match["status"], match["rule"]) == ("possible", "possible", f"{pair[2]}/1")
    evidence = {field: how for field, how in match["evidence"].items() if how not in ("absent", "differs")}
    assert evidence == pair[3]


@ORDERS
@pytest.mark.parametrize("pair", STRANGERS.values(), ids=STRANGERS)
async def test_strangers_are_no_match(
    world: World, client_for: Clients, keyring: Keyring, clock: SettableClock, facts: list[str], pair: Any
) -> None:
    assert await found(world, client_for, keyring, clock, facts, pair) == []
