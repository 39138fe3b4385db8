"""Turns on disk: claimed, held by a lease, saved step by step, ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bot.errors import LostLease
from bot.store.acceptance import Acceptance
from bot.store.approvals import until
from bot.store.codec import Unreadable, decode
from bot.store.database import HELD, QUEUED, RUNNING, Database, Row
from bot.store.statements import TurnStatements
from bot.store.tables import SECONDS, inbox, lanes
from bot.store.threads import thread_from
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

log = logging.getLogger("threadkeeper.inbox")

ASIDE = 60.0
"""Seconds after which a turn that could not be read is looked at again."""
ENDS = 2.0
"""Seconds after which a turn that was told to end is taken up again: its confirmation waits behind it."""


class SqlInbox:
    """The `InboxStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._acceptance = Acceptance(database)
        self._run = TurnStatements(database)

    async def put(self, entry: Entry, undo_seconds: float) -> Accepted:
        """See `InboxStore.put`."""
        return await self._database.write(lambda connection: self._acceptance.put(connection, entry, undo_seconds))

    async def claim(self, owner: str, limit: int, lease: float) -> list[Claim]:
        """See `InboxStore.claim`."""
        while True:
            try:
                return await self._database.write(lambda connection: self._claim(connection, owner, limit, lease))
            except IntegrityError:
                # Another replica took the same lane by an earlier message, which had not been committed when we looked:
                # one running turn a lane is kept by the index, and the next look finds what is free.
                return []
            except Unreadable as row:
                log.error("turn %s cannot be read: another version wrote it; its conversation waits", row.turn)
                await self._database.write(partial(self._set_aside, turn=row.turn))

    def _set_aside(self, connection: sa.Connection, turn: int) -> None:
        """Others need not wait for what cannot be read here; a replica of its own version may take it by then."""
        later = {"not_before": self._database.now() + ASIDE, "error": "cannot be read by this version"}
        connection.execute(sa.update(inbox).where(inbox.c.id == turn, QUEUED).values(**later))

    def _claim(self, connection: sa.Connection, owner: str, limit: int, lease: float) -> list[Claim]:
        # two statements: UPDATE with such a sub-select runs it again for each row on PostgreSQL
        heads = connection.execute(self._run.heads, {"most": limit}).all()
        if heads:
            mine = {"by_owner": owner, "lease": lease}
            taken = [mine | {"by_turn": head.id, "stamped": _stamped(head)} for head in heads]
            connection.execute(self._run.take, taken)
        return [self._claimed(connection, head) for head in heads]

    def _claimed(self, connection: sa.Connection, head: Row) -> Claim:
        try:
            messages = self._messages(connection, head)
        except (KeyError, ValueError, TypeError):
            raise Unreadable(head.id) from None
        stamped, interrupt = _stamped(head), head.interrupt
        if interrupt is None and head.control is None and stamped != head.current:
            interrupt = Interrupt.SUPERSEDED
        return Claim(
            turn=head.id,
            lane=head.lane,
            stamped=stamped,
            generation=head.current,
            messages=tuple(messages),
            control=Control(head.control) if head.control else None,
            effect=head.effect or {},
            steps=head.steps or {},
            attempts=head.attempts + 1,
            accepted_at=head.accepted_at,
            thread=None if head.thread_id is None else thread_from(head, "thread_"),
            interrupt=Interrupt(interrupt) if interrupt else None,
            notice=head.notice_at,
            withdrawn=head.withdrawn_at,
            runs_before=head.runs_before,
        )

    def _messages(self, connection: sa.Connection, head: Row) -> list[Message]:
        """The turn's own, and those that have joined it or do so now."""
        messages = [decode(head.payload)]
        if head.started_at is not None:
            messages += self._joined(connection, head)
        if _fresh(head) and head.joins and head.follows:
            messages += self._join(connection, head)
        return messages

    def _join(self, connection: sa.Connection, head: Row) -> list[Message]:
        """The messages right behind the head become one turn with it.

        A command ends the batch, and so does a turn that was begun once: it has messages of its own, or steps.
        """
        behind = connection.execute(self._run.behind, {"in_lane": head.lane, "by_turn": head.id}).all()
        batch: list[Row] = []
        for row in behind:
            if not row.joins or row.started_at is not None:
                break
            batch.append(row)
        if batch:
            connection.execute(
                sa.update(inbox)
                .where(inbox.c.id.in_([row.id for row in batch]))
                .values(state=sa.literal_column("'joined'"), joined_to=head.id)
            )
        return [decode(row.payload) for row in batch]

    def _joined(self, connection: sa.Connection, head: Row) -> list[Message]:
        """The messages that joined the head when it was first claimed."""
        return [decode(payload) for payload in connection.scalars(self._run.joined, {"by_turn": head.id})]

    async def renew(self, owner: str, turns: Sequence[int], lease: float) -> list[Renewal]:
        """See `InboxStore.renew`."""
        if not turns:
            return []

        def operation(connection: sa.Connection) -> list[Renewal]:
            held = connection.execute(self._run.renew, {"turns": list(turns), "by_owner": owner, "lease": lease})
            interrupts = {row.id: row.interrupt for row in held}
            return [
                Renewal(turn, turn in interrupts, Interrupt(why) if (why := interrupts.get(turn)) else None)
                for turn in turns
            ]

        return await self._database.write(operation)

    async def holds(self, turn: int, owner: str) -> Interrupt | None:
        """See `InboxStore.holds`."""
        async with self._database.read() as connection:
            row = (await connection.execute(self._run.holds, {"by_turn": turn, "by_owner": owner})).first()
        if row is None:
            raise LostLease(f"turn {turn}")
        if row.interrupt is not None:
            return Interrupt(row.interrupt)
        if row.control is None and row.generation != row.current:
            return Interrupt.SUPERSEDED
        return None

    async def save(self, turn: int, owner: str, steps: JsonObject) -> None:
        """See `InboxStore.save`."""

        def operation(connection: sa.Connection) -> None:
            saved = connection.execute(self._run.save, {"by_turn": turn, "by_owner": owner, "new_steps": steps})
            if saved.rowcount == 0:
                raise LostLease(f"turn {turn}")

        await self._database.write(operation)

    async def release(self, turn: int, owner: str, delay: float, error: str, *, counted: bool) -> None:
        """See `InboxStore.release`."""
        waits = sa.case((inbox.c.interrupt.is_(None), delay), else_=min(delay, ENDS))
        values = {"not_before": self._database.now() + waits, "error": error}
        await self._database.write(lambda connection: _give_back(connection, turn, owner, values, counted=counted))

    async def wait(self, turn: int, owner: str, approval: str) -> None:
        """See `InboxStore.wait`."""

        def operation(connection: sa.Connection) -> None:
            time = _unless_told_to_end(until(connection, approval))
            _give_back(connection, turn, owner, {"not_before": time}, counted=False)

        await self._database.write(operation)

    async def finish(self, turn: int, owner: str, ending: Ending) -> None:
        """See `InboxStore.finish`."""
        its = {"by_turn": turn, "by_owner": owner}
        end = {"how_ended": ending.ended, "what_error": ending.error, "new_steps": ending.steps}

        def operation(connection: sa.Connection) -> None:
            ended = connection.execute(self._run.finish[ending.keep_text], its | end).first()
            if ended is None:
                raise LostLease(f"turn {turn}")
            if ended.has_joined:
                if ending.ended is Ended.STOPPED and ending.error == Interrupt.STOP:
                    connection.execute(self._run.others_wait, {"by_turn": turn})
                connection.execute(self._run.finish_joined[ending.keep_text], {"by_turn": turn})
            if ended.has_called:
                connection.execute(self._run.forget_outputs, {"by_turn": turn})
                connection.execute(self._run.close_approvals, {"by_turn": turn})
            if ending.use is not None:
                connection.execute(self._run.use, _used(ending.use))
            its_lane = sa.update(lanes).where(
                lanes.c.key == sa.select(inbox.c.lane).where(inbox.c.id == turn).scalar_subquery()
            )
            for column, told in ((lanes.c.notice_at, ending.notice), (lanes.c.withdrawn_at, ending.withdrawn)):
                if told is not None:
                    connection.execute(its_lane.where(column == told).values({column: None}))
            if ending.ended is Ended.ANSWERED and ended.interrupt == Interrupt.STOP:  # it came too late
                connection.execute(its_lane.values(withdrawn_at=None))

        await self._database.write(operation)

    async def requeue(self, *, everything: bool) -> int:
        """See `InboxStore.requeue`."""
        over = sa.true() if everything else inbox.c.lease_until < self._database.now()
        put_back = sa.update(inbox).where(RUNNING, over)
        put_back = put_back.values(state=sa.literal_column("'queued'"), owner=None, lease_until=None)
        return await self._database.write(lambda connection: connection.execute(put_back).rowcount)

    async def next_due(self) -> float | None:
        """See `InboxStore.next_due`."""
        async with self._database.read() as connection:
            due, now = (await connection.execute(self._run.soonest)).one()
        return None if due is None else max(0.0, due - now)


def _fresh(head: Row) -> bool:
    """If nobody has begun it."""
    return head.attempts == 0 and head.steps is None


def _stamped(head: Row) -> int:
    """The generation it is of: a message accepted beside a "start over" that did not see it belongs to the new one."""
    return head.current if _fresh(head) and head.interrupt is None else head.generation


def _give_back(connection: sa.Connection, turn: int, owner: str, values: dict[str, Any], *, counted: bool) -> None:
    """Put a turn in hand back into its lane."""
    free: dict[str, Any] = {"state": sa.literal_column("'queued'"), "owner": None, "lease_until": None}
    attempts = inbox.c.attempts - (0 if counted else 1)
    given_back = sa.update(inbox).where(HELD).values(**free, attempts=attempts, **values)
    if connection.execute(given_back, {"by_turn": turn, "by_owner": owner}).rowcount == 0:
        raise LostLease(f"turn {turn}")


def _unless_told_to_end(time: float | None) -> sa.ColumnElement[float]:
    """When a turn goes on; one that was told to end, while it was on its way here, has nothing to wait for."""
    return sa.case((inbox.c.interrupt.is_(None), sa.cast(time, SECONDS)))


def _used(use: ThreadUse) -> dict[str, object]:
    return {
        "by_thread": use.thread,
        "more_messages": use.messages,
        "more_tokens": use.prompt_tokens or None,
        "new_summary": use.summary,
    }
