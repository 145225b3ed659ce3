"""Case lists are handed in as files: an import keeps the division of whoever handed it in."""

import sqlalchemy as sa
from alembic import op

revision = "0022_case_lists"
down_revision = "0021_matching_passes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("imports", sa.Column("division", sa.String(12)))


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("imports", "division")
