"""What is asked of turns from outside their running, and the tool calls they made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bot.store.codec import decode
from bot.store.controls import drop_joined
from bot.store.database import BY_TURN, Database, must_hold
from bot.store.tables import file_offers, inbox, lanes, tool_calls
from bot.types import Control, Ended, JsonObject, Message, ToolOutput, ToolRow

UNANSWERED = (Ended.APOLOGY, Ended.STALE, Ended.DEAD)


class SqlToolCalls:
    """The `ToolCallStore` over a database. Its statements are built once: building one costs more than running it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        columns = ("turn", "call_id", "attempt", "round", "position", "name", "once")
        self._insert = database.insert(tool_calls).values(
            **{name: sa.bindparam(f"its_{name}") for name in columns},
            state="started",
            started_at=database.now(),
        )
        self._end = (
            sa.update(tool_calls)
            .where(tool_calls.c.turn == BY_TURN, tool_calls.c.call_id == sa.bindparam("by_call"))
            .values(
                state=sa.bindparam("new_state"),
                output=sa.bindparam("new_output"),
                error=sa.bindparam("new_error"),
                finished_at=database.now(),
            )
        )
        self._rows = sa.select(tool_calls).where(tool_calls.c.turn == BY_TURN).order_by(tool_calls.c.id)

    async def started(self, turn: int, owner: str, rows: Sequence[ToolRow]) -> None:
        """See `ToolCallStore.started`."""
        begun = [
            {
                "its_turn": turn,
                "its_call_id": row.call_id,
                "its_attempt": row.attempt,
                "its_round": row.round,
                "its_position": row.position,
                "its_name": row.name,
                "its_once": row.once,
            }
            for row in rows
        ]
        await self._write(turn, owner, self._insert, begun)

    async def ended(self, turn: int, owner: str, outputs: Sequence[ToolOutput]) -> None:
        """See `ToolCallStore.ended`."""
        done = [
            {
                "by_turn": turn,
                "by_call": output.call_id,
                "new_state": "unknown" if output.error == "unknown" else "done",
                "new_output": output.output,
                "new_error": output.error,
            }
            for output in outputs
        ]
        await self._write(turn, owner, self._end, done)

    async def _write(self, turn: int, owner: str, statement: Any, each: list[dict[str, Any]]) -> None:
        def operation(connection: sa.Connection) -> None:
            must_hold(connection, turn, owner)
            if each:
                connection.execute(statement, each)

        await self._database.write(operation)

    async def rows(self, turn: int) -> list[ToolRow]:
        """See `ToolCallStore.rows`."""
        async with self._database.read() as connection:
            return [
                ToolRow(
                    call_id=row.call_id,
                    attempt=row.attempt,
                    round=row.round,
                    position=row.position,
                    name=row.name,
                    once=row.once,
                    state=row.state,
                    output=row.output,
                    error=row.error,
                    started_at=row.started_at,
                    finished_at=row.finished_at,
                )
                for row in await connection.execute(self._rows, {"by_turn": turn})
            ]


