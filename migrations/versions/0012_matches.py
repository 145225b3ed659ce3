"""Matches between registrations and cases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0012_matches"
down_revision = "0011_cases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "matches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("registration_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("strength", sa.String(32), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("turn", sa.SmallInteger(), nullable=False),
        sa.Column("evidence", pg.JSONB(), nullable=False),
        sa.Column("rule", sa.String(32), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_matches"),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name="fk_matches_registration_id_registrations"
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_matches_case_id_cases"),
        sa.CheckConstraint(sa.column("role").in_(("buyer", "patient")), name="matchrole"),
        sa.CheckConstraint(sa.column("strength").in_(("certain", "strong")), name="strength"),
        sa.CheckConstraint(sa.column("status").in_(("counted", "withdrawn")), name="matchstatus"),
    )
    op.create_index(
        "uq_matches_registration_id_case_id_role", "matches", ["registration_id", "case_id", "role"], unique=True
    )
    op.create_index("ix_matches_case_id", "matches", ["case_id"])
    op.create_index("ix_matches_division", "matches", ["division"], postgresql_ops={"division": "text_pattern_ops"})


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("matches")
