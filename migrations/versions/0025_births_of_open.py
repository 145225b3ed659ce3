"""An index of names and birth dates of those who did not show a resident number: what a resident's are compared with."""

import sqlalchemy as sa
from alembic import op

revision = "0025_births_of_open"
down_revision = "0024_silences"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "ix_people_name_birth_hash_open",
        "people",
        ["name_birth_hash"],
        postgresql_where=sa.text("name_birth_hash IS NOT NULL AND document_type IS DISTINCT FROM 'resident_id'"),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_people_name_birth_hash_open", table_name="people")