class SqlRecords:
    """The `TurnRecords` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_unanswered(self, lane: str, person: str) -> tuple[int, list[Message]] | None:
        """See `TurnRecords.last_unanswered`."""
        kept = sa.text("state = 'done' AND payload IS NOT NULL")
        head = (
            sa.select(inbox.c.id)
            .where(inbox.c.lane == lane, inbox.c.person == person, kept, inbox.c.ended.in_(UNANSWERED))
            .where(inbox.c.control.is_(None))
            .order_by(inbox.c.id.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            turn = await connection.scalar(head)
            if turn is None:
                return None
            words = (
                sa.select(inbox.c.payload)
                .where(kept, sa.or_(inbox.c.id == turn, inbox.c.joined_to == turn))
                .order_by(inbox.c.id)
            )
            return turn, [decode(payload) for payload in (await connection.execute(words)).scalars()]

    async def forget_text(self, turn: int) -> None:
        """See `TurnRecords.forget_text`."""

        def operation(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(inbox)
                .where(sa.or_(inbox.c.id == turn, inbox.c.joined_to == turn), sa.text("state = 'done'"))
                .values(payload=None)
            )

        await self._database.write(operation)

    async def ended(self, turns: Sequence[int]) -> dict[int, Ended]:
        """See `TurnRecords.ended`."""
        query = sa.select(inbox.c.id, inbox.c.ended).where(inbox.c.id.in_(turns), inbox.c.ended.is_not(None))
        async with self._database.read() as connection:
            return {row.id: Ended(row.ended) for row in await connection.execute(query)}

    async def busy(self, lane: str) -> tuple[int | None, int]:
        """See `TurnRecords.busy`."""
        async with self._database.read() as connection:
            running = await connection.scalar(
                sa.select(inbox.c.id).where(inbox.c.lane == lane, sa.text("state = 'running'"))
            )
            waiting = await connection.scalar(
                sa.select(sa.func.count()).where(inbox.c.lane == lane, sa.text("state = 'queued'"))
            )
        return running, waiting or 0

    async def attention(self) -> list[JsonObject]:
        """See `TurnRecords.attention`."""
        columns = (
            inbox.c.id,
            inbox.c.lane,
            inbox.c.state,
            inbox.c.ended,
            inbox.c.error,
            inbox.c.attempts,
            inbox.c.accepted_at,
        )
        open_now = sa.text("state IN ('queued', 'running')")
        kept = sa.and_(sa.text("state = 'done' AND payload IS NOT NULL"), inbox.c.ended.in_(UNANSWERED))
        query = sa.select(*columns).where(sa.or_(open_now, kept)).order_by(inbox.c.id)
        async with self._database.read() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def again(self, turn: int) -> bool:
        """See `TurnRecords.again`."""

        def operation(connection: sa.Connection) -> bool:
            current = sa.select(lanes.c.generation).where(lanes.c.key == inbox.c.lane).scalar_subquery()
            kept = sa.text("state = 'done' AND payload IS NOT NULL")
            put_back = connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == turn, kept, inbox.c.ended.in_(UNANSWERED))
                .values(
                    state=sa.literal_column("'queued'"),
                    generation=current,
                    steps=None,
                    attempts=0,
                    interrupt=None,
                    ended=None,
                    error=None,
                    not_before=None,
                    finished_at=None,
                    accepted_at=self._database.now(),
                )
            )
            connection.execute(
                sa.update(inbox)
                .where(inbox.c.joined_to == turn, kept)
                .values(state=sa.literal_column("'queued'"), joined_to=None, ended=None, generation=current)
            )
            connection.execute(sa.delete(tool_calls).where(tool_calls.c.turn == turn))
            return put_back.rowcount > 0

        return await self._database.write(operation)

    async def drop(self, turn: int) -> bool:
        """See `TurnRecords.drop`."""

        def operation(connection: sa.Connection) -> bool:
            ours = sa.or_(inbox.c.control.is_(None), inbox.c.control == Control.SAY)
            waits = sa.and_(sa.text("state = 'queued'"), ours, inbox.c.steps.is_(None))
            kept = sa.and_(sa.text("state = 'done' AND payload IS NOT NULL"), inbox.c.ended.in_(UNANSWERED))
            dropped = connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == turn, sa.or_(waits, kept))
                .values(
                    state=sa.literal_column("'done'"),
                    ended=Ended.DROPPED,
                    payload=None,
                    finished_at=self._database.now(),
                )
            )
            connection.execute(
                sa.update(inbox).where(inbox.c.joined_to == turn, sa.text("state = 'done'")).values(payload=None)
            )
            if dropped.rowcount:
                drop_joined(self._database, connection, [turn], None)
            return dropped.rowcount > 0

        return await self._database.write(operation)

    async def unfinished(self) -> int:
        """See `TurnRecords.unfinished`."""
        async with self._database.read() as connection:
            counted = await connection.scalar(
                sa.select(sa.func.count()).select_from(inbox).where(sa.text("state IN ('queued', 'running')"))
            )
        return counted or 0

    async def oldest_waiting(self) -> dict[str, tuple[int, float]]:
        """See `TurnRecords.oldest_waiting`."""
        age = self._database.now() - sa.func.min(inbox.c.accepted_at)
        waiting = (
            sa.select(inbox.c.channel, sa.func.count().label("messages"), age.label("age"))
            .where(sa.text("state = 'queued'"))
            .group_by(inbox.c.channel)
        )
        async with self._database.read() as connection:
            return {row.channel: (row.messages, max(0.0, row.age)) for row in await connection.execute(waiting)}

    async def sweep(self, rows_older_than: float, texts_older_than: float) -> int:
        """See `TurnRecords.sweep`."""

        def operation(connection: sa.Connection) -> int:
            now = self._database.now()
            connection.execute(
                sa.update(inbox)
                .where(
                    sa.text("state = 'done' AND payload IS NOT NULL"),
                    inbox.c.finished_at < now - texts_older_than,
                )
                .values(payload=None)
            )
            connection.execute(sa.delete(file_offers).where(file_offers.c.expires_at < now))
            old = sa.select(inbox.c.id).where(inbox.c.finished_at < now - rows_older_than)
            connection.execute(sa.delete(tool_calls).where(tool_calls.c.turn.in_(old)))
            gone = connection.execute(sa.delete(inbox).where(inbox.c.finished_at < now - rows_older_than))
            return gone.rowcount

        return await self._database.write(operation)

    async def describe(self, turn: int) -> JsonObject | None:
        """See `TurnRecords.describe`."""
        shown = [column for column in inbox.c if column.name not in {"payload", "key", "digest"}]
        called = [column for column in tool_calls.c if column.name not in {"output", "turn", "id"}]
        async with self._database.read() as connection:
            kept = inbox.c.payload.is_not(None).label("text_kept")
            rows = await connection.execute(sa.select(*shown, kept).where(inbox.c.id == turn))
            row = rows.mappings().first()
            if row is None:
                return None
            calls = await connection.execute(
                sa.select(*called).where(tool_calls.c.turn == turn).order_by(tool_calls.c.id)
            )
            described: JsonObject = dict(row) | {"tool_calls": [dict(call) for call in calls.mappings()]}
        steps: JsonObject = described["steps"] or {}
        described["steps"] = {name: value for name, value in steps.items() if not name.startswith("text:")}
        return described
