"""What cases told of their purchases; alerts about misses and silent pharmacies."""

import sqlalchemy as sa
from alembic import op

revision = "0023_declared_purchases"
down_revision = "0022_case_lists"
branch_labels = None
depends_on = None

KINDS = ("case.matched", "clue.reported", "match.withdrawn")
NEW_KINDS = ("purchase.missed", "pharmacy.silent")
STATUSES = ("covered", "missed", "not_required", "not_judged")
GROUNDS = (
    *("registered", "not_registered", "other_drug", "regime_counts", "drug_unlisted", "pharmacy_not_open", "retracted"),
    *("case_discarded", "outside_window", "match_unreviewed"),
)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "declared_purchases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid()),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("purchased_on", sa.Date(), nullable=False),
        sa.Column("tolerance_days", sa.SmallInteger(), nullable=False),
        sa.Column("drug", sa.String(100)),
        sa.Column("drug_key", sa.String(200), nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("declared_by", sa.String(100), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("ground", sa.String(32), nullable=False),
        sa.Column("registration_id", sa.Uuid()),
        sa.Column("turn", sa.SmallInteger(), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retracted_at", sa.DateTime(timezone=True)),
        sa.Column("retracted_by", sa.String(100)),
        sa.Column("retract_reason", sa.String(500)),
        sa.PrimaryKeyConstraint("id", name="pk_declared_purchases"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_declared_purchases_case_id_cases"),
        sa.ForeignKeyConstraint(
            ["pharmacy_id"], ["pharmacies.id"], name="fk_declared_purchases_pharmacy_id_pharmacies"
        ),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name="fk_declared_purchases_registration_id_registrations"
        ),
        sa.CheckConstraint(sa.column("status").in_(STATUSES), name="purchasestatus"),
        sa.CheckConstraint(sa.column("ground").in_(GROUNDS), name="ground"),
        sa.CheckConstraint("(status = 'covered') = (registration_id IS NOT NULL)", name="covered_by"),
        sa.CheckConstraint("(retracted_at IS NULL) = (retract_reason IS NULL)", name="retracted_why"),
    )
    op.create_index(
        "uq_declared_purchases_told",
        "declared_purchases",
        ["case_id", "pharmacy_id", "division", "purchased_on", "drug_key"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("retracted_at IS NULL"),
    )
    for column in ("case_id", "registration_id", "pharmacy_id"):
        op.create_index(f"ix_declared_purchases_{column}", "declared_purchases", [column])
    op.create_index(
        "ix_declared_purchases_division_purchased_on",
        "declared_purchases",
        ["division", "purchased_on"],
        postgresql_ops={"division": "text_pattern_ops"},
    )
    _allow(*KINDS, *NEW_KINDS)


def downgrade() -> None:
    """Take back. Alerts of the new kinds go: what is left could not say what they are about."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    new = ", ".join(f"'{kind}'" for kind in NEW_KINDS)
    op.execute("ALTER TABLE alert_transitions DISABLE TRIGGER append_only")
    op.execute(f"DELETE FROM alert_transitions USING alerts WHERE alert_id = alerts.id AND kind IN ({new})")
    op.execute("ALTER TABLE alert_transitions ENABLE TRIGGER append_only")
    op.execute(f"DELETE FROM alerts WHERE kind IN ({new})")
    _allow(*KINDS)
    op.drop_table("declared_purchases")


def _allow(*kinds: str) -> None:
    # Not valid at first: rows are checked without holding up those who write.
    op.execute("ALTER TABLE alerts DROP CONSTRAINT ck_alerts_alertkind")
    told = ", ".join(f"'{kind}'" for kind in kinds)
    op.execute(f"ALTER TABLE alerts ADD CONSTRAINT ck_alerts_alertkind CHECK (kind IN ({told})) NOT VALID")
    op.execute("ALTER TABLE alerts VALIDATE CONSTRAINT ck_alerts_alertkind")
