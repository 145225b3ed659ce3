"""What is asked at a place on a day, and what an answer says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from app.core.errors import FieldError
from app.divisions.rules import ancestors
from app.questionnaires.schemas import (
    MultipleChoiceQuestion,
    NumberQuestion,
    Question,
    SingleChoiceQuestion,
    YesNoQuestion,
)

EXPOSURE_ANSWERS = ("stay_in_affected_area_14d", "contact_with_case_14d")
"""What is a clue where no questionnaire is declared: each of these, answered with yes."""

FAULTS = {
    "answer_type_wrong": "The answer is not of the kind that the question asks for",
    "answer_out_of_range": "The number lies outside the bounds of the question",
    "answer_not_offered": "This is none of the choices that the question offers",
}
"""What can be wrong with an answer, by code."""

_MOST_REMEMBERED = 10_000
_MOST_VERDICTS, _LONGEST_REMEMBERED = 200, 200
"""Per place and day, and in characters: a till that makes up answers fills no memory."""


@dataclass(frozen=True, slots=True)
class Form:
    """One version of a questionnaire: what is asked in a division for a disease, from a day on."""

    id: UUID
    division: str
    disease: str
    version: int
    valid_from: date
    valid_to: date | None
    questions: Sequence[Question]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What answers are worth: what is wrong with them, what is missing, what is doubtful, and whether they are a clue."""

    errors: tuple[FieldError, ...] = ()
    missing: tuple[FieldError, ...] = ()
    warnings: tuple[FieldError, ...] = ()
    is_clue: bool = False


NOTHING = Verdict()
EXPOSED = Verdict(is_clue=True)


def fault_of(question: Question, answer: Any) -> str | None:
    """Return the code of what is wrong with an answer, None if it is one that the question asks for."""
    match question:
        case YesNoQuestion():
            return None if isinstance(answer, bool) else "answer_type_wrong"
        case NumberQuestion():
            if isinstance(answer, bool) or not isinstance(answer, int):
                return "answer_type_wrong"
            return None if question.minimum <= answer <= question.maximum else "answer_out_of_range"
        case SingleChoiceQuestion() | MultipleChoiceQuestion():
            chosen = _chosen(question, answer)
            if chosen is None:
                return "answer_type_wrong"
            offered = {choice.code for choice in question.choices}
            return None if offered.issuperset(chosen) else "answer_not_offered"


def is_clue(question: Question, answer: Any) -> bool:
    """Say whether a sound answer makes a registration a clue."""
    match question:
        case YesNoQuestion():
            return question.clue is not None and answer is question.clue
        case NumberQuestion():
            return question.clue_from is not None and bool(answer >= question.clue_from)
        case SingleChoiceQuestion() | MultipleChoiceQuestion():
            return not set(question.clue).isdisjoint(_chosen(question, answer) or ())


