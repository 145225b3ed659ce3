"""On which days pharmacies reported, and when one that usually does fell silent."""

import sqlalchemy as sa
from alembic import op

revision = "0024_silences"
down_revision = "0023_declared_purchases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "reporting_days",
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("pharmacy_id", "day", name="pk_reporting_days"),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_reporting_days_pharmacy_id_pharmacies"),
    )
    op.create_index("ix_reporting_days_day", "reporting_days", ["day"])
    # What came before: read without a lock that anybody would wait for. What is committed meanwhile notes itself.
    op.execute(
        "INSERT INTO reporting_days (pharmacy_id, day)"
        " SELECT DISTINCT pharmacy_id, (received_at AT TIME ZONE INTERVAL '8 hours')::date FROM registrations"
        " WHERE NOT sandbox AND received_at > now() - INTERVAL '120 days'"
    )
    op.create_table(
        "pharmacy_silences",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("last_on", sa.Date(), nullable=False),
        sa.Column("expected", sa.Float(), nullable=False),
        sa.Column("limit", sa.Float(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ended_by", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name="pk_pharmacy_silences"),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_pharmacy_silences_pharmacy_id_pharmacies"),
        sa.CheckConstraint(sa.column("ended_by").in_(("reported", "closed")), name="silenceend"),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_why"),
    )
    op.create_index(
        "uq_pharmacy_silences_open",
        "pharmacy_silences",
        ["pharmacy_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_pharmacy_silences_pharmacy_id", "pharmacy_silences", ["pharmacy_id"])
    op.create_index(
        "ix_pharmacy_silences_division",
        "pharmacy_silences",
        ["division"],
        postgresql_ops={"division": "text_pattern_ops"},
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("pharmacy_silences")
    op.drop_table("reporting_days")
