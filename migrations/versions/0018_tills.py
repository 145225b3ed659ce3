"""Tills that repeat themselves, keys that are replaced in time, pharmacies where vendors try things out."""

import sqlalchemy as sa
from alembic import op

revision = "0018_tills"
down_revision = "0017_receipts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency_keys"),
    )
    op.create_index(
        "uq_idempotency_keys_account_id_key_hash", "idempotency_keys", ["account_id", "key_hash"], unique=True
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    for column in ("last_seen_at", "expires_at"):
        op.add_column("api_keys", sa.Column(column, sa.DateTime(timezone=True)))
    # A constant default is kept in the catalogue: no row is written, however many registrations there are.
    for table in ("pharmacies", "registrations"):
        op.add_column(table, sa.Column("sandbox", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(
        "ix_registrations_sandbox_received_at",
        "registrations",
        ["received_at"],
        postgresql_where=sa.text("sandbox"),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_registrations_sandbox_received_at", table_name="registrations")
    for table in ("registrations", "pharmacies"):
        op.drop_column(table, "sandbox")
    for column in ("expires_at", "last_seen_at"):
        op.drop_column("api_keys", column)
    op.drop_table("idempotency_keys")
