"""Possible matches, what finds them, and what reviewers say of them."""

import sqlalchemy as sa
from alembic import op

revision = "0021_matching_passes"
down_revision = "0020_drug_limits"
branch_labels = None
depends_on = None

_STATUSES = ("counted", "possible", "confirmed", "rejected", "withdrawn")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("people", sa.Column("name_birth_hash", sa.LargeBinary()))
    op.create_index(
        "ix_people_name_birth_hash",
        "people",
        ["name_birth_hash"],
        postgresql_where=sa.text("name_birth_hash IS NOT NULL"),
    )
    op.create_table(
        "document_marks",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("hash", "person_id", name="pk_document_marks"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_document_marks_person_id_people"),
    )
    op.create_index("ix_document_marks_person_id", "document_marks", ["person_id"])

    op.drop_constraint(op.f("ck_matches_strength"), "matches", type_="check")
    op.drop_constraint(op.f("ck_matches_matchstatus"), "matches", type_="check")
    op.create_check_constraint("strength", "matches", sa.column("strength").in_(("certain", "strong", "possible")))
    op.create_check_constraint("matchstatus", "matches", sa.column("status").in_(_STATUSES))
    op.execute("UPDATE matches SET rule = CASE strength WHEN 'certain' THEN 'document/1' ELSE 'phone_name/1' END")
    op.add_column("matches", sa.Column("pair", sa.LargeBinary()))
    op.create_index("ix_matches_pair", "matches", ["pair"])
    op.create_index("ix_matches_possible", "matches", ["id"], postgresql_where=sa.text("status = 'possible'"))

    op.create_table(
        "match_reviews",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pair", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("match_id", sa.Uuid(), nullable=False),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("strength", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("account_id", sa.Uuid()),
        sa.Column("account_name", sa.String(100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_match_reviews"),
        sa.ForeignKeyConstraint(["match_id"], ["matches.id"], name="fk_match_reviews_match_id_matches"),
        sa.CheckConstraint(sa.column("act").in_(("confirm", "reject", "reopen")), name="act"),
        sa.CheckConstraint(sa.column("strength").in_(("certain", "strong", "possible")), name="strength"),
    )
    op.create_index("uq_match_reviews_pair_number", "match_reviews", ["pair", "number"], unique=True)
    op.create_index("ix_match_reviews_match_id", "match_reviews", ["match_id"])


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("match_reviews")
    op.drop_index("ix_matches_possible", table_name="matches")
    op.drop_index("ix_matches_pair", table_name="matches")
    op.drop_column("matches", "pair")
    # Alerts may point to a confirmed match, so possible ones stay, withdrawn; what was known before finds none of them again.
    op.execute("UPDATE matches SET status = 'withdrawn' WHERE status <> 'counted'")
    op.execute("UPDATE matches SET strength = 'strong' WHERE strength = 'possible'")
    op.execute("UPDATE matches SET rule = '2026-1'")
    op.drop_constraint(op.f("ck_matches_matchstatus"), "matches", type_="check")
    op.drop_constraint(op.f("ck_matches_strength"), "matches", type_="check")
    op.create_check_constraint("strength", "matches", sa.column("strength").in_(("certain", "strong")))
    op.create_check_constraint("matchstatus", "matches", sa.column("status").in_(("counted", "withdrawn")))
    op.drop_table("document_marks")
    op.drop_index("ix_people_name_birth_hash", table_name="people")
    op.drop_column("people", "name_birth_hash")
