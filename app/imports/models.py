"""Imports, the files they came as, and what became of their rows."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, Integer, LargeBinary, String, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, text_enum
from app.imports.schemas import ImportFormat, ImportResult, ImportState

PIECE_BYTES = 1024 * 1024
"""All pieces of a file but the last have this size, before they are sealed."""


class Import(Base):
    """A file of rows; `size` is that of its pieces, in bytes."""

    __tablename__ = "imports"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    format: Mapped[ImportFormat] = mapped_column(text_enum(ImportFormat))
    delimiter: Mapped[str] = mapped_column(String(1))
    dry_run: Mapped[bool]
    state: Mapped[ImportState] = mapped_column(text_enum(ImportState))
    result: Mapped[ImportResult | None] = mapped_column(text_enum(ImportResult))
    problem: Mapped[str | None] = mapped_column(String(500))
    header: Mapped[list[str] | None] = mapped_column(ARRAY(String(100)))
    size: Mapped[int] = mapped_column(BigInteger)
    account_id: Mapped[UUID | None]
    account_name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(32))
    key_id: Mapped[UUID | None]
    pharmacy_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    division: Mapped[str | None] = mapped_column(String(12))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index("ix_imports_open", "account_id", postgresql_where=text("state <> 'finished'")),
        Index(None, "received_at"),
    )


class ImportPiece(Base):
    """A mebibyte of an uploaded file, sealed; gone when the file was worked through."""

    __tablename__ = "import_pieces"

    import_id: Mapped[UUID] = mapped_column(ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class ImportChunk(Base):
    """What became of up to a thousand rows. `position` and `line` say where the next chunk begins.

    The position is a byte of the text; of a workbook, which is read from its beginning each time, the share of its size that was read.

    `errors` are places and codes; the refused rows as they came are sealed, and gone after a week.
    """

    __tablename__ = "import_chunks"

    import_id: Mapped[UUID] = mapped_column(ForeignKey(Import.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    line: Mapped[int] = mapped_column(Integer)
    counts: Mapped[dict[str, int]] = mapped_column(JSONB)
    errors: Mapped[list[Any] | None] = mapped_column(JSONB)
    refused: Mapped[bytes | None] = mapped_column(LargeBinary)
