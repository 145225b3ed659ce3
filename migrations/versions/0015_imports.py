"""Files of rows that were handed in: sealed pieces, and what became of each thousand rows."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015_imports"
down_revision = "0014_alerts"
branch_labels = None
depends_on = None

FORMATS = ("csv", "xlsx")
STATES = ("receiving", "waiting", "running", "finished")
RESULTS = ("complete", "partial", "refused", "not_required", "no_rows", "unreadable", "failed")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("delimiter", sa.String(1), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("result", sa.String(32)),
        sa.Column("problem", sa.String(500)),
        sa.Column("header", postgresql.ARRAY(sa.String(100))),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Uuid()),
        sa.Column("account_name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("key_id", sa.Uuid()),
        sa.Column("pharmacy_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
        sa.CheckConstraint(sa.column("format").in_(FORMATS), name="importformat"),
        sa.CheckConstraint(sa.column("state").in_(STATES), name="importstate"),
        sa.CheckConstraint(sa.column("result").in_(RESULTS), name="importresult"),
    )
    op.create_index("ix_imports_open", "imports", ["account_id"], postgresql_where=sa.text("state <> 'finished'"))
    op.create_index("ix_imports_received_at", "imports", ["received_at"])
    op.create_table(
        "import_pieces",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "number", name="pk_import_pieces"),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name="fk_import_pieces_import_id_imports", ondelete="CASCADE"
        ),
    )
    # Sealed bytes do not shrink; trying costs more than all the rest of storing them.
    op.execute("ALTER TABLE import_pieces ALTER COLUMN sealed SET STORAGE EXTERNAL")
    op.create_table(
        "import_chunks",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("errors", postgresql.JSONB()),
        sa.Column("refused", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("import_id", "number", name="pk_import_chunks"),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name="fk_import_chunks_import_id_imports", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("import_chunks")
    op.drop_table("import_pieces")
    op.drop_table("imports")
