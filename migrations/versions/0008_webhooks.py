"""The post office: subscriptions, events in the order of their commits, deliveries, attempts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0008_webhooks"
down_revision = "0007_pharmacies"
branch_labels = None
depends_on = None

DETAILS = ("thin", "pseudonymous", "identified")
SCHEMES = ("v1", "v1a")
DISABLED_REASONS = ("owner", "gone", "failing")
DELIVERY_STATES = ("pending", "delivered", "failed", "cancelled")
FAILURES = (
    "status",
    "redirect",
    "timeout",
    "name_not_resolved",
    "address_forbidden",
    "connection",
    "tls",
    "answer_malformed",
    "url_refused",
    "subscription_disabled",
)


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("division", sa.String(12)),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("kinds", pg.ARRAY(sa.String(64)), nullable=False),
        sa.Column("divisions", pg.ARRAY(sa.String(12)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("diseases", pg.ARRAY(sa.String(64)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("detail", sa.String(32), nullable=False),
        sa.Column("description", sa.String(500)),
        sa.Column("scheme", sa.String(32), nullable=False),
        sa.Column("secret", sa.LargeBinary()),
        sa.Column("previous_secret", sa.LargeBinary()),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True)),
        sa.Column("public_key", sa.String(64)),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_reason", sa.String(32)),
        sa.Column("failing_since", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(["owner_id"], ["accounts.id"], name="fk_subscriptions_owner_id_accounts"),
        sa.CheckConstraint(sa.column("detail").in_(DETAILS), name="detail"),
        sa.CheckConstraint(sa.column("scheme").in_(SCHEMES), name="scheme"),
        sa.CheckConstraint(sa.column("disabled_reason").in_(DISABLED_REASONS), name="disabledreason"),
        sa.CheckConstraint("cardinality(kinds) > 0", name="kinds"),
        sa.CheckConstraint("enabled = (disabled_reason IS NULL)", name="disabled_reason_given"),
        sa.CheckConstraint("deleted_at IS NOT NULL OR secret IS NOT NULL", name="secret_held"),
    )
    op.create_index("ix_subscriptions_owner_id", "subscriptions", ["owner_id"])
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("division", sa.String(12), nullable=False),
        sa.Column("disease", sa.String(64)),
        sa.Column("subject_type", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("thin", pg.JSONB(), nullable=False),
        sa.Column("pseudonymous", pg.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("identified", sa.LargeBinary()),
        sa.Column("subscription_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("sequence", name="uq_events_sequence"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_events_subscription_id_subscriptions"
        ),
    )
    op.create_index("ix_events_subscription_id", "events", ["subscription_id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("failure", sa.String(32)),
        sa.Column("round", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempts_made", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="fk_deliveries_event_id_events"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_deliveries_subscription_id_subscriptions"
        ),
        sa.UniqueConstraint("event_id", "subscription_id", name="uq_deliveries_event_id_subscription_id"),
        sa.CheckConstraint(sa.column("state").in_(DELIVERY_STATES), name="deliverystate"),
        sa.CheckConstraint(sa.column("failure").in_(FAILURES), name="failure"),
        sa.CheckConstraint("(state = 'pending') = (next_attempt_at IS NOT NULL)", name="next_attempt_known"),
        sa.CheckConstraint("(state = 'delivered') = (delivered_at IS NOT NULL)", name="delivered_known"),
    )
    op.create_index("ix_deliveries_subscription_id_id", "deliveries", ["subscription_id", "id"])
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.SmallInteger()),
        sa.Column("failure", sa.String(32)),
        sa.Column("excerpt", sa.String(1024)),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_attempts_delivery_id_deliveries"),
        sa.UniqueConstraint("delivery_id", "number", name="uq_attempts_delivery_id_number"),
        sa.CheckConstraint(sa.column("failure").in_(FAILURES), name="failure"),
    )


def downgrade() -> None:
    """Take back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("attempts", "deliveries", "events", "subscriptions"):
        op.drop_table(table)
