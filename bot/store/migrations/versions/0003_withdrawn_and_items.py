"""questions that were withdrawn, and entries that are more than text

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lanes", sa.Column("withdrawn_at", sa.Double(), nullable=True))
    op.add_column("agent_entries", sa.Column("item", sa.JSON(), nullable=True))
