"""Accounts and their keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, String, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.rules import Role
from app.core.database import Base, text_enum
from app.core.ids import new_id


class Account(Base):
    """A person or an organisation with one role.

    `pharmacy_ids` is without a foreign key: the chapter of pharmacies lies above this one and vouches for them.
    """

    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[Role] = mapped_column(text_enum(Role))
    division: Mapped[str | None] = mapped_column(String(12))
    pharmacy_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'::uuid[]"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        # One account per official and division, so that a second key cannot make two people of one.
        Index(
            "uq_accounts_role_division_name",
            "role",
            "division",
            "name",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("role <> 'pharmacy'"),
        ),
        Index("ix_accounts_pharmacy_ids", "pharmacy_ids", postgresql_using="gin"),
    )


class ApiKey(Base):
    """A bearer token of an account. Only the SHA-256 of the token is kept: it has 256 random bits, so that is enough.

    `last_seen_at` is the full hour in which the key was last used; from `expires_at` on it is refused.
    """

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id), index=True)
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
