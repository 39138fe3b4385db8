"""Lanes and their threads: the mapping that says whose thread, and the chain behind it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import Interrupted
from bot.store.database import Database, Row, must_hold
from bot.store.tables import inbox, lanes, threads
from bot.types import Interrupt, Lane, Thread, ThreadReason


def thread_from(row: Row) -> Thread:
    """The thread that a row of `threads` holds."""
    return Thread(
        id=row.id,
        lane=row.lane,
        generation=row.generation,
        backend=row.backend,
        project=row.project,
        remote_id=row.remote_id,
        reason=ThreadReason(row.reason),
        opened_at=row.opened_at,
        used_at=row.used_at,
        messages=row.messages,
        prompt_tokens=row.prompt_tokens,
        previous_id=row.previous_id,
        summary=row.summary,
        unusable=ThreadReason(row.unusable) if row.unusable else None,
    )


async def thread_of(connection: AsyncConnection, thread_id: int | None) -> Thread | None:
    """The thread with this id of ours."""
    if thread_id is None:
        return None
    row = (await connection.execute(sa.select(threads).where(threads.c.id == thread_id))).first()
    return None if row is None else thread_from(row)


class SqlThreads:
    """The `ThreadStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lane(self, key: str) -> Lane | None:
        """See `ThreadStore.lane`."""
        async with self._database.read() as connection:
            row = (await connection.execute(sa.select(lanes).where(lanes.c.key == key))).first()
            if row is None:
                return None
            thread = await thread_of(connection, row.thread_id)
        return Lane(key=row.key, channel=row.channel, tenant=row.tenant, generation=row.generation, thread=thread)

    async def open(self, turn: int, owner: str, thread: Thread, *, carried: str) -> Thread:
        """See `ThreadStore.open`."""

        async def operation(connection: AsyncConnection) -> Thread:
            await must_hold(connection, turn, owner)
            lane = (
                await connection.execute(sa.select(lanes).where(lanes.c.key == thread.lane).with_for_update())
            ).one()
            stamped = await connection.scalar(sa.select(inbox.c.generation).where(inbox.c.id == turn))
            if lane.generation != stamped:
                raise Interrupted(Interrupt.SUPERSEDED)
            now = self._database.now()
            inserted = await connection.execute(
                sa.insert(threads)
                .values(
                    lane=thread.lane,
                    generation=lane.generation,
                    backend=thread.backend,
                    project=thread.project,
                    remote_id=thread.remote_id,
                    reason=thread.reason,
                    carried=carried,
                    previous_id=thread.previous_id,
                    opened_at=now,
                    used_at=now,
                )
                .returning(*threads.c)
            )
            opened = thread_from(inserted.one())
            await connection.execute(sa.update(lanes).where(lanes.c.key == thread.lane).values(thread_id=opened.id))
            # what it said was carried; the old thread at the service keeps the words themselves
            await connection.execute(sa.update(threads).where(threads.c.id == thread.previous_id).values(summary=None))
            return opened

        return await self._database.write(operation)

    async def mark(self, turn: int, owner: str, thread: int, reason: ThreadReason) -> None:
        """See `ThreadStore.mark`."""

        async def operation(connection: AsyncConnection) -> None:
            await must_hold(connection, turn, owner)
            await connection.execute(sa.update(threads).where(threads.c.id == thread).values(unusable=reason))

        await self._database.write(operation)

    async def chain(self, lane: str) -> list[Thread]:
        """See `ThreadStore.chain`."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(threads).where(threads.c.lane == lane).order_by(threads.c.id))
            return [thread_from(row) for row in rows]