def _chosen(question: SingleChoiceQuestion | MultipleChoiceQuestion, answer: Any) -> Sequence[str] | None:
    if isinstance(answer, str):
        return [answer]
    return answer if isinstance(question, MultipleChoiceQuestion) and isinstance(answer, list) else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked at a place on a day: the forms in force, one for each disease that has one.

    `former` are the questions of forms that held there before, the latest first: a till that was offline may have asked by one
    of them. `known` are the codes of all questions that anybody ever asked.
    """

    forms: tuple[Form, ...] = ()
    questions: Mapping[str, Sequence[Question]] = field(default_factory=dict)
    former: Mapping[str, Sequence[Question]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    _judged: dict[str, Verdict] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Most purchases of a day bear the same few answers."""

    def judge(self, answers: Mapping[str, Any]) -> Verdict:
        """Return what answers are worth.

        An answer that no version ever asked for is an error; one that an earlier version asked for is none, because its till
        could not know better. Where no form is in force nothing is judged, and the built-in answers are clues.
        """
        if not self.forms:
            return EXPOSED if answers and any(answers.get(code) is True for code in EXPOSURE_ANSWERS) else NOTHING
        written = repr(answers)  # tells true from 1, and takes lists
        told = self._judged.get(written)
        if told is None:
            told = self._judge(answers)
            if len(self._judged) >= _MOST_VERDICTS:
                self._judged.clear()
            if len(written) <= _LONGEST_REMEMBERED:
                self._judged[written] = told
        return told

    def _judge(self, answers: Mapping[str, Any]) -> Verdict:
        errors: list[FieldError] = []
        warnings: list[FieldError] = []
        clue = False
        for code, answer in answers.items():
            asking = self.questions.get(code)
            if asking is None:
                if code in self.known:
                    warnings.append(_about(code, "question_not_asked", "The questionnaire in force does not ask this"))
                else:
                    errors.append(_about(code, "question_unknown", "No questionnaire has such a question"))
                continue
            sound = [question for question in asking if fault_of(question, answer) is None]
            if not sound:
                sound = [question for question in self.former.get(code, ()) if fault_of(question, answer) is None][:1]
                if not sound:
                    fault = fault_of(asking[0], answer) or ""
                    errors.append(_about(code, fault, FAULTS[fault]))
                    continue
                warnings.append(_about(code, "answer_outdated", "This answers an earlier version of the question"))
            clue |= any(is_clue(question, answer) for question in sound)
        missing = [
            _about(code, "required_by_questionnaire", "The questionnaire in force asks this")
            for code, asking in self.questions.items()
            if code not in answers and any(question.required for question in asking)
        ]
        return Verdict(tuple(errors), tuple(missing), tuple(warnings), clue)


NOTHING_ASKED = Asked()


def _about(code: str, finding: str, detail: str) -> FieldError:
    return FieldError(f"/answers/{code}", finding, detail)


class FormBook:
    """Every version of every questionnaire, arranged to say what is asked at any place and day; answers are remembered."""

    def __init__(self, forms: Iterable[Form]) -> None:
        self._forms: dict[str, dict[str, list[Form]]] = {}
        known = set(EXPOSURE_ANSWERS)
        for form in sorted(forms, key=lambda form: -form.version):
            self._forms.setdefault(form.disease, {}).setdefault(form.division, []).append(form)
            known.update(question.code for question in form.questions)
        self._known = frozenset(known)
        self._remembered: dict[tuple[str, date, tuple[str, ...]], Asked] = {}

    def asked(self, division: str, day: date, diseases: tuple[str, ...]) -> Asked:
        """Return what is asked in a division on a calendar day in China, where purchases are registered for these diseases."""
        place = (division, day, diseases)
        known = self._remembered.get(place)
        if known is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[place] = self._arrange(division, day, diseases)
        return known

    def _arrange(self, division: str, day: date, diseases: tuple[str, ...]) -> Asked:
        places = ancestors(division)
        forms: list[Form] = []
        former: dict[str, list[Question]] = {}
        for disease in diseases:
            of_disease = self._forms.get(disease, {})
            begun = [form for place in places for form in of_disease.get(place, ()) if form.valid_from <= day]
            holding = in_force(begun, day)
            if holding is None:
                continue
            forms.append(holding)
            for form in begun:
                if form is not holding:
                    for question in form.questions:
                        former.setdefault(question.code, []).append(question)
        if not forms:
            return NOTHING_ASKED
        questions: dict[str, list[Question]] = {}
        for form in forms:
            for question in form.questions:
                questions.setdefault(question.code, []).append(question)
        return Asked(tuple(forms), questions, former, self._known)


def in_force(begun: Iterable[Form], day: date) -> Form | None:
    """Return the form that holds, of those that have begun, narrowest division and latest version first.

    In each division the latest decides: once it has ended, those before it do not come back, and the division around is asked.
    """
    decided: set[str] = set()
    for form in begun:
        if form.division not in decided:
            if form.valid_to is None or day < form.valid_to:
                return form
            decided.add(form.division)
    return None
