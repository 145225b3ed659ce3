"""A person as presented. Everybody here is synthetic."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.people.documents import DocumentType
from app.people.rules import Identity, Presentation, decode, encode, prepare, reveal
from app.people.schemas import PersonIn

TODAY = date(2026, 2, 15)
WHOLE: dict[str, Any] = {
    "name": "王小明",
    "document": {"type": "resident_id", "number": "11010519491231002X"},
    "phone": "13800138000",
    "address": {"division": "440304005", "line": "沙头街道某花园 3 栋"},
}

texts = st.none() | st.text(max_size=12) | st.sampled_from(["", "-", "1:a", "--", "0:", "3:1:a"])
identities = st.builds(
    Identity,
    name=texts,
    document_type=st.none() | st.sampled_from(DocumentType),
    document_number=texts,
    document_missing_reason=texts,
    phone=texts,
    address_division=texts,
    address_line=texts,
    birth_date=st.none() | st.dates(),
    document_old_form=st.booleans(),
)


def prepared(**changes: Any) -> Presentation:
    presentation = prepare(PersonIn.model_validate({**WHOLE, **changes}), TODAY)
    assert isinstance(presentation, Presentation), presentation
    return presentation


def problems(**changes: Any) -> list[tuple[str, str]]:
    result = prepare(PersonIn.model_validate({**WHOLE, **changes}), TODAY)
    assert isinstance(result, list)
    return [(problem.pointer, problem.code) for problem in result]


class TestAPresentation:
    def test_holds_what_was_shown_normalised(self) -> None:
        presentation = prepared(phone="+86 138-0013-8000", name=" 王小明 ")
        assert presentation.identity == prepared().identity
        assert presentation.identity.phone == "+8613800138000"
        assert presentation.missing == ()
        assert presentation.notices == ()
        assert not presentation.is_anonymous

    def test_of_nobody_is_anonymous(self) -> None:
        blank = {"name": " ", "document": {"type": "passport", "number": "\u3000"}, "phone": "", "address": None}
        for empty in (prepared(**blank), prepared(name=None, document=None, phone=None, address=None)):
            assert empty.is_anonymous
            assert empty.missing == ("name", "document", "phone", "address")
            assert empty.identity == Identity()

    def test_without_a_document_needs_a_reason_to_be_whole(self) -> None:
        assert prepared(document=None).missing == ("document",)
        assert prepared(document=None, document_missing_reason="  ").missing == ("document",)
        assert prepared(document=None, document_missing_reason="synthetic").missing == ()

    def test_with_a_document_does_not_keep_a_reason(self) -> None:
        presentation = prepared(document_missing_reason="synthetic")
        assert presentation.identity.document_missing_reason is None
        assert [notice.code for notice in presentation.notices] == ["document_missing_reason_not_kept"]

    def test_with_half_an_address_lacks_it(self) -> None:
        assert prepared(address={"division": "440304005"}).missing == ("address",)
        assert prepared(address={"line": "synthetic"}).missing == ("address",)

    def test_with_a_name_of_no_letters_lacks_it_and_says_so(self) -> None:
        presentation = prepared(name="---")
        assert presentation.missing == ("name",)
        assert presentation.identity.name_comparable is None
        assert [notice.code for notice in presentation.notices] == ["name_empty"]

    def test_tells_every_problem_at_once(self) -> None:
        document = {"type": "resident_id", "number": "110105194912310021"}
        assert problems(document=document, phone="123", name="王" * 50 + "ﷺ" * 50) == [
            ("/document/number", "document_checksum_wrong"),
            ("/name", "name_invalid"),
            ("/phone", "phone_invalid"),
        ]

    def test_shows_nobody_in_its_repr(self) -> None:
        presentation = prepared()
        for shown in (
            repr(presentation),
            repr(presentation.identity),
            str(presentation.document),
            f"{presentation.name}",
        ):
            assert not any(part in shown for part in ("王", "1101", "138", "沙"))

    @given(
        st.fixed_dictionaries(
            {
                "name": st.none() | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=100),
                "phone": st.none() | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=100),
            }
        ),
        st.sampled_from(DocumentType),
        st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=100),
    )
    def test_or_problems_come_of_any_text(self, person: dict[str, Any], kind: DocumentType, number: str) -> None:
        result = prepare(PersonIn(**person, document={"type": kind, "number": number}), TODAY)  # type: ignore[arg-type]
        if isinstance(result, Presentation):
            assert decode(encode(result.identity)) == result.identity
        else:
            assert result
            assert all(problem.pointer.startswith("/") for problem in result)


class TestABirthDate:
    def test_is_told_where_the_document_does_not(self) -> None:
        passport = {"type": "passport", "number": "E12345678"}
        for document in (None, passport):
            identity = prepared(document=document, birth_date="1949-12-31").identity
            assert identity.birth_date == identity.born == date(1949, 12, 31)

    def test_that_the_document_tells_is_not_kept_twice(self) -> None:
        presentation = prepared(birth_date="1949-12-31")
        assert presentation.identity == prepared().identity
        assert presentation.identity.birth_date is None
        assert presentation.identity.born == date(1949, 12, 31)

    def test_does_not_contradict_the_document(self) -> None:
        assert problems(birth_date="1949-12-30") == [("/birth_date", "birth_date_contradicts_document")]

    def test_does_not_lie_ahead(self) -> None:
        assert problems(document=None, birth_date="2026-02-16") == [("/birth_date", "birth_date_invalid")]
        assert prepared(document=None, birth_date="2026-02-15").identity.born == TODAY

    def test_and_a_name_are_a_text_of_their_own(self) -> None:
        assert prepared().name_and_birth == prepared(document=None, birth_date="1949-12-31").name_and_birth
        assert prepared(name=None).name_and_birth is None
        assert prepared(document=None).name_and_birth is None


class TestAnOldNumber:
    def test_is_another_presentation_of_the_same_document(self) -> None:
        old, new = prepared(document={"type": "resident_id", "number": "110105491231002"}), prepared()
        assert old.identity.document_comparable == new.identity.document_comparable
        assert (old.identity.document_old_form, new.identity.document_old_form) == (True, False)
        assert encode(old.identity) != encode(new.identity)


class TestTheEncoding:
    def test_of_what_was_kept_before_there_were_birth_dates_is_as_it_was(self) -> None:
        assert encode(Identity(name="a")) == "1:a------"
        assert encode(Identity(birth_date=date(2000, 1, 2))) == "-------10:2000-01-02-"

    @given(identities)
    def test_is_read_back_as_it_was(self, identity: Identity) -> None:
        assert decode(encode(identity)) == identity

    @given(identities, identities)
    def test_differs_where_identities_differ(self, one: Identity, other: Identity) -> None:
        assert (encode(one) == encode(other)) == (one == other)

    def test_keeps_neighbouring_members_apart(self) -> None:
        assert encode(Identity(name="ab", phone="c")) != encode(Identity(name="a", phone="bc"))
        assert encode(Identity(name="")) != encode(Identity())

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-",
            "------",
            "--------",
            "9:a------",
            "x------",
            "---------",
            "--------2:15-",
            "--------2:16",
            "-------1:x-",
            ":------",
            "-3:abc-----",
            "²:a",
        ],
    )
    def test_of_nothing_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^not an encoded identity$"):
            decode(text)


class TestAReveal:
    def test_tells_what_was_presented(self) -> None:
        assert reveal(prepared().identity).model_dump(mode="json") == {
            **WHOLE,
            "phone": "+8613800138000",
            "document_missing_reason": None,
            "birth_date": "1949-12-31",
        }
        assert reveal(Identity()).model_dump() == dict.fromkeys(
            ("name", "document", "document_missing_reason", "phone", "address", "birth_date")
        )
