"""tool calls that wait for a person's agreement

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SECONDS: sa.types.TypeEngine[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("asked_at", SECONDS, nullable=False),
        sa.Column("expires_at", SECONDS, nullable=False),
        sa.Column("delivered", sa.Text),
        sa.Column("nudged", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("decider", sa.Text),
        sa.Column("decider_name", sa.Text),
        sa.Column("decided_at", SECONDS),
        sa.UniqueConstraint("turn", "call_id", name="approvals_turn"),
    )
    op.create_index(
        "approvals_asked",
        "approvals",
        ["lane"],
        sqlite_where=sa.text("state = 'asked'"),
        postgresql_where=sa.text("state = 'asked'"),
    )
