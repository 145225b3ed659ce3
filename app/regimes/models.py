"""The table of declared states."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, String, func, literal_column
from sqlalchemy.dialects.postgresql import ARRAY, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.models import Account
from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.divisions.models import Division
from app.regimes.rules import RegimeKind


class RegimeState(Base):
    """What a division requires for a disease, from `valid_from` until the day before `valid_to` (null: until further notice).

    `required` has the codes of `rules.RequiredField`. `declared_by` is null where the service itself declared it.
    """

    __tablename__ = "regime_states"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    division: Mapped[str] = mapped_column(ForeignKey(Division.code))
    disease: Mapped[str] = mapped_column(String(64))
    state: Mapped[RegimeKind] = mapped_column(text_enum(RegimeKind))
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    required: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    reason: Mapped[str | None] = mapped_column(String(500))
    declared_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    declared_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("valid_to > valid_from", name="period"),
        CheckConstraint(
            "required <@ ARRAY['name', 'document', 'phone', 'address', 'temperature', 'trace_codes']::varchar[]",
            name="required",
        ),
        # Two states of one division and disease on one day would be two answers to one question.
        ExcludeConstraint(
            ("division", "="),
            ("disease", "="),
            (func.daterange(literal_column("valid_from"), literal_column("valid_to")), "&&"),
            name="ex_regime_states_overlap",
            using="gist",
        ),
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
    )
