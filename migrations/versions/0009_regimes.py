"""What a division requires, from when to when."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0009_regimes"
down_revision = "0008_webhooks"
branch_labels = None
depends_on = None

STATES = ("counts", "register", "register_all", "suspended")
FIELDS = "ARRAY['name', 'document', 'phone', 'address', 'temperature']::varchar[]"


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    # For "no overlap per division and disease". It ships with PostgreSQL and is trusted: the database's owner may create it.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "regime_states",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("disease", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.Column("required", pg.ARRAY(sa.String(32)), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("declared_by", sa.Uuid()),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_regime_states"),
        sa.ForeignKeyConstraint(["division"], ["divisions.code"], name="fk_regime_states_division_divisions"),
        sa.ForeignKeyConstraint(["declared_by"], ["accounts.id"], name="fk_regime_states_declared_by_accounts"),
        sa.CheckConstraint(sa.column("state").in_(STATES), name="regimekind"),
        sa.CheckConstraint("valid_to > valid_from", name="period"),
        sa.CheckConstraint(f"required <@ {FIELDS}", name="required"),
        pg.ExcludeConstraint(
            (sa.column("division"), "="),
            (sa.column("disease"), "="),
            (sa.text("daterange(valid_from, valid_to)"), "&&"),
            name="ex_regime_states_overlap",
            using="gist",
        ),
    )
    op.create_index(
        "ix_regime_states_division", "regime_states", ["division"], postgresql_ops={"division": "text_pattern_ops"}
    )


def downgrade() -> None:
    """Take back. The extension stays: something else may use it by now."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("regime_states")
