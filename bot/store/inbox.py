"""Turns on disk: claimed, held by a lease, saved step by step, ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import LostLease
from bot.store import acceptance
from bot.store.codec import decode
from bot.store.database import RUNNING, Database, Row, must_hold
from bot.store.tables import inbox, lanes, threads, tool_calls
from bot.store.threads import thread_of
from bot.types import (
    Accepted,
    Claim,
    Control,
    Ended,
    Ending,
    Entry,
    Interrupt,
    JsonObject,
    Message,
    Renewal,
    ThreadUse,
)

QUEUED = sa.text("state = 'queued'")
MOST_JOINED = 20


class SqlInbox:
    """The `InboxStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, entry: Entry, undo_seconds: float) -> Accepted:
        """See `InboxStore.put`."""
        return await self._database.write(
            lambda connection: acceptance.put(self._database, connection, entry, undo_seconds)
        )

    async def claim(self, owner: str, limit: int, lease: float) -> list[Claim]:
        """See `InboxStore.claim`."""

        async def operation(connection: AsyncConnection) -> list[Claim]:
            # two statements: UPDATE with such a sub-select runs it again for each row on PostgreSQL
            heads = (await connection.execute(self._heads(limit))).all()
            return [await self._take(connection, head, owner, lease) for head in heads]

        try:
            return await self._database.write(operation)
        except IntegrityError:
            # Another replica took the same lane by an earlier message, which had not been committed when we looked:
            # one running turn a lane is kept by the index, and the next look finds what is free.
            return []

    def _heads(self, limit: int) -> Any:
        running, earlier = inbox.alias("running"), inbox.alias("earlier")
        due = sa.or_(inbox.c.not_before.is_(None), inbox.c.not_before <= self._database.now())
        nothing_runs = ~sa.exists().where(running.c.lane == inbox.c.lane, sa.text("running.state = 'running'"))
        first = ~sa.exists().where(
            earlier.c.lane == inbox.c.lane, sa.text("earlier.state = 'queued'"), earlier.c.id < inbox.c.id
        )
        return (
            sa.select(inbox)
            .where(sa.text("inbox.state = 'queued'"), due, nothing_runs, first)
            # The plus keeps SQLite from walking all rows there ever were, by id, instead of those that wait.
            .order_by(sa.text("+inbox.id"))
            .limit(limit)
            .with_for_update(skip_locked=True, of=inbox)
        )

    async def _take(self, connection: AsyncConnection, head: Row, owner: str, lease: float) -> Claim:
        lane = (await connection.execute(sa.select(lanes).where(lanes.c.key == head.lane))).one()
        fresh = head.attempts == 0 and head.steps is None
        # a message accepted beside a "start over" that did not see it belongs to the new generation
        stamped = lane.generation if fresh and head.interrupt is None else head.generation
        now = self._database.now()
        await connection.execute(
            sa.update(inbox)
            .where(inbox.c.id == head.id)
            .values(
                state=sa.literal_column("'running'"),
                owner=owner,
                lease_until=now + lease,
                attempts=inbox.c.attempts + 1,
                started_at=sa.func.coalesce(inbox.c.started_at, now),
                not_before=None,
                generation=stamped,
            )
        )
        joined = await self._joined(connection, head)
        if fresh and head.joins:
            joined += await self._join(connection, head)
        interrupt = head.interrupt
        if interrupt is None and head.control is None and stamped != lane.generation:
            interrupt = Interrupt.SUPERSEDED
        return Claim(
            turn=head.id,
            lane=head.lane,
            stamped=stamped,
            generation=lane.generation,
            messages=(decode(head.payload), *joined),
            control=Control(head.control) if head.control else None,
            effect=head.effect or {},
            steps=head.steps or {},
            attempts=head.attempts + 1,
            accepted_at=head.accepted_at,
            thread=await thread_of(connection, lane.thread_id),
            interrupt=Interrupt(interrupt) if interrupt else None,
            notice=lane.notice_at,
            withdrawn=lane.withdrawn_at,
        )

    async def _join(self, connection: AsyncConnection, head: Row) -> list[Message]:
        """The messages right behind the head become one turn with it; a command ends the batch."""
        behind = (
            await connection.execute(
                sa.select(inbox.c.id, inbox.c.joins, inbox.c.payload)
                .where(inbox.c.lane == head.lane, QUEUED, inbox.c.id > head.id)
                .order_by(inbox.c.id)
                .limit(MOST_JOINED)
                .with_for_update()
            )
        ).all()
        batch: list[Row] = []
        for row in behind:
            if not row.joins:
                break
            batch.append(row)
        if batch:
            await connection.execute(
                sa.update(inbox)
                .where(inbox.c.id.in_([row.id for row in batch]))
                .values(state=sa.literal_column("'joined'"), joined_to=head.id)
            )
        return [decode(row.payload) for row in batch]

    async def _joined(self, connection: AsyncConnection, head: Row) -> list[Message]:
        """The messages that joined the head when it was first claimed."""
        rows = await connection.execute(
            sa.select(inbox.c.payload)
            .where(inbox.c.joined_to == head.id, sa.text("state = 'joined'"))
            .order_by(inbox.c.id)
        )
        return [decode(payload) for payload in rows.scalars()]

    async def renew(self, owner: str, turns: Sequence[int], lease: float) -> list[Renewal]:
        """See `InboxStore.renew`."""
        if not turns:
            return []

        async def operation(connection: AsyncConnection) -> list[Renewal]:
            held = await connection.execute(
                sa.update(inbox)
                .where(inbox.c.id.in_(turns), inbox.c.owner == owner, RUNNING)
                .values(lease_until=self._database.now() + lease)
                .returning(inbox.c.id, inbox.c.interrupt)
            )
            interrupts = {row.id: row.interrupt for row in held}
            return [
                Renewal(turn, turn in interrupts, Interrupt(why) if (why := interrupts.get(turn)) else None)
                for turn in turns
            ]

        return await self._database.write(operation)

    async def holds(self, turn: int, owner: str) -> Interrupt | None:
        """See `InboxStore.holds`."""
        query = (
            sa.select(inbox.c.interrupt, inbox.c.control, inbox.c.generation, lanes.c.generation.label("current"))
            .join(lanes, lanes.c.key == inbox.c.lane)
            .where(inbox.c.id == turn, inbox.c.owner == owner, RUNNING)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise LostLease(f"turn {turn}")
        if row.interrupt is not None:
            return Interrupt(row.interrupt)
        if row.control is None and row.generation != row.current:
            return Interrupt.SUPERSEDED
        return None

    async def save(self, turn: int, owner: str, steps: JsonObject) -> None:
        """See `InboxStore.save`."""

        async def operation(connection: AsyncConnection) -> None:
            saved = await connection.execute(
                sa.update(inbox).where(inbox.c.id == turn, inbox.c.owner == owner, RUNNING).values(steps=steps)
            )
            if saved.rowcount == 0:
                raise LostLease(f"turn {turn}")

        await self._database.write(operation)

    async def release(self, turn: int, owner: str, delay: float, error: str, *, counted: bool) -> None:
        """See `InboxStore.release`."""

        async def operation(connection: AsyncConnection) -> None:
            released = await connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == turn, inbox.c.owner == owner, RUNNING)
                .values(
                    state=sa.literal_column("'queued'"),
                    owner=None,
                    lease_until=None,
                    not_before=self._database.now() + delay,
                    error=error,
                    attempts=inbox.c.attempts - (0 if counted else 1),
                )
            )
            if released.rowcount == 0:
                raise LostLease(f"turn {turn}")

        await self._database.write(operation)

    async def finish(self, turn: int, owner: str, ending: Ending) -> None:
        """See `InboxStore.finish`."""

        async def operation(connection: AsyncConnection) -> None:
            await must_hold(connection, turn, owner)
            now = self._database.now()
            done: dict[str, Any] = {
                "state": sa.literal_column("'done'"),
                "finished_at": now,
                "owner": None,
                "lease_until": None,
            }
            forgotten: dict[str, Any] = {} if ending.keep_text else {"payload": None}
            await connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == turn)
                .values(**done, **forgotten, ended=ending.ended, error=ending.error, steps=ending.steps)
            )
            await connection.execute(
                sa.update(inbox)
                .where(inbox.c.joined_to == turn, sa.text("state = 'joined'"))
                .values(**done, **forgotten, ended=Ended.MERGED)
            )
            await connection.execute(sa.update(tool_calls).where(tool_calls.c.turn == turn).values(output=None))
            if ending.use is not None:
                await self._use(connection, ending.use)
            for column, told in ((lanes.c.notice_at, ending.notice), (lanes.c.withdrawn_at, ending.withdrawn)):
                if told is not None:
                    mine = sa.select(inbox.c.lane).where(inbox.c.id == turn).scalar_subquery()
                    still = sa.update(lanes).where(lanes.c.key == mine, column == told)
                    await connection.execute(still.values({column: None}))

        await self._database.write(operation)

    async def _use(self, connection: AsyncConnection, use: ThreadUse) -> None:
        values: dict[str, object] = {
            "messages": threads.c.messages + use.messages,
            "used_at": self._database.now(),
        }
        if use.prompt_tokens:
            values["prompt_tokens"] = use.prompt_tokens
        if use.summary is not None:
            values["summary"] = use.summary
        await connection.execute(sa.update(threads).where(threads.c.id == use.thread).values(**values))

    async def requeue(self, *, everything: bool) -> int:
        """See `InboxStore.requeue`."""

        async def operation(connection: AsyncConnection) -> int:
            over = sa.true() if everything else inbox.c.lease_until < self._database.now()
            requeued = await connection.execute(
                sa.update(inbox)
                .where(RUNNING, over)
                .values(state=sa.literal_column("'queued'"), owner=None, lease_until=None)
            )
            return requeued.rowcount

        return await self._database.write(operation)

    async def next_due(self) -> float | None:
        """See `InboxStore.next_due`."""
        soonest = sa.select(sa.func.min(inbox.c.not_before), self._database.now()).where(QUEUED)
        async with self._database.read() as connection:
            due, now = (await connection.execute(soonest)).one()
        return None if due is None else max(0.0, due - now)
