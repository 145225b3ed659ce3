"""Alerts, and what became of each."""

import sqlalchemy as sa
from alembic import op

revision = "0014_alerts"
down_revision = "0013_rewards"
branch_labels = None
depends_on = None

STATES = ("raised", "acknowledged", "closed")


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("disease", sa.String(64)),
        sa.Column("registration_id", sa.Uuid()),
        sa.Column("pharmacy_id", sa.Uuid()),
        sa.Column("case_id", sa.Uuid()),
        sa.Column("match_id", sa.Uuid()),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("key", name="uq_alerts_key"),
        sa.ForeignKeyConstraint(
            ["registration_id"], ["registrations.id"], name="fk_alerts_registration_id_registrations"
        ),
        sa.ForeignKeyConstraint(["pharmacy_id"], ["pharmacies.id"], name="fk_alerts_pharmacy_id_pharmacies"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_alerts_case_id_cases"),
        sa.ForeignKeyConstraint(["match_id"], ["matches.id"], name="fk_alerts_match_id_matches"),
        sa.CheckConstraint(
            sa.column("kind").in_(("case.matched", "clue.reported", "match.withdrawn")), name="alertkind"
        ),
        sa.CheckConstraint(sa.column("severity").in_(("info", "warning", "critical")), name="severity"),
        sa.CheckConstraint(sa.column("state").in_(STATES), name="alertstate"),
    )
    op.create_index("ix_alerts_division", "alerts", ["division"], postgresql_ops={"division": "text_pattern_ops"})
    op.create_index("ix_alerts_raised_at_id", "alerts", ["raised_at", "id"])
    op.create_index("ix_alerts_registration_id", "alerts", ["registration_id"])
    op.create_index("ix_alerts_case_id", "alerts", ["case_id"])
    op.create_index("ix_alerts_open", "alerts", ["deadline_at"], postgresql_where=sa.text("state <> 'closed'"))
    op.create_table(
        "alert_transitions",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("account_id", sa.Uuid()),
        sa.Column("account_name", sa.String(100), nullable=False),
        sa.Column("feedback", sa.String(500)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("alert_id", "number", name="pk_alert_transitions"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_alert_transitions_alert_id_alerts"),
        sa.CheckConstraint(sa.column("state").in_(STATES), name="alertstate"),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON alert_transitions "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("alert_transitions")
    op.drop_table("alerts")
