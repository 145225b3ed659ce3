"""What is asked where and when, and what answers are worth."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.core.errors import FieldError
from app.core.ids import new_id
from app.divisions.rules import within
from app.questionnaires.rules import EXPOSURE_ANSWERS, Asked, Form, FormBook, fault_of, is_clue
from app.questionnaires.schemas import Question, QuestionnaireIn

DAY = date(2026, 2, 15)
READ: TypeAdapter[Question] = TypeAdapter(Question)
SAID = {"zh": "合成问题", "en": "A synthetic question", "required": False}
CHOICES = [{"code": code, "zh": "合成", "en": "Synthetic"} for code in ("home", "work", "abroad")]


def yes_no(code: str = "bitten", **members: Any) -> dict[str, Any]:
    return {"code": code, "type": "yes_no", "clue": True} | SAID | members


def number(code: str = "days_ill", **members: Any) -> dict[str, Any]:
    return {"code": code, "type": "number", "minimum": 0, "maximum": 60, "clue_from": 14} | SAID | members


def choice(code: str = "where", kind: str = "single_choice", **members: Any) -> dict[str, Any]:
    return {"code": code, "type": kind, "choices": CHOICES, "clue": ["abroad"]} | SAID | members


def a_form(*questions: dict[str, Any], division: str = "44", **members: Any) -> Form:
    told: dict[str, Any] = {"disease": "dengue", "version": 1, "valid_from": DAY, "valid_to": None} | members
    return Form(new_id(), division, questions=[READ.validate_python(one) for one in questions], **told)


def asked(*forms: Form, day: date = DAY, diseases: tuple[str, ...] = ("dengue",)) -> Asked:
    return FormBook(forms).asked("440304005", day, diseases)


def codes(findings: tuple[FieldError, ...]) -> list[tuple[str, str]]:
    return [(one.pointer, one.code) for one in findings]


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("question", "answer", "fault", "clue"),
        [
            (yes_no(), True, None, True),
            (yes_no(), False, None, False),
            (yes_no(clue=False), False, None, True),
            (yes_no(clue=None), True, None, False),
            (yes_no(), 1, "answer_type_wrong", None),
            (yes_no(), "yes", "answer_type_wrong", None),
            (number(), 0, None, False),
            (number(), 13, None, False),
            (number(), 14, None, True),
            (number(), 60, None, True),
            (number(), 61, "answer_out_of_range", None),
            (number(), -1, "answer_out_of_range", None),
            (number(), True, "answer_type_wrong", None),
            (number(), ["home"], "answer_type_wrong", None),
            (choice(), "home", None, False),
            (choice(), "abroad", None, True),
            (choice(), "moon", "answer_not_offered", None),
            (choice(), ["home"], "answer_type_wrong", None),
            (choice(), 3, "answer_type_wrong", None),
            (choice(kind="multiple_choice"), ["home", "work"], None, False),
            (choice(kind="multiple_choice"), ["abroad", "work"], None, True),
            (choice(kind="multiple_choice"), [], None, False),
            (choice(kind="multiple_choice"), "abroad", None, True),
            (choice(kind="multiple_choice"), ["home", "moon"], "answer_not_offered", None),
            (choice(kind="multiple_choice"), True, "answer_type_wrong", None),
        ],
    )
    def test_is_what_its_question_asks_for_or_has_a_fault(
        self, question: dict[str, Any], answer: Any, fault: str | None, clue: bool | None
    ) -> None:
        read = READ.validate_python(question)
        assert fault_of(read, answer) == fault
        if fault is None:
            assert is_clue(read, answer) == clue


class TestAQuestion:
    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            (number(minimum=61), "bounds_invalid"),
            (number(clue_from=61), "bounds_invalid"),
            (choice(clue=["moon"]), "clue_not_offered"),
            (choice(choices=[*CHOICES, CHOICES[0]]), "choice_invalid"),
            (choice(choices=[*CHOICES, CHOICES[0] | {"code": "no"}]), "choice_invalid"),
            (choice(choices=[*CHOICES, CHOICES[0] | {"code": "14"}]), "string_pattern_mismatch"),
            (choice(choices=CHOICES[:1]), "too_short"),
            (yes_no(type="free_text"), "union_tag_invalid"),
            ({name: value for name, value in yes_no().items() if name != "clue"}, "missing"),
        ],
    )
    def test_that_cannot_be_asked_is_refused(self, wrong: dict[str, Any], code: str) -> None:
        with pytest.raises(ValidationError) as refused:
            READ.validate_python(wrong)
        assert code in [one["type"] for one in refused.value.errors()]

    def test_stands_once_in_a_questionnaire(self) -> None:
        told = {"division": "44", "disease": "dengue", "zh": "合成", "en": "Synthetic", "valid_from": "2026-02-15"}
        with pytest.raises(ValidationError, match="question_twice"):
            QuestionnaireIn.model_validate(told | {"questions": [yes_no(), number("bitten")]})


class TestAnswers:
    def test_where_nothing_is_declared_are_clues_as_they_always_were(self) -> None:
        nothing = asked()
        for code in EXPOSURE_ANSWERS:
            assert nothing.judge({code: True}).is_clue
            assert not nothing.judge({code: False}).is_clue
            assert not nothing.judge({code: "yes"}).is_clue
        assert nothing.judge({"anything": 7}) == asked(a_form(yes_no("other"), disease="measles")).judge(
            {"anything": 7}
        )

    def test_are_judged_by_the_questions_in_force(self) -> None:
        told = asked(a_form(yes_no(), number())).judge({"bitten": False, "days_ill": 15})
        assert (told.errors, told.missing, told.warnings, told.is_clue) == ((), (), (), True)

    def test_that_are_required_are_missing_if_they_are_not_there(self) -> None:
        told = asked(a_form(yes_no(required=True), number())).judge({})
        assert codes(told.missing) == [("/answers/bitten", "required_by_questionnaire")]
        assert told.errors == ()

    def test_that_no_version_asked_for_are_errors_with_pointers(self) -> None:
        told = asked(a_form(yes_no(), number(), choice())).judge(
            {"bitten": 3, "days_ill": 99, "where": "moon", "bited": 1}
        )
        assert codes(told.errors) == [
            ("/answers/bitten", "answer_type_wrong"),
            ("/answers/days_ill", "answer_out_of_range"),
            ("/answers/where", "answer_not_offered"),
            ("/answers/bited", "question_unknown"),
        ]

    def test_to_an_earlier_version_are_kept_with_a_warning_and_are_clues_by_it(self) -> None:
        before = a_form(yes_no(), yes_no("travelled"), valid_from=DAY - timedelta(days=9))
        after = a_form(choice("bitten", "multiple_choice"), version=2)
        told = asked(before, after).judge({"bitten": True, "travelled": True})
        assert codes(told.warnings) == [
            ("/answers/bitten", "answer_outdated"),
            ("/answers/travelled", "question_not_asked"),
        ]
        assert (told.errors, told.is_clue) == ((), True)
        assert not asked(before, after).judge({"travelled": True}).is_clue

    def test_to_a_version_that_has_not_begun_are_errors(self) -> None:
        tomorrow = a_form(choice("bitten"), version=2, valid_from=DAY + timedelta(days=1))
        told = asked(a_form(yes_no()), tomorrow).judge({"bitten": "home"})
        assert codes(told.errors) == [("/answers/bitten", "answer_type_wrong")]

    def test_to_questions_of_another_place_or_disease_are_no_slips(self) -> None:
        forms = [
            a_form(yes_no()),
            a_form(yes_no("elsewhere"), division="4401"),
            a_form(yes_no("rash"), disease="measles"),
        ]
        told = asked(*forms).judge({"elsewhere": True, "rash": True, EXPOSURE_ANSWERS[0]: True})
        assert {code for _, code in codes(told.warnings)} == {"question_not_asked"}
        assert (told.errors, told.is_clue) == ((), False)

    def test_may_fit_either_of_two_diseases_that_ask_alike(self) -> None:
        both = [a_form(yes_no(clue=None)), a_form(yes_no(required=True), disease="malaria")]
        told = asked(*both, diseases=("dengue", "malaria")).judge({"bitten": True})
        assert told.is_clue
        assert codes(asked(*both, diseases=("dengue", "malaria")).judge({}).missing) == [
            ("/answers/bitten", "required_by_questionnaire")
        ]


@st.composite
def forms(draw: st.DrawFn) -> list[Form]:
    places = draw(st.lists(st.sampled_from(["44", "4403", "440304", "440304005", "440303"]), max_size=8))
    found = []
    for at, division in enumerate(places):
        begins = DAY + timedelta(days=draw(st.integers(-3, 3)))
        ends = draw(st.none() | st.integers(1, 4).map(lambda days, begins=begins: begins + timedelta(days=days)))
        version = 1 + sum(one == division for one in places[:at])
        found.append(a_form(yes_no(f"q{at}"), division=division, version=version, valid_from=begins, valid_to=ends))
    return found


class TestTheFormOfAPlaceAndDay:
    @given(forms(), st.integers(-3, 6))
    def test_is_the_latest_of_the_narrowest_division_in_which_the_latest_still_holds(
        self, some: list[Form], later: int
    ) -> None:
        day = DAY + timedelta(days=later)
        candidates = []
        for division in {form.division for form in some if within("440304005", form.division)}:
            begun = [form for form in some if form.division == division and form.valid_from <= day]
            latest = max(begun, key=lambda form: form.version, default=None)
            if latest is not None and (latest.valid_to is None or day < latest.valid_to):
                candidates.append(latest)
        expected = [max(candidates, key=lambda form: len(form.division))] if candidates else []
        assert list(asked(*some, day=day).forms) == expected
