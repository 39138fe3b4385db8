"""Threads that lie elsewhere than the settings say, and their lanes' move to new ones."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bot.store.database import OPEN, Database
from bot.store.tables import inbox, lanes, threads
from bot.store.threads import insert_thread, thread_from
from bot.types import Lane, Thread

_ELSEWHERE = "thread_"


class SqlMoving:
    """The `MovingStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def elsewhere(self, backend: str, project: str, after: str, limit: int) -> list[Lane]:
        """See `MovingStore.elsewhere`."""
        columns = [column.label(f"{_ELSEWHERE}{column.name}") for column in threads.c]
        query = (
            sa.select(lanes.c.key, lanes.c.channel, lanes.c.tenant, lanes.c.generation, *columns)
            .join(threads, threads.c.id == lanes.c.thread_id)
            .where(lanes.c.key > after, threads.c.forget_at.is_(None))
            .where(sa.or_(threads.c.backend != backend, threads.c.project != project))
            .order_by(lanes.c.key)
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [Lane(row.key, row.channel, row.tenant, row.generation, thread_from(row, _ELSEWHERE)) for row in rows]

    async def move(self, thread: Thread, *, carried: str) -> bool:
        """See `MovingStore.move`."""

        def operation(connection: sa.Connection) -> bool:
            lane = connection.execute(sa.select(lanes).where(lanes.c.key == thread.lane).with_for_update()).one()
            current = (lane.thread_id, lane.generation) == (thread.previous_id, thread.generation)
            if not current or connection.execute(_open_turns(thread.lane)).first() is not None:
                return False
            insert_thread(connection, thread, self._database.now(), carried)
            return True

        return await self._database.write(operation)


def _open_turns(lane: str) -> Any:
    return sa.select(inbox.c.id).where(inbox.c.lane == lane, OPEN).limit(1)
