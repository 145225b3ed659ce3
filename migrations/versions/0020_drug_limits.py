"""How much of a listed drug one purchase may hold and one buyer may buy before somebody is told."""

import sqlalchemy as sa
from alembic import op

revision = "0020_drug_limits"
down_revision = "0019_questionnaires"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "drug_limits",
        sa.Column("list_code", sa.String(64), nullable=False),
        sa.Column("wording", sa.String(100), nullable=False),
        sa.Column("most_per_purchase", sa.Integer()),
        sa.Column("most_per_buyer", sa.Integer()),
        sa.Column("within_days", sa.Integer()),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("list_code", "wording", name="pk_drug_limits"),
        sa.CheckConstraint("(most_per_buyer IS NULL) = (within_days IS NULL)", name="buyer_has_days"),
        sa.CheckConstraint("most_per_purchase > 0 AND most_per_buyer > 0 AND within_days > 0", name="positive"),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("drug_limits")
