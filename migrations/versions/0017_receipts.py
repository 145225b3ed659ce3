"""Earlier revisions of registrations, voids, and the chain of receipts of each pharmacy."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0017_receipts"
down_revision = "0016_sales"
branch_labels = None
depends_on = None

REGIMES = ("counts", "register", "register_all", "suspended")
KINDS = ("recorded", "corrected", "voided")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("registrations", sa.Column("voided_at", sa.DateTime(timezone=True)))
    op.add_column("registrations", sa.Column("void_reason", sa.String(500)))
    op.create_table(
        "registration_revisions",
        sa.Column("registration_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.SmallInteger(), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
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
        sa.Column("items", pg.JSONB(), nullable=False),
        sa.Column("identity_changed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaced_by", sa.String(100), nullable=False),
        sa.Column("replaced_by_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("registration_id", "revision", name="pk_registration_revisions"),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name="fk_registration_revisions_registration_id_registrations"
        ),
        sa.ForeignKeyConstraint(["buyer_id"], ["people.id"], name="fk_registration_revisions_buyer_id_people"),
        sa.ForeignKeyConstraint(["patient_id"], ["people.id"], name="fk_registration_revisions_patient_id_people"),
        sa.CheckConstraint(sa.column("regime").in_(REGIMES), name="regimekind"),
    )
    op.create_index("ix_registration_revisions_buyer_id", "registration_revisions", ["buyer_id"])
    op.create_index("ix_registration_revisions_patient_id", "registration_revisions", ["patient_id"])
    op.create_table(
        "receipt_heads",
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pharmacy_id", name="pk_receipt_heads"),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_receipt_heads_pharmacy_id_pharmacies"),
    )
    op.create_table(
        "receipt_links",
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("registration_id", sa.Uuid(), nullable=False),
        sa.Column("client_reference", sa.String(64), nullable=False),
        sa.Column("revision", sa.SmallInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.SmallInteger(), nullable=False),
        sa.Column("salt_seed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("pharmacy_id", "number", name="pk_receipt_links"),
        sa.CheckConstraint(sa.column("kind").in_(KINDS), name="linkkind"),
    )
    op.create_index("ix_receipt_links_registration_id", "receipt_links", ["registration_id"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("receipt_links")
    op.drop_table("receipt_heads")
    op.drop_table("registration_revisions")
    op.drop_column("registrations", "void_reason")
    op.drop_column("registrations", "voided_at")
