"""Administrative divisions. Their data is loaded by `sentinel migrate`, not here: it ships with the package and changes."""

import sqlalchemy as sa
from alembic import op

revision = "0003_divisions"
down_revision = "0002_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "divisions",
        sa.Column("code", sa.String(12), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("level", sa.String(32), nullable=False),
        sa.Column("parent_code", sa.String(12)),
        sa.PrimaryKeyConstraint("code", name="pk_divisions"),
        sa.ForeignKeyConstraint(["parent_code"], ["divisions.code"], name="fk_divisions_parent_code_divisions"),
        sa.CheckConstraint("code ~ '^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$'", name="code_shape"),
        sa.CheckConstraint("starts_with(code, parent_code) AND code <> parent_code", name="parent_is_prefix"),
        sa.CheckConstraint("(parent_code IS NULL) = (level = 'province')", name="only_provinces_are_roots"),
        sa.CheckConstraint("level IN ('province', 'city', 'county', 'street', 'community')", name="level"),
    )
    op.create_index("ix_divisions_parent_code", "divisions", ["parent_code"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("divisions")
