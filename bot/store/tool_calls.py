"""The tool calls that turns made, each with its row in the audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from bot.store.database import BY_TURN, Database, must_hold
from bot.store.tables import inbox, lanes, tool_calls
from bot.store.tool_audit import AuditStatements
from bot.store.tool_files import keep
from bot.types import Ended, Interrupt, ToolOutput, ToolRow


class SqlToolCalls:
    """The `ToolCallStore` over a database. Its statements are built once: building one costs more than running it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        columns = ("turn", "call_id", "attempt", "round", "position", "name", "once", "state")
        self._insert = database.insert(tool_calls).values(
            **{name: sa.bindparam(f"its_{name}") for name in columns},
            started_at=database.now(),
        )
        self._begin = (
            sa.update(tool_calls)
            .where(tool_calls.c.turn == BY_TURN, tool_calls.c.call_id == sa.bindparam("by_call"))
            .where(tool_calls.c.state == "asked")
            .values(state="started", started_at=database.now())
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
        self._audit = AuditStatements(database)
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
                "its_state": row.state,
            }
            for row in rows
        ]
        await self._write(
            turn, owner, self._insert, begun, lambda connection: self._audit.begin(connection, turn, rows)
        )

    async def agreed(self, turn: int, owner: str, call_id: str) -> None:
        """See `ToolCallStore.agreed`."""
        await self._write(turn, owner, self._begin, [{"by_turn": turn, "by_call": call_id}])

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
        await self._write(turn, owner, self._end, done, lambda connection: self._kept(connection, turn, outputs))

    def _kept(self, connection: sa.Connection, turn: int, outputs: Sequence[ToolOutput]) -> None:
        keep(self._database, connection, turn, outputs)
        self._audit.end(connection, turn, outputs)

    async def _write(
        self,
        turn: int,
        owner: str,
        statement: Any,
        each: list[dict[str, Any]],
        along: Callable[[sa.Connection], None] | None = None,
    ) -> None:
        def operation(connection: sa.Connection) -> None:
            must_hold(connection, turn, owner)
            if each:
                connection.execute(statement, each)
            if along is not None:
                along(connection)

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

    async def withdrawn(self, lane: str) -> list[str]:
        """See `ToolCallStore.withdrawn`."""
        over = sa.and_(inbox.c.lane == lane, sa.text("inbox.state = 'done'"))
        answered = sa.select(sa.func.max(inbox.c.finished_at)).where(over, inbox.c.ended == Ended.ANSWERED)
        since = sa.func.coalesce(answered.scalar_subquery(), 0.0)
        stopped = sa.select(inbox.c.id).where(over, inbox.c.ended == Ended.STOPPED, inbox.c.error == Interrupt.STOP)
        # a conversation that was started over knows nothing of the one before
        current = sa.select(lanes.c.generation).where(lanes.c.key == lane).scalar_subquery()
        stopped = stopped.where(inbox.c.finished_at > since, inbox.c.generation == current)
        async with self._database.read() as connection:
            turns = list(await connection.scalars(stopped.order_by(inbox.c.id)))
        calls = [row for turn in turns for row in await self.rows(turn) if row.may_have_acted]
        return list(dict.fromkeys(row.name for row in calls))
