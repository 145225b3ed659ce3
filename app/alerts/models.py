"""Alerts, and what became of each."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.alerts.rules import AlertKind, AlertState, Severity
from app.cases.models import Case
from app.core.database import Base, text_enum
from app.matching.models import Match
from app.pharmacies.models import Pharmacy
from app.registrations.models import Registration


class Alert(Base):
    """Something that a person must look at before `deadline_at`. `key` names what it is about, so it is raised once."""

    __tablename__ = "alerts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(100), unique=True)
    kind: Mapped[AlertKind] = mapped_column(text_enum(AlertKind))
    severity: Mapped[Severity] = mapped_column(text_enum(Severity))
    state: Mapped[AlertState] = mapped_column(text_enum(AlertState))
    division: Mapped[str] = mapped_column(String(12))
    disease: Mapped[str | None] = mapped_column(String(64))
    registration_id: Mapped[UUID | None] = mapped_column(ForeignKey(Registration.id))
    pharmacy_id: Mapped[UUID | None] = mapped_column(ForeignKey(Pharmacy.id))
    case_id: Mapped[UUID | None] = mapped_column(ForeignKey(Case.id))
    match_id: Mapped[UUID | None] = mapped_column(ForeignKey(Match.id))
    raised_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    deadline_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
        Index(None, "raised_at", "id"),
        Index(None, "registration_id"),
        Index(None, "case_id"),
        Index("ix_alerts_open", "deadline_at", postgresql_where=text("state <> 'closed'")),
    )


class AlertTransition(Base):
    """A step of an alert, numbered from 1; never changed. `feedback` must not name anybody."""

    __tablename__ = "alert_transitions"

    alert_id: Mapped[UUID] = mapped_column(ForeignKey(Alert.id), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    state: Mapped[AlertState] = mapped_column(text_enum(AlertState))
    account_id: Mapped[UUID | None]
    account_name: Mapped[str] = mapped_column(String(100))
    feedback: Mapped[str | None] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
