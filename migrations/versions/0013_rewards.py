"""Reward policies with their first version, decisions and their history, and the ledger."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0013_rewards"
down_revision = "0012_matches"
branch_labels = None
depends_on = None

STATUSES = ("proposed", "not_eligible", "approved", "rejected", "paid", "reversed")
ACTS = ("evaluate", "approve", "reject", "pay", "reverse", "withdraw", "reopen")

# Earlier than any case: there is always a policy in force.
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)

# Written out, not taken from the code: what version 1 said must not change when the code's defaults do.
VERSION_1 = {
    "on_time_hours": 24,
    "window_days": 14,
    "award": "first",
    "amount": "1000.00",
    "currency": "CNY",
    "cap_per_month": 3,
}


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    policies = op.create_table(
        "reward_policies",
        sa.Column("version", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("parameters", pg.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_reward_policies"),
        sa.CheckConstraint("version > 0", name="version"),
    )
    op.bulk_insert(
        policies,
        [
            {
                "version": 1,
                "valid_from": ALWAYS,
                "parameters": VERSION_1,
                "created_at": ALWAYS,
                "created_by": "default policy",
            }
        ],
    )
    op.create_table(
        "reward_decisions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("registration_id", sa.Uuid(), nullable=False),
        sa.Column("policy_version", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("amount", sa.Numeric(12, 2), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("criteria", pg.JSONB(), nullable=False),
        sa.Column("first_unmet", sa.String(32)),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
        sa.Column("approved_by", sa.Uuid()),
        sa.Column("withdrawn", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reward_decisions"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_reward_decisions_case_id_cases"),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_reward_decisions_pharmacy_id_pharmacies"),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name="fk_reward_decisions_registration_id_registrations"
        ),
        sa.ForeignKeyConstraint(
            ["policy_version"], ["reward_policies.version"], name="fk_reward_decisions_policy_version_reward_policies"
        ),
        sa.UniqueConstraint("case_id", "pharmacy_id", name="uq_reward_decisions_case_id_pharmacy_id"),
        sa.CheckConstraint(sa.column("status").in_(STATUSES), name="decisionstatus"),
        sa.CheckConstraint("amount >= 0", name="amount"),
        sa.CheckConstraint("currency = 'CNY'", name="currency"),
        sa.CheckConstraint("status NOT IN ('approved', 'paid') OR approved_by IS NOT NULL", name="approved_by"),
    )
    op.create_index("ix_reward_decisions_pharmacy_id_confirmed_at", "reward_decisions", ["pharmacy_id", "confirmed_at"])
    op.create_index("ix_reward_decisions_registration_id", "reward_decisions", ["registration_id"])
    op.create_index(
        "ix_reward_decisions_division",
        "reward_decisions",
        ["division"],
        postgresql_ops={"division": "text_pattern_ops"},
    )
    op.create_table(
        "reward_transitions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("decision_id", sa.Uuid(), nullable=False),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("from_status", sa.String(32)),
        sa.Column("to_status", sa.String(32), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("actor_name", sa.String(100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.PrimaryKeyConstraint("id", name="pk_reward_transitions"),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["reward_decisions.id"], name="fk_reward_transitions_decision_id_reward_decisions"
        ),
        sa.CheckConstraint(sa.column("act").in_(ACTS), name="act"),
        sa.CheckConstraint(sa.column("from_status").in_(STATUSES), name="from_status"),
        sa.CheckConstraint(sa.column("to_status").in_(STATUSES), name="decisionstatus"),
    )
    op.create_index("ix_reward_transitions_decision_id", "reward_transitions", ["decision_id"])
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("decision_id", sa.Uuid(), nullable=False),
        sa.Column("pharmacy_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("amount", sa.Numeric(12, 2), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_entries"),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["reward_decisions.id"], name="fk_ledger_entries_decision_id_reward_decisions"
        ),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_ledger_entries_pharmacy_id_pharmacies"),
        sa.CheckConstraint(sa.column("kind").in_(("award", "reversal")), name="entrykind"),
        sa.CheckConstraint("amount <> 0 AND (kind = 'award') = (amount > 0)", name="sign"),
    )
    op.create_index("ix_ledger_entries_decision_id", "ledger_entries", ["decision_id"])
    op.create_index("ix_ledger_entries_pharmacy_id", "ledger_entries", ["pharmacy_id"])
    for table in ("reward_transitions", "ledger_entries"):
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("ledger_entries", "reward_transitions", "reward_decisions", "reward_policies"):
        op.drop_table(table)
