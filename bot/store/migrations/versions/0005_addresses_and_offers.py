"""where people are spoken to first, and files that they were offered

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SECONDS: sa.types.TypeEngine[float] = sa.Double()


def upgrade() -> None:
    op.add_column("people", sa.Column("address", sa.JSON(), nullable=True))
    op.create_table(
        "file_offers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("file", sa.JSON(), nullable=False),
        sa.Column("expires_at", SECONDS, nullable=False),
        sa.Column("taken_until", SECONDS),
    )
    op.create_index("file_offers_person", "file_offers", ["person"])
    op.create_index("file_offers_expires", "file_offers", ["expires_at"])
