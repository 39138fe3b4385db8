"""how many runs of a turn are behind it when an operator has it asked again; kept words are found by their age

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("runs_before", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("inbox_kept", "inbox")
    op.create_index(
        "inbox_kept",
        "inbox",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("state = 'done' AND payload IS NOT NULL"),
        postgresql_where=sa.text("state = 'done' AND payload IS NOT NULL"),
    )
