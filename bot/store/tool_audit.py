"""The audit of tool calls: written in the transactions of the calls themselves, read by the commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bot.store.database import BY_TURN, Database
from bot.store.tables import approvals, tool_audit, tool_calls
from bot.types import AuditedCall, CallNote, ToolFailures, ToolOutput, ToolRow, reference_of

REFERENCES = 3
"""Of each way in which a tool failed, so many of the newest turns are named."""
NO_FAILURES = ("declined", "expired")
"""What a person did not agree to did not fail."""

_BY_CALL: sa.ColumnElement[str] = sa.bindparam("by_call", type_=sa.Text)
_NOTED = ("channel", "tenant", "person", "lane", "source", "size", "sizes", "arguments")


class AuditStatements:
    """What `SqlToolCalls` runs along with its own writes, built once."""

    def __init__(self, database: Database) -> None:
        its = tool_audit.alias("its")
        there = sa.exists().where(its.c.turn == BY_TURN, its.c.call_id == _BY_CALL, its.c.seconds.is_(None))
        columns: dict[str, Any] = {
            "at": database.now(),
            "turn": BY_TURN,
            "call_id": _BY_CALL,
            "tool": sa.bindparam("its_tool", type_=sa.Text),
            **{name: sa.bindparam(f"its_{name}", type_=tool_audit.c[name].type) for name in _NOTED},
        }
        # A transaction whose commit went unanswered is run again.
        self._begin = sa.insert(tool_audit).from_select(list(columns), sa.select(*columns.values()).where(~there))
        called = (tool_calls.c.turn == BY_TURN, tool_calls.c.call_id == _BY_CALL)
        asked = (approvals.c.turn == BY_TURN, approvals.c.call_id == _BY_CALL)
        took = sa.select(tool_calls.c.finished_at - tool_calls.c.started_at).where(*called).scalar_subquery()
        self._end = (
            sa.update(tool_audit)
            .where(tool_audit.c.turn == BY_TURN, tool_audit.c.call_id == _BY_CALL, tool_audit.c.seconds.is_(None))
            .values(
                seconds=sa.func.coalesce(took, sa.literal_column("0.0")),
                output_size=sa.bindparam("its_output", type_=sa.Integer),
                error=sa.bindparam("its_error", type_=sa.Text),
                decider=sa.select(approvals.c.decider).where(*asked).scalar_subquery(),
            )
        )

    def begin(self, connection: sa.Connection, turn: int, rows: Sequence[ToolRow]) -> None:
        """These calls are about to be made, or asked about."""
        each = [
            {
                "by_turn": turn,
                "by_call": row.call_id,
                "its_tool": row.name,
                **{f"its_{name}": getattr(row.note, name) for name in _NOTED},
            }
            for row in rows
        ]
        if each:
            connection.execute(self._begin, each)

    def end(self, connection: sa.Connection, turn: int, outputs: Sequence[ToolOutput]) -> None:
        """These calls have their outputs, which stand with the calls by now."""
        each = [
            {
                "by_turn": turn,
                "by_call": output.call_id,
                "its_output": len(output.output.encode()),
                "its_error": output.error,
            }
            for output in outputs
        ]
        if each:
            connection.execute(self._end, each)


class SqlToolAudit:
    """The `ToolAudit` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, call: AuditedCall) -> None:
        """See `ToolAudit.record`."""
        seconds = call.seconds or 0.0
        values = {name: getattr(call.note, name) for name in _NOTED}
        values |= {"call_id": call.call_id, "tool": call.tool, "seconds": seconds, "output_size": call.output_size}
        values |= {"error": call.error, "decider": call.decider or None}

        def operation(connection: sa.Connection) -> None:
            connection.execute(sa.insert(tool_audit).values(at=self._database.now() - seconds, **values))

        await self._database.write(operation)

    async def calls(self, seconds: float, tool: str | None, limit: int) -> list[AuditedCall]:
        """See `ToolAudit.calls`."""
        query = sa.select(tool_audit).where(*self._within(seconds, tool)).order_by(tool_audit.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [_audited(row) for row in await connection.execute(query)]

    async def failures(self, seconds: float, tool: str | None) -> list[ToolFailures]:
        """See `ToolAudit.failures`."""
        failed = [*self._within(seconds, tool), tool_audit.c.error.is_not(None), tool_audit.c.error.not_in(NO_FAILURES)]
        kinds = (tool_audit.c.tool, tool_audit.c.error)
        at, count = tool_audit.c.at, sa.func.count(tool_audit.c.id).label("times")
        query = sa.select(*kinds, count, sa.func.min(at).label("first"), sa.func.max(at).label("last"))
        newest = sa.select(tool_audit.c.turn).where(*failed, tool_audit.c.turn.is_not(None)).limit(REFERENCES)
        found: list[ToolFailures] = []
        async with self._database.read() as connection:
            for row in (await connection.execute(query.where(*failed).group_by(*kinds))).all():
                same = (tool_audit.c.tool == row.tool, tool_audit.c.error == row.error)
                turns = (
                    await connection.execute(
                        newest.where(*same).group_by(tool_audit.c.turn).order_by(sa.func.max(tool_audit.c.id).desc())
                    )
                ).scalars()
                references = tuple(reference_of(turn) for turn in turns)
                found.append(ToolFailures(row.tool, row.error, row.times, row.first, row.last, references))
        return sorted(found, key=lambda one: (-one.count, one.tool, one.error))

    def _within(self, seconds: float, tool: str | None) -> list[sa.ColumnElement[bool]]:
        since = tool_audit.c.at >= self._database.moment() - seconds
        return [since] if tool is None else [since, tool_audit.c.tool == tool]


def forget_words(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Erase the arguments of the calls that fit any of these. That they were made stays."""
    kept = sa.text("arguments IS NOT NULL")
    connection.execute(sa.update(tool_audit).where(kept, sa.or_(*conditions)).values(arguments=sa.null()))


def _audited(row: Any) -> AuditedCall:
    note = CallNote(**{name: getattr(row, name) for name in _NOTED})
    return AuditedCall(
        at=row.at,
        tool=row.tool,
        call_id=row.call_id,
        note=note,
        turn=row.turn,
        seconds=row.seconds,
        output_size=row.output_size,
        error=row.error,
        decider=row.decider or "",
    )
