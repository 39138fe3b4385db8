"""What turns came to: counted from the rows of those that ended, while these are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bot.store.database import Database
from bot.store.tables import SECONDS, inbox, tool_calls
from bot.types import Ended, ToolUsed, TurnsUsed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY: sa.ColumnElement[float] = sa.literal_column("86400.0", SECONDS)


@dataclass(frozen=True, slots=True)
class SqlUsage:
    """The `Usage` over a database."""

    database: Database

    async def by_person(self, seconds: float) -> list[TurnsUsed]:
        """See `Usage.by_person`."""
        used = await self._turns(seconds, inbox.c.person, inbox.c.channel)
        return sorted(used, key=lambda one: (-one.turns, one.who, one.channel))

    async def by_day(self, seconds: float) -> list[TurnsUsed]:
        """See `Usage.by_day`."""
        days = inbox.c.finished_at / DAY
        whole = sa.cast(sa.func.floor(days) if self.database.postgresql else days, sa.Integer)  # SQLite cuts
        used = await self._turns(seconds, whole, sa.literal_column("''"))
        return sorted(used, key=lambda one: one.who)

    async def by_tool(self, seconds: float) -> list[ToolUsed]:
        """See `Usage.by_tool`."""
        query = (
            sa.select(
                tool_calls.c.name,
                _count(sa.distinct(tool_calls.c.turn)).label("turns"),
                _count(tool_calls.c.id).label("calls"),
                _count(tool_calls.c.error).label("errors"),
                sa.func.avg(tool_calls.c.finished_at - tool_calls.c.started_at).label("seconds"),
            )
            .join(inbox, inbox.c.id == tool_calls.c.turn)
            .where(self._ended_within(seconds))
            .group_by(tool_calls.c.name)
        )
        async with self.database.read() as connection:
            rows = (await connection.execute(query)).all()
        used = [ToolUsed(row.name, row.turns, row.calls, row.errors, float(row.seconds or 0.0)) for row in rows]
        return sorted(used, key=lambda one: (-one.calls, one.tool))

    async def _turns(self, seconds: float, who: Any, channel: Any) -> list[TurnsUsed]:
        """The turns, grouped. Their tool calls are counted apart: joined, a turn would count once for each call."""
        within = self._ended_within(seconds)
        tokens = inbox.c.steps["tokens"]
        turns = (
            sa.select(
                who.label("who"),
                channel.label("via"),
                _count(inbox.c.id).label("turns"),
                _sum(sa.case((inbox.c.ended == Ended.ANSWERED, 1), else_=0)).label("answered"),
                _sum(sa.case((inbox.c.ended.in_((Ended.APOLOGY, Ended.DEAD)), 1), else_=0)).label("apologies"),
                _sum(tokens["prompt"].as_integer()).label("prompt"),
                _sum(tokens["completion"].as_integer()).label("completion"),
            )
            .where(within)
            .group_by("who", "via")  # no names of columns: these would come first
        )
        calls = (
            sa.select(
                who.label("who"),
                channel.label("via"),
                _count(tool_calls.c.id).label("calls"),
                _count(tool_calls.c.error).label("errors"),
            )
            .join_from(inbox, tool_calls, tool_calls.c.turn == inbox.c.id)
            .where(within)
            .group_by("who", "via")
        )
        async with self.database.read() as connection:
            called = {(row.who, row.via): row for row in await connection.execute(calls)}
            rows = (await connection.execute(turns)).all()
        return [_used(row, called.get((row.who, row.via))) for row in rows]

    def _ended_within(self, seconds: float) -> sa.ColumnElement[bool]:
        """Turns, not the messages that became part of one, nor those that were dropped before they were one."""
        return sa.and_(
            inbox.c.finished_at >= self.database.moment() - seconds,
            inbox.c.ended.not_in((Ended.MERGED, Ended.DROPPED)),
        )


def _used(row: Any, called: Any) -> TurnsUsed:
    who = row.who if isinstance(row.who, str) else (EPOCH + timedelta(days=row.who)).date().isoformat()
    calls, errors = (called.calls, called.errors) if called is not None else (0, 0)
    return TurnsUsed(who, row.via, row.turns, row.answered, row.apologies, row.prompt, row.completion, calls, errors)


def _count(what: Any) -> sa.ColumnElement[int]:
    return sa.func.count(what)


def _sum(what: Any) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(what), 0)
