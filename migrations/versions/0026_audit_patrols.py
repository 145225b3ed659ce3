"""How far the chain of the audit trail was verified: no page need verify all of it."""

import sqlalchemy as sa
from alembic import op

revision = "0026_audit_patrols"
down_revision = "0025_births_of_open"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "audit_patrols",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("verified_up_to", sa.BigInteger(), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True)),
        sa.Column("broken_at", sa.BigInteger()),
        sa.Column("key_id", sa.SmallInteger(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_patrols"),
        sa.CheckConstraint("id = 1", name="one_row"),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("audit_patrols")
