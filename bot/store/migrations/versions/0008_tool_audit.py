"""every tool call, with what came of it

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SECONDS: sa.types.TypeEngine[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "tool_audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", SECONDS, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sizes", sa.JSON(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=True),
        sa.Column("seconds", SECONDS, nullable=True),
        sa.Column("output_size", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("decider", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("tool_audit_at", "tool_audit", ["at"], unique=False)
    op.create_index("tool_audit_turn", "tool_audit", ["turn"], unique=False)
    op.create_index(
        "tool_audit_words",
        "tool_audit",
        ["lane"],
        unique=False,
        sqlite_where=sa.text("arguments IS NOT NULL"),
        postgresql_where=sa.text("arguments IS NOT NULL"),
    )
