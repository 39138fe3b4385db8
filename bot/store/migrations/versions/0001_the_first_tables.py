"""the first tables

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SECONDS: sa.types.TypeEngine[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "agent_entries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("agent_entries_thread", "agent_entries", ["thread_id", "id"], unique=False)
    op.create_table(
        "agent_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("turn", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("created_at", SECONDS, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "agent_runs_active",
        "agent_runs",
        ["thread_id"],
        unique=True,
        sqlite_where=sa.text("ended = 0"),
        postgresql_where=sa.text("ended = false"),
    )
    op.create_index("agent_runs_mark", "agent_runs", ["thread_id", "turn", "attempt"], unique=False)
    op.create_table(
        "agent_threads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", SECONDS, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("control", sa.Text(), nullable=True),
        sa.Column("joins", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("effect", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("steps", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("joined_to", sa.Integer(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", SECONDS, nullable=True),
        sa.Column("not_before", SECONDS, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("interrupt", sa.Text(), nullable=True),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("accepted_at", SECONDS, nullable=False),
        sa.Column("started_at", SECONDS, nullable=True),
        sa.Column("finished_at", SECONDS, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("key"),
        sqlite_autoincrement=True,
    )
    op.create_index("inbox_finished", "inbox", ["finished_at"], unique=False)
    op.create_index(
        "inbox_joined",
        "inbox",
        ["joined_to"],
        unique=False,
        sqlite_where=sa.text("state = 'joined'"),
        postgresql_where=sa.text("state = 'joined'"),
    )
    op.create_index(
        "inbox_kept",
        "inbox",
        ["lane", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'done' AND payload IS NOT NULL"),
        postgresql_where=sa.text("state = 'done' AND payload IS NOT NULL"),
    )
    op.create_index(
        "inbox_queued",
        "inbox",
        ["lane", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "inbox_running",
        "inbox",
        ["lane"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "lanes",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("thread_id", sa.Integer(), nullable=True),
        sa.Column("undo_thread_id", sa.Integer(), nullable=True),
        sa.Column("undo_until", SECONDS, nullable=True),
        sa.Column("created_at", SECONDS, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "threads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("carried", sa.Text(), nullable=False),
        sa.Column("previous_id", sa.Integer(), nullable=True),
        sa.Column("opened_at", SECONDS, nullable=False),
        sa.Column("used_at", SECONDS, nullable=False),
        sa.Column("messages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("unusable", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("threads_lane", "threads", ["lane", "id"], unique=False)
    op.create_table(
        "tool_calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("once", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", SECONDS, nullable=False),
        sa.Column("finished_at", SECONDS, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("turn", "call_id", name="tool_calls_turn"),
    )
