"""Purchases registered at the counter, and their listed lines."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0010_registrations"
down_revision = "0009_regimes"
branch_labels = None
depends_on = None

REGIMES = ("counts", "register", "register_all", "suspended")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "registrations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("client_reference", sa.String(64), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.SmallInteger(), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("regime", sa.String(32), nullable=False),
        sa.Column("buyer_id", sa.Uuid(), nullable=False),
        sa.Column("patient_id", sa.Uuid()),
        sa.Column("purchased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("temperature_c", sa.Numeric(4, 2)),
        sa.Column("patient_temperature_c", sa.Numeric(4, 2)),
        sa.Column("symptoms", pg.ARRAY(sa.String(32)), nullable=False),
        sa.Column("answers", pg.JSONB()),
        sa.Column("checks", pg.JSONB()),
        sa.Column("flags", pg.ARRAY(sa.String(32)), nullable=False),
        sa.Column("warnings", pg.JSONB()),
        sa.Column("sent_by", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name="pk_registrations"),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_registrations_pharmacy_id_pharmacies"),
        sa.ForeignKeyConstraint(["buyer_id"], ["people.id"], name="fk_registrations_buyer_id_people"),
        sa.ForeignKeyConstraint(["patient_id"], ["people.id"], name="fk_registrations_patient_id_people"),
        sa.CheckConstraint(sa.column("regime").in_(REGIMES), name="regimekind"),
    )
    op.create_index(
        "uq_registrations_pharmacy_id_client_reference",
        "registrations",
        ["pharmacy_id", "client_reference"],
        unique=True,
    )
    op.create_index("ix_registrations_pharmacy_id_purchased_at", "registrations", ["pharmacy_id", "purchased_at"])
    op.create_index("ix_registrations_buyer_id", "registrations", ["buyer_id"])
    op.create_index(
        "ix_registrations_patient_id",
        "registrations",
        ["patient_id"],
        postgresql_where=sa.text("patient_id IS NOT NULL"),
    )
    op.create_table(
        "registration_items",
        sa.Column("registration_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.SmallInteger(), nullable=False),
        sa.Column("drug_id", sa.Uuid(), nullable=False),
        sa.Column("resolved_by", sa.String(16), nullable=False),
        sa.Column("quantity", sa.SmallInteger(), nullable=False),
        sa.Column("gtin", sa.String(14)),
        sa.Column("approval_number", sa.String(20)),
        sa.Column("batch", sa.String(40)),
        sa.Column("trace_codes", pg.ARRAY(sa.String(20))),
        sa.PrimaryKeyConstraint("registration_id", "line", name="pk_registration_items"),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name="fk_registration_items_registration_id_registrations"
        ),
        sa.ForeignKeyConstraint(["drug_id"], ["listed_drugs.id"], name="fk_registration_items_drug_id_listed_drugs"),
    )
    op.create_index("ix_registration_items_drug_id", "registration_items", ["drug_id"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("registration_items")
    op.drop_table("registrations")
