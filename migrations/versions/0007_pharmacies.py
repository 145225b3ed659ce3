"""Pharmacies, what was said about their standing, and who works there."""

import sqlalchemy as sa
from alembic import op

revision = "0007_pharmacies"
down_revision = "0006_catalogue"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "pharmacies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("uscc", sa.String(18), nullable=False),
        sa.Column("licence_number", sa.String(64), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("address", sa.String(200), nullable=False),
        sa.Column("lat", sa.Float()),
        sa.Column("lon", sa.Float()),
        sa.Column("chain", sa.String(100)),
        sa.Column("enrolled_on", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pharmacies"),
        sa.ForeignKeyConstraint(["division"], ["divisions.code"], name="fk_pharmacies_division_divisions"),
        sa.UniqueConstraint("uscc", "licence_number", name="uq_pharmacies_uscc_licence_number"),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="location_whole"),
        sa.CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="location_on_earth"),
    )
    for column in ("division", "name"):
        op.create_index(f"ix_pharmacies_{column}", "pharmacies", [column], postgresql_ops={column: "text_pattern_ops"})
    op.create_table(
        "pharmacy_standings",
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("standing", sa.String(32), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("recorded_by", sa.Uuid()),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pharmacy_id", "number", name="pk_pharmacy_standings"),
        sa.ForeignKeyConstraint(
            ["pharmacy_id"], ["pharmacies.id"], name="fk_pharmacy_standings_pharmacy_id_pharmacies"
        ),
        sa.ForeignKeyConstraint(["recorded_by"], ["accounts.id"], name="fk_pharmacy_standings_recorded_by_accounts"),
        sa.CheckConstraint("standing IN ('active', 'suspended', 'closed')", name="standing"),
    )
    op.create_table(
        "roster_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.PrimaryKeyConstraint("id", name="pk_roster_entries"),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_roster_entries_pharmacy_id_pharmacies"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_roster_entries_person_id_people"),
        sa.CheckConstraint("valid_to > valid_from", name="period"),
    )
    op.create_index("ix_roster_entries_pharmacy_id", "roster_entries", ["pharmacy_id"])
    op.create_index("ix_roster_entries_person_id_pharmacy_id", "roster_entries", ["person_id", "pharmacy_id"])
    op.create_index(
        "uq_roster_entries_pharmacy_id_person_id",
        "roster_entries",
        ["pharmacy_id", "person_id"],
        unique=True,
        postgresql_where=sa.text("valid_to IS NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("roster_entries", "pharmacy_standings", "pharmacies"):
        op.drop_table(table)
