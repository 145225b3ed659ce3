"""Questions and questionnaires, as officials declare them and tills read them."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, StrictBool, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.core.schemas import Code, Day, DivisionCode, Filter, Label, LongText, Model, Out

MOST_QUESTIONS = 50
MOST_CHOICES = 50
YES_AND_NO = frozenset({"yes", "y", "true", "no", "n", "none", "false"})
"""What a table of purchases reads as yes or no, so no choice is called so."""

ChoiceCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""A choice. It begins with a letter, because in a table of purchases digits are a number."""
Bound = Annotated[int, Field(strict=True, ge=-1_000_000, le=1_000_000)]


class _Asking(Model):
    """What every question has; nothing is left to a default, so that a till reads exactly what an official wrote."""

    code: Code = Field(description="By this the answer goes in `answers`", examples=["contact_with_case_14d"])
    zh: Label = Field(description="The question in Chinese")
    en: Label = Field(description="The question in English")
    required: StrictBool = Field(description="Whether a registration without an answer is incomplete")


class YesNoQuestion(_Asking):
    """Answered with true or false."""

    type: Literal["yes_no"]
    clue: StrictBool | None = Field(description="The answer that makes the registration a clue; null: neither does")


class NumberQuestion(_Asking):
    """Answered with a whole number."""

    type: Literal["number"]
    minimum: Bound
    maximum: Bound
    clue_from: Bound | None = Field(description="This number and all above make the registration a clue; null: none")

    @model_validator(mode="after")
    def _has_sane_bounds(self) -> Self:
        if self.minimum > self.maximum or (self.clue_from is not None and self.clue_from > self.maximum):
            raise PydanticCustomError("bounds_invalid", "minimum and clue_from must not lie above maximum")
        return self


class Choice(Model):
    """One of the answers that a question offers."""

    code: ChoiceCode
    zh: Label
    en: Label


class _Choosing(_Asking):
    choices: Annotated[list[Choice], Field(min_length=2, max_length=MOST_CHOICES)]
    clue: Annotated[list[ChoiceCode], Field(max_length=MOST_CHOICES)] = Field(
        description="Each of these choices makes the registration a clue"
    )

    @model_validator(mode="after")
    def _offers_each_choice_once(self) -> Self:
        offered = [choice.code for choice in self.choices]
        if repeated(offered) or not YES_AND_NO.isdisjoint(offered):
            raise PydanticCustomError(
                "choice_invalid", "Each choice has a code of its own, and it is none of yes, no, none, true, false"
            )
        if not set(self.clue) <= set(offered):
            raise PydanticCustomError("clue_not_offered", "What is a clue must be one of the choices")
        return self


class SingleChoiceQuestion(_Choosing):
    """Answered with the code of one choice."""

    type: Literal["single_choice"]


class MultipleChoiceQuestion(_Choosing):
    """Answered with the codes of the choices that hold, none of them included; a lone code is a list of one."""

    type: Literal["multiple_choice"]


Question = Annotated[
    YesNoQuestion | NumberQuestion | SingleChoiceQuestion | MultipleChoiceQuestion, Field(discriminator="type")
]


class QuestionnaireIn(Model):
    """What shall be asked in a division for a disease, from a day on. Without questions nothing is asked there any more."""

    division: DivisionCode = Field(examples=["440304"])
    disease: Code = Field(examples=["dengue"])
    zh: Label = Field(examples=["登革热流行病学问询"])
    en: Label = Field(examples=["Dengue: what to ask"])
    valid_from: Day = Field(description="Today or later", examples=["2026-06-01"])
    valid_to: Day | None = Field(
        default=None, description="The first day on which it no longer holds; null: until a later version begins"
    )
    source: LongText = Field(default="", description="The notice by which it is asked")
    questions: Annotated[list[Question], Field(max_length=MOST_QUESTIONS)]

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise PydanticCustomError("period_empty", "valid_to must lie after valid_from")
        if repeated(question.code for question in self.questions):
            raise PydanticCustomError("question_twice", "Each question has a code of its own")
        return self


class AskedFilter(Filter):
    """Where and when somebody buys."""

    division: DivisionCode = Field(description="Where the pharmacy is")
    on: Day | None = Field(default=None, description="A day in China; today if left out")


class QuestionnaireFilter(Filter):
    """Which versions to show."""

    division: DivisionCode | None = Field(default=None, description="Those of this division, and those below it")
    disease: Code | None = None


class QuestionnaireOut(Out):
    """A version of a questionnaire. `shipped` marks what came with the package."""

    id: UUID
    division: str
    disease: str
    version: int
    zh: str
    en: str
    valid_from: date
    valid_to: date | None
    source: str
    shipped: bool
    questions: list[Question]
    declared_at: datetime


class AskedOut(Out):
    """What to ask at a place on a day: one questionnaire for each disease for which purchases are registered there."""

    questionnaires: list[QuestionnaireOut]


def repeated(codes: Iterable[str]) -> bool:
    """Say whether one of the codes stands there twice."""
    return any(count > 1 for count in Counter(codes).values())
