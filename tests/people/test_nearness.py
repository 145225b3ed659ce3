"""Documents that are one slip apart. Everybody here is synthetic."""

from datetime import date

from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.sealing import HashKind
from app.people.documents import DocumentType, check_character, lengthen
from app.people.nearness import are_neighbours, is_one_slip, near_marks
from app.people.rules import Identity, Presentation, prepare
from app.people.schemas import PersonIn
from tests.factories.identities import old_form, resident_number

# An example tries hundreds of slips; a machine may be busy.
TODAY = date(2026, 2, 15)
NUMBERS = st.text("AB12", min_size=5, max_size=9)
# Without the sequences from 996 on: those of 15 digits stood for people born in the nineteenth century.
RESIDENTS = st.integers(0, 400_000).filter(lambda person: person % 999 < 995).map(resident_number)


def slips(number: str, letters: str) -> set[str]:
    """Return every text that is one slip away, by making them all; the text itself may be among them."""
    changed = {number[:at] + letter + number[at + 1 :] for at in range(len(number)) for letter in letters}
    turned = {number[:at] + number[at + 1] + number[at] + number[at + 2 :] for at in range(len(number) - 1)}
    return changed | turned


def shown(kind: DocumentType, number: str, name: str | None = "王小样") -> Presentation:
    body = {"name": name, "document": {"type": kind, "number": number}}
    presentation = prepare(PersonIn.model_validate(body), TODAY)
    assert isinstance(presentation, Presentation), presentation
    return presentation


class TestASlip:
    @given(NUMBERS, NUMBERS)
    def test_is_one_character_or_two_neighbours_turned_round(self, one: str, other: str) -> None:
        assert is_one_slip(one, other) == (other in slips(one, "AB12") - {one})
        assert is_one_slip(one, other) == is_one_slip(other, one)

    @given(st.text("AB12", min_size=5, max_size=20).filter(lambda number: any(map(str.isdigit, number))))
    def test_leaves_one_of_three_parts_as_it_was(self, number: str) -> None:
        """So two neighbours of one name always have a mark in common."""
        one = shown(DocumentType.PASSPORT, number)
        for slipped in slips(number, "A1") - {number}:
            if any(map(str.isdigit, slipped)):
                other = shown(DocumentType.PASSPORT, slipped)
                assert are_neighbours(one.identity, other.identity)
                assert set(near_marks(one)) & set(near_marks(other))


class TestNeighbours:
    @given(RESIDENTS, st.data())
    def test_are_never_two_residents_whose_check_characters_hold(self, number: str, data: st.DataObject) -> None:
        slipped = data.draw(st.sampled_from(sorted(slips(number, "0123456789X") - {number})))
        held = slipped[:17].isdigit() and check_character(slipped[:17]) == slipped[17]
        assert not held  # ISO 7064 MOD 11-2 catches each single slip
        other = resident_number(7)
        assert not are_neighbours(
            Identity(document_type=DocumentType.RESIDENT_ID, document_number=number),
            Identity(document_type=DocumentType.RESIDENT_ID, document_number=other),
        )

    @given(RESIDENTS, st.data())
    def test_are_two_residents_where_one_showed_15_digits(self, number: str, data: st.DataObject) -> None:
        slipped = data.draw(st.sampled_from(sorted(slips(old_form(number), "0123456789") - {old_form(number)})))
        assume(slipped[0] != "9" and not isinstance(prepare(_resident(slipped), TODAY), list))
        whole, old = shown(DocumentType.RESIDENT_ID, number), shown(DocumentType.RESIDENT_ID, slipped)
        assert old.identity.document_number == lengthen(slipped)
        assert are_neighbours(whole.identity, old.identity)
        assert are_neighbours(old.identity, whole.identity)
        assert near_marks(whole) == []
        assert near_marks(old) == [(HashKind.NAME, "王小样")]

    def test_are_of_one_type(self) -> None:
        passport = shown(DocumentType.PASSPORT, "E12345678").identity
        card = shown(DocumentType.MEDICAL_INSURANCE_CARD, "E12345679").identity
        assert not are_neighbours(passport, card)
        assert are_neighbours(passport, shown(DocumentType.PASSPORT, "E12345679").identity)

    def test_are_not_two_renewals_of_one_permit(self) -> None:
        first, second = (shown(DocumentType.HK_MACAU_PERMIT, f"H123456780{n}").identity for n in (1, 2))
        assert not are_neighbours(first, second)
        assert are_neighbours(first, shown(DocumentType.HK_MACAU_PERMIT, "H12345687").identity)

    def test_of_nobody_do_not_exist(self) -> None:
        assert not are_neighbours(Identity(), Identity())
        assert near_marks(shown(DocumentType.PASSPORT, "E12345678", name=None)) == []
        assert near_marks(Presentation(Identity(), None, None, None, ())) == []


def _resident(number: str) -> PersonIn:
    return PersonIn.model_validate({"document": {"type": DocumentType.RESIDENT_ID, "number": number}})
