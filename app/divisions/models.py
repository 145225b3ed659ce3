"""The table of divisions."""

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, text_enum
from app.divisions.rules import Level


class Division(Base):
    """One administrative division. Level and parent follow from the code and are kept for joins and reports."""

    __tablename__ = "divisions"
    __table_args__ = (
        CheckConstraint("code ~ '^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$'", name="code_shape"),
        CheckConstraint("starts_with(code, parent_code) AND code <> parent_code", name="parent_is_prefix"),
        CheckConstraint("(parent_code IS NULL) = (level = 'province')", name="only_provinces_are_roots"),
    )

    code: Mapped[str] = mapped_column(String(12), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    level: Mapped[Level] = mapped_column(text_enum(Level))
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("divisions.code"), index=True)
