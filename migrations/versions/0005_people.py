"""People: one row for each distinct presentation, sealed and keyed."""

import sqlalchemy as sa
from alembic import op

revision = "0005_people"
down_revision = "0004_accounts"
branch_labels = None
depends_on = None

DOCUMENT_TYPES = (
    "resident_id",
    "passport",
    "hk_macau_permit",
    "taiwan_permit",
    "foreigner_permanent_residence",
    "medical_insurance_card",
)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "people",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.SmallInteger(), nullable=False),
        sa.Column("presentation_hash", sa.LargeBinary(), nullable=False),
        sa.Column("document_hash", sa.LargeBinary()),
        sa.Column("phone_hash", sa.LargeBinary()),
        sa.Column("name_hash", sa.LargeBinary()),
        sa.Column("document_type", sa.String(32)),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
        sa.UniqueConstraint("presentation_hash", name="uq_people_presentation_hash"),
        sa.CheckConstraint(sa.column("document_type").in_(DOCUMENT_TYPES), name="documenttype"),
    )
    op.create_index(
        "ix_people_document_hash", "people", ["document_hash"], postgresql_where=sa.text("document_hash IS NOT NULL")
    )
    op.create_index(
        "ix_people_phone_hash_name_hash",
        "people",
        ["phone_hash", "name_hash"],
        postgresql_where=sa.text("phone_hash IS NOT NULL"),
    )
    op.create_index("ix_people_name_hash", "people", ["name_hash"], postgresql_where=sa.text("name_hash IS NOT NULL"))


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("people")
