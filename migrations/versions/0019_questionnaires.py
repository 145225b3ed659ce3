"""What is asked at the counter, in versions; a state may require trace codes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0019_questionnaires"
down_revision = "0018_tills"
branch_labels = None
depends_on = None

FIELDS = "required <@ ARRAY['name', 'document', 'phone', 'address', 'temperature'{}]::varchar[]"


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "questionnaires",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("disease", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("zh", sa.String(100), nullable=False),
        sa.Column("en", sa.String(100), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.Column("source", sa.String(500), nullable=False),
        sa.Column("shipped", sa.Boolean(), nullable=False),
        sa.Column("questions", pg.JSONB(), nullable=False),
        sa.Column("declared_by", sa.Uuid()),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_questionnaires"),
        sa.ForeignKeyConstraint(["division"], ["divisions.code"], name="fk_questionnaires_division_divisions"),
        sa.ForeignKeyConstraint(["declared_by"], ["accounts.id"], name="fk_questionnaires_declared_by_accounts"),
        sa.UniqueConstraint("division", "disease", "version", name="uq_questionnaires_division_disease_version"),
        sa.CheckConstraint("valid_to > valid_from", name="period"),
        sa.CheckConstraint("version > 0", name="version_positive"),
    )
    # Every registration asks for them, and what has no token is read each time.
    op.execute("INSERT INTO versions (name, token) VALUES ('questionnaires', gen_random_uuid())")
    _require(", 'trace_codes'")


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("UPDATE regime_states SET required = array_remove(required, 'trace_codes')")
    _require("")
    op.execute("DELETE FROM versions WHERE name = 'questionnaires'")
    op.drop_table("questionnaires")


def _require(further: str) -> None:
    op.drop_constraint("required", "regime_states", type_="check")
    op.create_check_constraint("required", "regime_states", FIELDS.format(further))
