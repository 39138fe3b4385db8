"""Lanes and their threads: the mapping that says whose thread, and the chain behind it."""

from __future__ import annotations

import sqlalchemy as sa

from bot.errors import Interrupted
from bot.store.database import Database, Row, must_hold
from bot.store.tables import inbox, lanes, threads
from bot.types import Interrupt, Lane, Thread, ThreadReason


def thread_from(row: Row, prefix: str = "") -> Thread:
    """The thread that a row of `threads` holds, or one whose names begin with a prefix."""
    held = {name.removeprefix(prefix): value for name, value in row._mapping.items() if name.startswith(prefix)}
    return Thread(
        id=held["id"],
        lane=held["lane"],
        generation=held["generation"],
        backend=held["backend"],
        project=held["project"],
        remote_id=held["remote_id"],
        reason=ThreadReason(held["reason"]),
        opened_at=held["opened_at"],
        used_at=held["used_at"],
        messages=held["messages"],
        prompt_tokens=held["prompt_tokens"],
        previous_id=held["previous_id"],
        summary=held["summary"],
        unusable=ThreadReason(held["unusable"]) if held["unusable"] else None,
    )


def thread_of(connection: sa.Connection, thread_id: int | None) -> Thread | None:
    """The thread with this id of ours."""
    if thread_id is None:
        return None
    row = connection.execute(sa.select(threads).where(threads.c.id == thread_id)).first()
    return None if row is None else thread_from(row)


def insert_thread(connection: sa.Connection, thread: Thread, now: sa.ColumnElement[float], carried: str) -> Thread:
    """Save a new thread and make it its lane's current one."""
    inserted = connection.execute(
        sa.insert(threads)
        .values(
            lane=thread.lane,
            generation=thread.generation,
            backend=thread.backend,
            project=thread.project,
            remote_id=thread.remote_id,
            reason=thread.reason,
            messages=thread.messages,
            carried=carried,
            previous_id=thread.previous_id,
            opened_at=now,
            used_at=now,
        )
        .returning(*threads.c)
    )
    opened = thread_from(inserted.one())
    connection.execute(sa.update(lanes).where(lanes.c.key == thread.lane).values(thread_id=opened.id))
    if thread.previous_id is not None:  # what it said was carried; the thread at the service keeps the words themselves
        connection.execute(sa.update(threads).where(threads.c.id == thread.previous_id).values(summary=None))
    return opened


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
            thread = await connection.run_sync(thread_of, row.thread_id)
        return Lane(key=row.key, channel=row.channel, tenant=row.tenant, generation=row.generation, thread=thread)

    async def open(self, turn: int, owner: str, thread: Thread, *, carried: str) -> Thread:
        """See `ThreadStore.open`."""

        def operation(connection: sa.Connection) -> Thread:
            must_hold(connection, turn, owner)
            lane = connection.execute(sa.select(lanes).where(lanes.c.key == thread.lane).with_for_update()).one()
            stamped = connection.scalar(sa.select(inbox.c.generation).where(inbox.c.id == turn))
            if lane.generation != stamped:
                raise Interrupted(Interrupt.SUPERSEDED)
            return insert_thread(connection, thread, self._database.now(), carried)

        return await self._database.write(operation)

    async def mark(self, turn: int, owner: str, thread: int, reason: ThreadReason) -> None:
        """See `ThreadStore.mark`."""

        def operation(connection: sa.Connection) -> None:
            must_hold(connection, turn, owner)
            connection.execute(sa.update(threads).where(threads.c.id == thread).values(unusable=reason))

        await self._database.write(operation)

    async def chain(self, lane: str) -> list[Thread]:
        """See `ThreadStore.chain`."""
        async with self._database.read() as connection:
            rows = await connection.execute(sa.select(threads).where(threads.c.lane == lane).order_by(threads.c.id))
            return [thread_from(row) for row in rows]
