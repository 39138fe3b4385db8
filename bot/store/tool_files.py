"""Files that tools made for people, from the call to the delivery."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import sqlalchemy as sa

from bot.errors import RequestRefused
from bot.store.database import Database
from bot.store.tables import inbox, tool_calls, tool_files
from bot.types import TOOLS, RemoteFile, ToolOutput

KEPT = 48 * 3600.0
"""Seconds: a person may take a day to accept a file that they are offered."""


class SqlToolFiles:
    """The `ToolFiles` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, turn: int) -> list[RemoteFile]:
        """See `ToolFiles.of`."""
        calls = sa.and_(tool_calls.c.turn == tool_files.c.turn, tool_calls.c.call_id == tool_files.c.call_id)
        last = sa.select(sa.func.max(sa.cast(tool_calls.c.attempt, sa.Integer))).where(tool_calls.c.turn == turn)
        query = (
            sa.select(tool_files.c.id, tool_files.c.name, tool_files.c.content_type)
            .join(tool_calls, calls)
            .where(tool_files.c.turn == turn, sa.cast(tool_calls.c.attempt, sa.Integer) == last.scalar_subquery())
            .order_by(tool_calls.c.round, tool_calls.c.position, tool_files.c.position)
        )
        async with self._database.read() as connection:
            return [RemoteFile(row.id, row.name, row.content_type, TOOLS) for row in await connection.execute(query)]

    async def content(self, file: RemoteFile) -> bytes:
        """See `ToolFiles.content`."""
        async with self._database.read() as connection:
            data = await connection.scalar(sa.select(tool_files.c.data).where(tool_files.c.id == file.id))
        if data is None:
            raise RequestRefused("the file is gone")
        return data


def keep(database: Database, connection: sa.Connection, turn: int, outputs: Sequence[ToolOutput]) -> None:
    """Keep the files of these outputs, in the transaction that keeps the outputs."""
    rows = [
        {
            "id": secrets.token_urlsafe(16),
            "turn": turn,
            "call_id": output.call_id,
            "position": position,
            "name": file.name,
            "content_type": file.content_type,
            "data": file.data,
        }
        for output in outputs
        for position, file in enumerate(output.files)
    ]
    if rows:
        connection.execute(sa.insert(tool_files).values(expires_at=database.now() + KEPT), rows)


def sweep(connection: sa.Connection, now: sa.ColumnElement[float]) -> None:
    """Let go of those whose time is over."""
    connection.execute(sa.delete(tool_files).where(tool_files.c.expires_at < now))


def forget(connection: sa.Connection, lanes: Sequence[str]) -> None:
    """Let go of those that turns of these lanes made."""
    # by each file's turn, for files are few: there may be a million turns
    its_lane = sa.select(inbox.c.lane).where(inbox.c.id == tool_files.c.turn).scalar_subquery()
    connection.execute(sa.delete(tool_files).where(its_lane.in_(lanes)))
