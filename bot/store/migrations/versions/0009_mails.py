"""people's e-mail addresses, to find them by

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SECONDS: sa.types.TypeEngine[float] = sa.Double()


def upgrade() -> None:
    op.add_column("people", sa.Column("mail", sa.Text(), nullable=True))
    op.add_column("people", sa.Column("login", sa.Text(), nullable=True))
    op.add_column("people", sa.Column("asked_at", SECONDS, nullable=True))
    op.create_index(
        "people_strangers",
        "people",
        ["seen_at"],
        unique=False,
        sqlite_where=sa.text("asked_at IS NULL AND address IS NOT NULL"),
        postgresql_where=sa.text("asked_at IS NULL AND address IS NOT NULL"),
    )
