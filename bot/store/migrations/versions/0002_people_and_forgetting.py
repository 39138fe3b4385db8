"""people, the audit, and what forgetting needs

Revision ID: 0002
"""

from urllib.parse import unquote

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SECONDS: sa.types.TypeEngine[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "people",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("seen_at", SECONDS, nullable=False),
        sa.PrimaryKeyConstraint("channel", "tenant", "id"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", SECONDS, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("turn"),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_actor", "audit", ["actor", "id"], unique=False)
    op.add_column("lanes", sa.Column("person", sa.Text(), nullable=True))
    op.add_column("lanes", sa.Column("personal", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("lanes", sa.Column("notice_at", SECONDS, nullable=True))
    op.create_index("lanes_person", "lanes", ["person"], unique=False)
    op.add_column("threads", sa.Column("forget_at", SECONDS, nullable=True))
    op.create_index(
        "threads_forget",
        "threads",
        ["forget_at"],
        unique=False,
        sqlite_where=sa.text("forget_at IS NOT NULL"),
        postgresql_where=sa.text("forget_at IS NOT NULL"),
    )
    _name_owners(op.get_bind())


def _name_owners(connection: sa.Connection) -> None:
    """The lanes there are: the key says whose each is. Names come with the next message."""
    lanes = sa.Table("lanes", sa.MetaData(), *_columns("key", "channel", "tenant", "person", "personal", "created_at"))
    people = sa.Table("people", sa.MetaData(), *_columns("channel", "tenant", "id", "name", "folded", "seen_at"))
    known: dict[tuple[str, str, str], float] = {}
    for row in connection.execute(sa.select(lanes)).all():
        parts = [unquote(part) for part in row.key.split("/")]
        personal = parts[2] == "person"
        if not personal and len(parts) < 5:
            continue
        values = {"person": parts[-1], "personal": personal}
        connection.execute(sa.update(lanes).where(lanes.c.key == row.key).values(**values))
        known[row.channel, row.tenant, parts[-1]] = row.created_at
    for (channel, tenant, person), seen in known.items():
        values = {"channel": channel, "tenant": tenant, "id": person, "name": "", "folded": "", "seen_at": seen}
        connection.execute(sa.insert(people).values(**values))


def _columns(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name) for name in names]
