"""The health authority's cases, and the history of how each was classified."""

import sqlalchemy as sa
from alembic import op

revision = "0011_cases"
down_revision = "0010_registrations"
branch_labels = None
depends_on = None

CLASSIFICATIONS = ("suspected", "probable", "confirmed", "discarded")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "cases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("authority", sa.String(64), nullable=False),
        sa.Column("case_number", sa.String(64), nullable=False),
        sa.Column("disease", sa.String(64), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("classification", sa.String(32), nullable=False),
        sa.Column("onset_on", sa.Date()),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_cases_person_id_people"),
        sa.ForeignKeyConstraint(["division"], ["divisions.code"], name="fk_cases_division_divisions"),
        sa.CheckConstraint(sa.column("classification").in_(CLASSIFICATIONS), name="classification"),
        sa.CheckConstraint("(classification = 'confirmed') = (confirmed_at IS NOT NULL)", name="confirmed_when"),
    )
    op.create_index("uq_cases_authority_case_number", "cases", ["authority", "case_number"], unique=True)
    op.create_index("ix_cases_person_id", "cases", ["person_id"])
    op.create_index("ix_cases_division", "cases", ["division"], postgresql_ops={"division": "text_pattern_ops"})
    op.create_table(
        "case_classifications",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("classification", sa.String(32), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.String(500)),
        sa.Column("recorded_by", sa.String(100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "number", name="pk_case_classifications"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_case_classifications_case_id_cases"),
        sa.CheckConstraint(sa.column("classification").in_(CLASSIFICATIONS), name="classification"),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON case_classifications "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("case_classifications")
    op.drop_table("cases")
