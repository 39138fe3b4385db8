"""Lanes started over or forgotten from outside them: by admins, by a person's wish, by age."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from bot.store import tool_files, tool_records
from bot.store.controls import forget_lanes, reset_lane
from bot.store.database import KEPT, OPEN, Database
from bot.store.feedback import forget
from bot.store.people import record, recorded
from bot.store.tables import feedback, file_offers, inbox, lanes, people, threads, tool_audit
from bot.store.threads import thread_from
from bot.store.tool_audit import forget_words
from bot.types import Act, Known, Thread

AT_ONCE = 50
"""Lanes that are started over in one transaction."""
EXPIRED_AT_ONCE = 1000
"""Threads that are let go of in one."""


class SqlForgetting:
    """The `ForgettingStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reset(self, keys: Sequence[str], act: Act, undo_seconds: float) -> Act:
        """See `ForgettingStore.reset`."""

        def operation(connection: sa.Connection) -> Act:
            earlier = recorded(connection, act.turn)
            if earlier is not None:
                return earlier
            dropped, stopped = 0, 0
            for key in keys:
                more, ended = reset_lane(
                    self._database, connection, key, undo_seconds=undo_seconds, told=True, turn=act.turn
                )
                dropped, stopped = dropped + more, stopped + len(ended)
            detail = {"conversations": len(keys), "dropped": dropped, "stopped": stopped}
            done = Act(act.actor, act.act, act.subject, act.turn, {**act.detail, **detail})
            return record(self._database, connection, done)

        return await self._database.write(operation)

    async def reset_some(self, act: Act, undo_seconds: float, after: str) -> str | None:
        """See `ForgettingStore.reset_some`."""
        older = sa.select(threads.c.id).where(threads.c.id == lanes.c.thread_id, threads.c.opened_at <= act.at)
        busy = _open_in(lanes.c.key).where(
            inbox.c.control.is_(None),
            inbox.c.interrupt.is_(None),
            inbox.c.accepted_at <= act.at,
            inbox.c.id != (act.turn or 0),
        )
        query = sa.select(lanes.c.key).where(sa.or_(older.exists(), busy.exists())).order_by(lanes.c.key)
        async with self._database.read() as reading:  # it goes through lanes, which no other write is to wait for
            keys = (await reading.scalars(query.where(lanes.c.key > after).limit(AT_ONCE))).all()

        def operation(connection: sa.Connection) -> None:
            for key in connection.scalars(query.where(lanes.c.key.in_(keys))).all():
                reset_lane(self._database, connection, key, undo_seconds=undo_seconds, told=True, turn=act.turn)

        if keys:
            await self._database.write(operation)
        return keys[-1] if keys else None

    async def let_go(self, keys: Sequence[str]) -> None:
        """See `ForgettingStore.let_go`."""

        def operation(connection: sa.Connection) -> None:
            forget_lanes(self._database, connection, keys, None)

        await self._database.write(operation)

    async def running(self, keys: Sequence[str], turn: int | None) -> int:
        """See `ForgettingStore.running`."""
        running = sa.text("state = 'running'")
        # a control makes no answer; and two of "forget me now", in two chats, would wait for each other
        makes = [inbox.c.control.is_(None), inbox.c.id != (turn or 0)]
        query = sa.select(sa.func.count()).where(inbox.c.lane.in_(keys), running, *makes)
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0

    async def marked(self, keys: Sequence[str] | None, limit: int) -> list[Thread]:
        """See `ForgettingStore.marked`."""
        query = sa.select(threads).where(threads.c.forget_at.is_not(None))
        if keys is not None:
            query = query.where(threads.c.lane.in_(keys))
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(threads.c.forget_at, threads.c.id).limit(limit))
            return [thread_from(row) for row in rows]

    async def deleted(self, thread: int) -> None:
        """See `ForgettingStore.deleted`."""

        def operation(connection: sa.Connection) -> None:
            connection.execute(sa.delete(threads).where(threads.c.id == thread))

        await self._database.write(operation)

    async def left(self, thread: int) -> None:
        """See `ForgettingStore.left`."""

        def operation(connection: sa.Connection) -> None:
            later = {"forget_at": self._database.now(), "summary": None}
            connection.execute(sa.update(threads).where(threads.c.id == thread).values(**later))

        await self._database.write(operation)

    async def forget(self, keys: Sequence[str], person: Known | None, turn: int | None) -> None:
        """See `ForgettingStore.forget`."""

        def operation(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(inbox).where(inbox.c.lane.in_(keys), KEPT, inbox.c.id != (turn or 0)).values(payload=None)
            )
            whose = sa.select(lanes.c.channel, lanes.c.tenant, lanes.c.person).where(lanes.c.key.in_(keys))
            offered_to = sa.tuple_(file_offers.c.channel, file_offers.c.tenant, file_offers.c.person)
            connection.execute(sa.delete(file_offers).where(offered_to.in_(whose)))
            spoken_to = sa.tuple_(people.c.channel, people.c.tenant, people.c.id).in_(whose.where(lanes.c.personal))
            connection.execute(
                sa.update(people).where(spoken_to).values(address=sa.null(), mail=None, login=None, asked_at=None)
            )
            forget(connection, feedback.c.lane.in_(keys))
            forget_words(connection, tool_audit.c.lane.in_(keys))
            tool_files.forget(connection, keys)
            if person is not None:
                tool_records.forget_person(connection, person)
                whose = (feedback.c.channel, feedback.c.tenant, feedback.c.person)
                told = zip(whose, (person.channel, person.tenant, person.id), strict=True)
                forget(connection, sa.and_(*(column == value for column, value in told)))
                calls = (tool_audit.c.channel, tool_audit.c.tenant, tool_audit.c.person)
                theirs = zip(calls, (person.channel, person.tenant, person.id), strict=True)
                forget_words(connection, sa.and_(*(column == value for column, value in theirs)))
                row = [people.c.channel == person.channel, people.c.tenant == person.tenant, people.c.id == person.id]
                connection.execute(sa.delete(people).where(*row))

        await self._database.write(operation)

    async def expire(self, seconds: float) -> int:
        """See `ForgettingStore.expire`."""
        for forgets in (self._expire_people, self._expire_said):
            await self._database.tidy(partial(forgets, seconds=seconds))
        return await self._database.tidy(partial(self._expire_threads, seconds=seconds))

    def _expire_people(self, connection: sa.Connection, seconds: float) -> None:
        before = self._database.moment() - seconds
        tool_records.expire(connection, before)
        connection.execute(sa.delete(people).where(people.c.seen_at < before))

    def _expire_said(self, connection: sa.Connection, seconds: float) -> None:
        """Of answers, and about tools."""
        before = self._database.moment() - seconds
        forget(connection, feedback.c.at < before)
        connection.execute(sa.delete(tool_audit).where(tool_audit.c.at < before))

    def _expire_threads(self, connection: sa.Connection, seconds: float) -> int:
        """Mark some, and take them from their lanes; but for those in which something is asked just now."""
        now = self._database.moment()
        old = sa.select(threads.c.id).where(threads.c.used_at < now - seconds, threads.c.forget_at.is_(None))
        old = old.where(~_open_in(threads.c.lane).exists())
        ids = connection.scalars(old.order_by(threads.c.id).limit(EXPIRED_AT_ONCE)).all()
        if not ids:
            return 0
        for column in (lanes.c.thread_id, lanes.c.undo_thread_id):
            theirs = sa.update(lanes).where(column.in_(ids), ~_open_in(lanes.c.key).exists())
            connection.execute(theirs.values({column: None}))
        needed = sa.select(lanes.c.key).where(
            lanes.c.key == threads.c.lane,
            sa.or_(lanes.c.thread_id == threads.c.id, lanes.c.undo_thread_id == threads.c.id),
        )
        marked = sa.update(threads).where(threads.c.id.in_(ids), ~needed.exists()).values(forget_at=now)
        return connection.execute(marked).rowcount


def _open_in(lane: sa.ColumnElement[str]) -> sa.Select[tuple[int]]:
    """What waits or runs in a lane."""
    return sa.select(inbox.c.id).where(inbox.c.lane == lane, OPEN)
