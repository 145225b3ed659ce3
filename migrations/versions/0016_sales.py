"""Sales statements, and the products that no list knew."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016_sales"
down_revision = "0015_imports"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "sales_statements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("revision", sa.SmallInteger(), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.Column("stated_at", sa.DateTime(timezone=True)),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lines", sa.SmallInteger(), nullable=False),
        sa.Column("warnings", postgresql.JSONB(), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("sent_by", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name="pk_sales_statements"),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_sales_statements_pharmacy_id_pharmacies"),
        sa.UniqueConstraint("pharmacy_id", "day", "revision", name="uq_sales_statements_pharmacy_id_day_revision"),
    )
    op.create_index(
        "uq_sales_statements_in_force",
        "sales_statements",
        ["pharmacy_id", "day"],
        unique=True,
        postgresql_where=sa.text("in_force"),
    )
    op.create_index(
        "ix_sales_statements_division_day",
        "sales_statements",
        ["division", "day"],
        postgresql_ops={"division": "text_pattern_ops"},
    )
    op.create_table(
        "sales_items",
        sa.Column("statement_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.SmallInteger(), nullable=False),
        sa.Column("drug_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("statement_id", "line", name="pk_sales_items"),
        sa.ForeignKeyConstraint(
            ["statement_id"], ["sales_statements.id"], name="fk_sales_items_statement_id_sales_statements"
        ),
        sa.ForeignKeyConstraint(["drug_id"], ["listed_drugs.id"], name="fk_sales_items_drug_id_listed_drugs"),
        sa.CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    )
    op.create_index("ix_sales_items_drug_id", "sales_items", ["drug_id"])
    op.create_table(
        "unresolved_sightings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kinds", postgresql.ARRAY(sa.String(32)), nullable=False),
        sa.Column("codes", postgresql.ARRAY(sa.String(100)), nullable=False),
        sa.Column("pharmacies", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("divisions", postgresql.ARRAY(sa.String(12)), nullable=False),
        sa.Column("days", postgresql.ARRAY(sa.Date()), nullable=False),
        sa.Column("drugs", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("resemble", postgresql.ARRAY(sa.Boolean()), nullable=False),
        sa.Column("times", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_unresolved_sightings"),
    )
    op.create_table(
        "unresolved_products",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("value", sa.String(100), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("drug_id", sa.Uuid()),
        sa.Column("resembles", sa.Boolean(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_seen_on", sa.Date(), nullable=False),
        sa.Column("last_seen_on", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", "pharmacy_id", name="pk_unresolved_products"),
        sa.ForeignKeyConstraint(["drug_id"], ["listed_drugs.id"], name="fk_unresolved_products_drug_id_listed_drugs"),
        sa.CheckConstraint("kind IN ('gtin', 'approval', 'trace', 'name')", name="aliaskind"),
    )
    op.create_index(
        "ix_unresolved_products_division",
        "unresolved_products",
        ["division"],
        postgresql_ops={"division": "text_pattern_ops"},
    )
    op.create_index(
        "ix_unresolved_products_pharmacy_id_last_seen_on", "unresolved_products", ["pharmacy_id", "last_seen_on"]
    )
    op.create_index("ix_unresolved_products_last_seen_on", "unresolved_products", ["last_seen_on"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("unresolved_products")
    op.drop_table("unresolved_sightings")
    op.drop_table("sales_items")
    op.drop_table("sales_statements")
