"""What is asked of turns from outside their running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from bot.store.codec import decode
from bot.store.controls import drop_joined
from bot.store.database import KEPT, QUEUED, RUNNING, Database
from bot.store.tables import approvals, file_offers, inbox, lanes, tool_calls
from bot.store.tool_files import sweep
from bot.types import Control, Ended, JsonObject, Message

UNANSWERED = (Ended.APOLOGY, Ended.STALE, Ended.DEAD)
SWEPT_AT_ONCE = 500
"""Rows in a transaction of the sweep: whoever needs one of them waits that long."""

_ASKED = [
    column for column in approvals.c if column.name not in {"id", "turn", "lane", "arguments", "digest", "nudged"}
]
"""What is shown of an approval; whoever knows its id and is the right person could decide it."""


_CURRENT = sa.select(lanes.c.generation).where(lanes.c.key == inbox.c.lane).scalar_subquery()
_BEGUN = inbox.alias("begun")
_UNDER_WAY = sa.exists().where(
    _BEGUN.c.lane == inbox.c.lane, sa.text("begun.state = 'queued'"), _BEGUN.c.started_at.is_not(None)
)
"""A turn of the same lane has been begun and waits: an earlier one would stand behind, with its run in the way."""


class SqlRecords:
    """The `TurnRecords` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_unanswered(self, lane: str, person: str) -> tuple[int, list[Message]] | None:
        """See `TurnRecords.last_unanswered`."""
        # in a shared thread their words may have joined somebody else's, and failed with them
        theirs = sa.select(sa.func.coalesce(inbox.c.joined_to, inbox.c.id)).where(
            inbox.c.lane == lane, inbox.c.person == person, KEPT
        )
        head = (
            sa.select(inbox.c.id)
            .where(inbox.c.lane == lane, inbox.c.id.in_(theirs), KEPT, inbox.c.ended.in_(UNANSWERED))
            .where(inbox.c.control.is_(None), inbox.c.joins)  # a command is no question, "retry" itself least of all
            .order_by(inbox.c.id.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            turn = await connection.scalar(head)
            if turn is None:
                return None
            words = (
                sa.select(inbox.c.payload)
                .where(inbox.c.lane == lane, KEPT, sa.or_(inbox.c.id == turn, inbox.c.joined_to == turn))
                .order_by(inbox.c.id)
            )
            return turn, [decode(payload) for payload in (await connection.execute(words)).scalars()]

    async def forget_text(self, turn: int) -> None:
        """See `TurnRecords.forget_text`."""

        def operation(connection: sa.Connection) -> None:
            with_it = sa.or_(inbox.c.id == turn, inbox.c.joined_to == turn)
            connection.execute(sa.update(inbox).where(_beside(turn), with_it, KEPT).values(payload=None))

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
        open_now = inbox.c.id.in_(_open())
        kept = sa.and_(KEPT, inbox.c.ended.in_(UNANSWERED))
        query = sa.select(*columns).where(sa.or_(open_now, kept)).order_by(inbox.c.id)
        async with self._database.read() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def again(self, turn: int) -> bool:
        """See `TurnRecords.again`."""

        def operation(connection: sa.Connection) -> bool:
            row = connection.execute(sa.select(inbox.c.steps, inbox.c.runs_before).where(inbox.c.id == turn)).first()
            if row is None:
                return False
            waits: dict[str, Any] = {"state": sa.literal_column("'queued'"), "generation": _CURRENT, "ended": None}
            put_back = connection.execute(
                sa.update(inbox)
                .where(inbox.c.id == turn, KEPT, inbox.c.ended.in_(UNANSWERED), ~_UNDER_WAY)
                .values(
                    **waits,
                    runs_before=max([row.runs_before, *_runs(row.steps or {})]),
                    steps=None,
                    attempts=0,
                    interrupt=None,
                    error=None,
                    not_before=None,
                    finished_at=None,
                    accepted_at=self._database.now(),
                )
            )
            if not put_back.rowcount:
                return False
            with_it = sa.update(inbox).where(_beside(turn), inbox.c.joined_to == turn, KEPT)
            connection.execute(with_it.values(**waits, joined_to=None))
            for made in (tool_calls, approvals):
                connection.execute(sa.delete(made).where(made.c.turn == turn))
            return True

        return await self._database.write(operation)

    async def drop(self, turn: int) -> bool:
        """See `TurnRecords.drop`."""

        def operation(connection: sa.Connection) -> bool:
            ours = sa.or_(inbox.c.control.is_(None), inbox.c.control == Control.SAY)
            waits = sa.and_(sa.text("state = 'queued'"), ours, inbox.c.steps.is_(None))
            kept = sa.and_(KEPT, inbox.c.ended.in_(UNANSWERED))
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
                sa.update(inbox).where(_beside(turn), inbox.c.joined_to == turn, KEPT).values(payload=None)
            )
            if dropped.rowcount:
                drop_joined(self._database, connection, [turn], None)
            return dropped.rowcount > 0

        return await self._database.write(operation)

    async def unfinished(self) -> int:
        """See `TurnRecords.unfinished`."""
        async with self._database.read() as connection:
            counted = await connection.scalar(
                sa.select(sa.func.count()).select_from(inbox).where(inbox.c.id.in_(_open()))
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
        await self._database.tidy(self._sweep_files)
        while await self._database.tidy(partial(self._sweep_texts, older_than=texts_older_than)):
            pass
        swept = 0
        while gone := await self._database.tidy(partial(self._sweep_rows, older_than=rows_older_than)):
            swept += gone
        return swept

    def _sweep_files(self, connection: sa.Connection) -> None:
        now = self._database.moment()
        connection.execute(sa.delete(file_offers).where(file_offers.c.expires_at < now))
        sweep(connection, now)

    def _sweep_texts(self, connection: sa.Connection, older_than: float) -> int:
        """Some of them; how many."""
        ids = self._some(connection, KEPT, older_than)
        if ids:
            connection.execute(sa.update(inbox).where(inbox.c.id.in_(ids)).values(payload=None))
        return len(ids)

    def _sweep_rows(self, connection: sa.Connection, older_than: float) -> int:
        """Some of them, with all that hangs on them; how many."""
        ids = self._some(connection, sa.true(), older_than)
        if ids:
            for made in (tool_calls, approvals):
                connection.execute(sa.delete(made).where(made.c.turn.in_(ids)))
            connection.execute(sa.delete(inbox).where(inbox.c.id.in_(ids)))
        return len(ids)

    def _some(self, connection: sa.Connection, which: Any, older_than: float) -> Sequence[int]:
        """Ids of what is that old, locked; less what somebody else works on: it waits for the next sweep."""
        old = sa.select(inbox.c.id).where(which, inbox.c.finished_at < self._database.moment() - older_than)
        some = old.order_by(inbox.c.finished_at).limit(SWEPT_AT_ONCE).with_for_update(skip_locked=True)
        return connection.scalars(some).all()

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
            asked = await connection.execute(sa.select(*_ASKED).where(approvals.c.turn == turn))
            described["approvals"] = [dict(one) for one in asked.mappings()]
        steps: JsonObject = described["steps"] or {}
        described["steps"] = {name: value for name, value in steps.items() if not name.startswith("text:")}
        return described


def _beside(turn: int) -> sa.ColumnElement[bool]:
    """What is of the turn's lane: what joined it is found by that, and not among all that is over."""
    its = inbox.alias("its")
    return inbox.c.lane == sa.select(its.c.lane).where(its.c.id == turn).scalar_subquery()


def _open() -> sa.CompoundSelect[tuple[int]]:
    """The ids of what is open, in whichever lane."""
    return sa.union_all(*(sa.select(inbox.c.id).where(state) for state in (QUEUED, RUNNING)))


def _runs(steps: JsonObject) -> Iterator[int]:
    """How many runs each question of a turn has had."""
    questions: list[JsonObject] = [step for step in steps.values() if isinstance(step, dict)]
    return (question["attempt"] + 1 for question in questions if "attempt" in question)
