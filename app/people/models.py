"""The one table that holds identities, and holds them sealed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.people.documents import DocumentType

SEALED_COLUMN = "sealed"
"""Named in the associated data of what is sealed, so renaming the column means sealing every row again."""


class Person(Base):
    """One distinct presentation: what was shown at a counter or stands on a case list. Never changed.

    The hashes are keyed (`core.sealing`) under the index key, whose id is `key_id`; null is what was not presented. `document_type`
    is that of the number: an insurance card that bears a resident number is a resident's document.
    """

    __tablename__ = "people"
    __table_args__ = (
        UniqueConstraint("presentation_hash", name="uq_people_presentation_hash"),
        Index("ix_people_document_hash", "document_hash", postgresql_where=text("document_hash IS NOT NULL")),
        Index(
            "ix_people_phone_hash_name_hash",
            "phone_hash",
            "name_hash",
            postgresql_where=text("phone_hash IS NOT NULL"),  # and not more: a phone is searched for alone, too
        ),
        Index("ix_people_name_hash", "name_hash", postgresql_where=text("name_hash IS NOT NULL")),
        Index("ix_people_name_birth_hash", "name_birth_hash", postgresql_where=text("name_birth_hash IS NOT NULL")),
        # Two who both showed a resident number are never one for their name and birth date, and nearly all show one.
        Index(
            "ix_people_name_birth_hash_open",
            "name_birth_hash",
            postgresql_where=text("name_birth_hash IS NOT NULL AND document_type IS DISTINCT FROM 'resident_id'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    key_id: Mapped[int] = mapped_column(SmallInteger)
    presentation_hash: Mapped[bytes] = mapped_column(LargeBinary)
    document_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    phone_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    name_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    name_birth_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    document_type: Mapped[DocumentType | None] = mapped_column(text_enum(DocumentType))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class DocumentMark(Base):
    """A keyed hash by which somebody is found whose document is one slip away (`nearness.near_marks`).

    Only who showed what nothing checks has them: a passport, a permit, a card, a resident number in 15 digits.
    """

    __tablename__ = "document_marks"

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey(Person.id), primary_key=True, index=True)
