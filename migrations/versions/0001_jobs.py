"""Jobs and the ticks of the schedule.

Revision ID: 0001_jobs
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001_jobs"
down_revision = None
branch_labels = None
depends_on = None

# Every row is inserted, updated twice and deleted within seconds. Room in each page keeps the new versions beside the
# old ones; vacuum goes by a number of rows, since a share of a table that is empty one minute and has a million rows
# the next means nothing; and the file keeps its size, because giving pages back takes a lock that claims would wait for.
_STORAGE = (
    "fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,"
    " autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,"
    " autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,"
    " autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off"
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("lane", sa.String(64), nullable=True),
        sa.Column("state", sa.String(32), server_default="ready", nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column(
            "run_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(120), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("state IN ('ready', 'running', 'dead')", name=op.f("ck_jobs_jobstate")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_ready", "jobs", ["kind", "run_at", "id"], postgresql_where=sa.text("state = 'ready' AND lane IS NULL")
    )
    op.create_index(
        "ix_jobs_ready_in_lane",
        "jobs",
        ["kind", "lane", "run_at", "id"],
        postgresql_where=sa.text("state = 'ready' AND lane IS NOT NULL"),
    )
    op.create_index("ix_jobs_running", "jobs", ["kind", "lane"], postgresql_where=sa.text("state = 'running'"))
    op.create_index("ix_jobs_dead", "jobs", ["kind", "id"], postgresql_where=sa.text("state = 'dead'"))
    op.execute(f"ALTER TABLE jobs SET ({_STORAGE})")
    op.create_table(
        "schedule_ticks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("tick_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "tick_at", name=op.f("pk_schedule_ticks")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("schedule_ticks")
    op.drop_table("jobs")
