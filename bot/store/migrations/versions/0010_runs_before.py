"""how many runs of a turn are behind it when an operator has it asked again

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
