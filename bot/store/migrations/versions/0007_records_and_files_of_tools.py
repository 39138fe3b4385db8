"""what tools keep, and the files they made until they are delivered

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SECONDS: sa.types.TypeEngine[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "tool_records",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("collection", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("at", SECONDS, nullable=False),
    )
    op.create_index("tool_records_at", "tool_records", ["tenant", "channel", "person", "collection", "at"])
    op.create_table(
        "tool_files",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", SECONDS, nullable=False),
    )
    op.create_index("tool_files_turn", "tool_files", ["turn"])
    op.create_index("tool_files_expires", "tool_files", ["expires_at"])
