"""Drug lists in versions, their entries in the list's own words, and the codes and names by which products are known."""

import sqlalchemy as sa
from alembic import op

revision = "0006_catalogue"
down_revision = "0005_people"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "drug_lists",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.Column("published_size", sa.Integer()),
        sa.Column("source", sa.String(500), nullable=False),
        sa.Column("shipped", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drug_lists"),
        sa.ForeignKeyConstraint(["division"], ["divisions.code"], name="fk_drug_lists_division_divisions"),
        sa.UniqueConstraint("code", "version", name="uq_drug_lists_code_version"),
        sa.CheckConstraint("valid_to >= valid_from", name="period"),
        sa.CheckConstraint("version > 0", name="version_positive"),
    )
    op.create_index("ix_drug_lists_division", "drug_lists", ["division"])
    op.create_table(
        "listed_drugs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("list_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("wording", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name_en", sa.String(200), nullable=False),
        sa.Column("syndrome", sa.String(64), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("source_url", sa.String(500)),
        sa.PrimaryKeyConstraint("id", name="pk_listed_drugs"),
        sa.ForeignKeyConstraint(["list_id"], ["drug_lists.id"], name="fk_listed_drugs_list_id_drug_lists"),
        sa.UniqueConstraint("list_id", "wording", name="uq_listed_drugs_list_id_wording"),
        sa.UniqueConstraint("list_id", "position", name="uq_listed_drugs_list_id_position"),
        sa.CheckConstraint("kind IN ('chinese_patent', 'chemical')", name="drugkind"),
    )
    op.create_table(
        "drug_aliases",
        sa.Column("drug_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("value", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("drug_id", "kind", "value", name="pk_drug_aliases"),
        sa.ForeignKeyConstraint(["drug_id"], ["listed_drugs.id"], name="fk_drug_aliases_drug_id_listed_drugs"),
        sa.CheckConstraint("kind IN ('gtin', 'approval', 'trace', 'name')", name="aliaskind"),
    )
    op.create_index("ix_drug_aliases_kind_value", "drug_aliases", ["kind", "value"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("drug_aliases")
    op.drop_table("listed_drugs")
    op.drop_table("drug_lists")
