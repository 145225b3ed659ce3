"""An alert as it is shown and answered."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.alerts.rules import AlertKind, AlertState, Severity
from app.core.schemas import Code, DivisionCode, Filter, Model, Out, Reason


class TransitionOut(Out):
    """A step of an alert."""

    number: int
    state: AlertState
    account_name: str
    feedback: str | None
    at: datetime


class AlertOut(Out):
    """Something that a person must look at before `deadline_at`. The ids lead on; none of them is an identity."""

    id: UUID
    kind: AlertKind
    severity: Severity
    state: AlertState
    division: str
    disease: str | None
    registration_id: UUID | None
    pharmacy_id: UUID | None
    case_id: UUID | None
    match_id: UUID | None
    raised_at: datetime
    deadline_at: datetime
    history: list[TransitionOut]


class AlertFilter(Filter):
    """Which alerts to show; all conditions must hold."""

    division: DivisionCode | None = Field(default=None, description="This division and those below it")
    kind: AlertKind | None = None
    state: AlertState | None = None
    severity: Severity | None = None
    disease: Code | None = None
    case: UUID | None = None
    registration: UUID | None = None


class AcknowledgeIn(Model):
    """The answer: somebody is on it."""

    feedback: Reason | None = Field(default=None, description="What will be done. Must not name anybody.")


class CloseIn(Model):
    """The feedback: what came of it."""

    feedback: Reason = Field(description="What was found and done. Must not name anybody.")
