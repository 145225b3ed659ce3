"""What the passes say of two presentations, opened or not; a model of all of them is in `model.py`. All people are synthetic."""

from datetime import date
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from app.core.sealing import HashKind, Keyring
from app.matching.passes import (
    NAME_BIRTH_CITY,
    PASSES,
    Agreement,
    Finding,
    Marks,
    Strength,
    city_of,
    compare,
    foremost,
    look_closer,
)
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from tests.matching.model import PEOPLE, Shown, found_by

# The first name that is read loads a library; a machine may be busy.
KEYRING = Keyring.generate()
TODAY = date(2026, 2, 15)


def prepared(shown: Shown) -> Presentation:
    presentation = prepare(PersonIn.model_validate(shown.as_json()), TODAY)
    assert isinstance(presentation, Presentation), presentation
    return presentation


def marks(person: Presentation) -> Marks:
    def mark(kind: HashKind, text: str | None) -> bytes | None:
        return None if text is None else KEYRING.hash(kind, text)

    document = person.document
    return Marks(
        mark(HashKind.DOCUMENT, document and document.comparable),
        document and document.comparable.partition(":")[0],
        mark(HashKind.PHONE, person.phone and person.phone.comparable),
        mark(HashKind.NAME, person.name and person.name.comparable),
        mark(HashKind.NAME_BIRTH, person.name_and_birth),
    )


def judged(one: Shown, other: Shown, *, same_city: bool) -> Finding | None:
    mine, theirs = prepared(one), prepared(other)
    by_hashes = compare(marks(mine), marks(theirs), same_city=same_city)
    return foremost((by_hashes, look_closer(mine.identity, theirs.identity)))


class TestTwoPresentations:
    @given(PEOPLE, PEOPLE, st.booleans())
    def test_are_found_by_the_pass_that_the_words_of_the_domain_name(
        self, one: Shown, other: Shown, same_city: bool
    ) -> None:
        found = judged(one, other, same_city=same_city)
        assert (found and (found.by.rule, found.by.strength.value)) == found_by(one, other, same_city)
        assert found == judged(other, one, same_city=same_city)

    @given(PEOPLE, PEOPLE)
    def test_of_two_residents_are_two_people_whatever_their_names_are(self, one: Shown, other: Shown) -> None:
        found = judged(one, other, same_city=True)
        if found and one.is_resident and other.is_resident and one.document != other.document:
            assert found.by.name == "near_document"
            assert {"A with a slip", "A before 1999"} & {one.paper, other.paper}

    @given(PEOPLE, PEOPLE)
    def test_are_never_one_for_a_phone_alone(self, one: Shown, other: Shown) -> None:
        nameless = Shown(None, one.phone, None, None)
        assert judged(nameless, other, same_city=True) is None
        assert judged(nameless, nameless, same_city=True) is None

    @given(PEOPLE, PEOPLE)
    def test_tell_what_is_near_where_it_was_looked_for(self, one: Shown, other: Shown) -> None:
        found = judged(one, other, same_city=True)
        if found is None:
            return
        near = {field for field, how in found.evidence.items() if how is Agreement.NEAR}
        if found.by.name == "near_document":
            assert near == {"document"}
        elif found.by.name.startswith("phone_s"):
            assert "name" in near
            assert found.evidence["phone"] is Agreement.EQUAL
        else:
            assert near == set()

    def test_in_two_cities_are_not_one_for_name_and_birth_date(self) -> None:
        one, other = Shown("王小样", None, "A"), Shown("王小样", None, None, "1970-01-01")
        found = judged(one, other, same_city=True)
        assert found is not None
        assert found.by is NAME_BIRTH_CITY
        assert judged(one, other, same_city=False) is None


class TestThePasses:
    def test_have_names_of_their_own(self) -> None:
        assert len({one.name for one in PASSES}) == len(PASSES)
        assert all(len(one.rule) <= 32 for one in PASSES)

    def test_speak_in_the_order_of_their_worth(self) -> None:
        worth = list(Strength)
        assert [one.strength for one in PASSES] == sorted((one.strength for one in PASSES), key=worth.index)
        for one, other in product(PASSES, PASSES):
            first = foremost((None, Finding(one, {}), Finding(other, {})))
            assert first is not None
            assert first.by is min(one, other, key=PASSES.index)
        assert foremost((None, None)) is None

    def test_know_a_city_by_four_digits(self) -> None:
        assert [city_of(code) for code in ("44", "4403", "440304", "440304005")] == [None, "4403", "4403", "4403"]
