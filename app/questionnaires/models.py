"""The table of questionnaires."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, String, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.models import Account
from app.core.database import Base
from app.core.ids import new_id
from app.divisions.models import Division


class Questionnaire(Base):
    """One version of what is asked in a division for a disease; never changed.

    Of the versions that have begun the latest holds, until `valid_to` (null: until a later one begins). `declared_by` is null
    where the service itself declared it.
    """

    __tablename__ = "questionnaires"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    division: Mapped[str] = mapped_column(ForeignKey(Division.code))
    disease: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    zh: Mapped[str] = mapped_column(String(100))
    en: Mapped[str] = mapped_column(String(100))
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    source: Mapped[str] = mapped_column(String(500))
    shipped: Mapped[bool]
    questions: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    declared_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    declared_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        UniqueConstraint("division", "disease", "version"),
        CheckConstraint("valid_to > valid_from", name="period"),
        CheckConstraint("version > 0", name="version_positive"),
    )
