"""The statements on a turn's way, built once for a database: building one costs more than running it.

A parameter never has the name of a column: SQLAlchemy would take it for the column's value.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bot.store.database import BY_OWNER, BY_TURN, HELD, IS_RUNNING, QUEUED, Database
from bot.store.tables import approvals, inbox, lanes, threads, tool_calls
from bot.types import Ended

JOINED = sa.text("state = 'joined'")
MOST_JOINED = 20

_LEASE: sa.ColumnElement[float] = sa.bindparam("lease", type_=sa.Double)
_STEPS: Any = sa.bindparam("new_steps", type_=inbox.c.steps.type)


class TurnStatements:
    """What `SqlInbox` runs."""

    def __init__(self, database: Database) -> None:
        now = database.now()
        self.heads = _heads(now)
        self.take = _take(now)
        self.behind = (
            sa.select(inbox.c.id, inbox.c.joins, inbox.c.payload, inbox.c.started_at)
            .where(inbox.c.lane == sa.bindparam("in_lane"), QUEUED, inbox.c.id > BY_TURN)
            .order_by(inbox.c.id)
            .limit(MOST_JOINED)
            .with_for_update()
        )
        self.joined = sa.select(inbox.c.payload).where(inbox.c.joined_to == BY_TURN, JOINED).order_by(inbox.c.id)
        self.renew = (
            sa.update(inbox)
            .where(inbox.c.id.in_(sa.bindparam("turns", expanding=True)), inbox.c.owner == BY_OWNER, IS_RUNNING)
            .values(lease_until=now + _LEASE)
            .returning(inbox.c.id, inbox.c.interrupt)
        )
        self.holds = (
            sa.select(inbox.c.interrupt, inbox.c.control, inbox.c.generation, lanes.c.generation.label("current"))
            .join(lanes, lanes.c.key == inbox.c.lane)
            .where(HELD)
        )
        self.save = sa.update(inbox).where(HELD).values(steps=_STEPS)
        self.soonest = sa.select(sa.func.min(inbox.c.not_before), now).where(QUEUED)
        self.finish = {keep: _finish(now, keep) for keep in (True, False)}
        self.finish_joined = {keep: _finish_joined(now, keep) for keep in (True, False)}
        self.others_wait = _others_wait()
        self.forget_outputs = sa.update(tool_calls).where(tool_calls.c.turn == BY_TURN).values(output=None)
        self.close_approvals = _close_approvals()
        self.use = _use(now)


def _heads(now: sa.ColumnElement[float]) -> Any:
    """The first that waits in each lane where nothing runs, with its lane, its thread, and if more waits behind it."""
    running, earlier, behind = (inbox.alias(name) for name in ("running", "earlier", "behind"))
    due = sa.or_(inbox.c.not_before.is_(None), inbox.c.not_before <= now)
    # values and not joins: PostgreSQL plans each call anew, and thinks long about the order of five tables
    runs = sa.select(running.c.id).where(running.c.lane == inbox.c.lane, sa.text("running.state = 'running'"))
    first = sa.select(sa.func.min(earlier.c.id)).where(
        earlier.c.lane == inbox.c.lane, sa.text("earlier.state = 'queued'")
    )
    follows = sa.exists().where(
        behind.c.lane == inbox.c.lane, sa.text("behind.state = 'queued'"), behind.c.id > inbox.c.id
    )
    shown = (inbox.c.id, inbox.c.lane, inbox.c.payload, inbox.c.effect, inbox.c.steps, inbox.c.control)
    more = (
        inbox.c.joins,
        inbox.c.attempts,
        inbox.c.accepted_at,
        inbox.c.generation,
        inbox.c.interrupt,
        inbox.c.started_at,
        inbox.c.runs_before,
    )
    of_lane = (lanes.c.generation.label("current"), lanes.c.notice_at, lanes.c.withdrawn_at)
    of_thread = (column.label(f"thread_{column.name}") for column in threads.c)
    return (
        sa.select(*shown, *more, *of_lane, *of_thread, follows.label("follows"))
        # Each message has its lane. An outer join keeps SQLite from beginning with all the lanes there are.
        .outerjoin(lanes, lanes.c.key == inbox.c.lane)
        .outerjoin(threads, threads.c.id == lanes.c.thread_id)
        .where(sa.text("inbox.state = 'queued'"), due)
        .where(runs.limit(1).scalar_subquery().is_(None), inbox.c.id == first.scalar_subquery())
        # The plus keeps SQLite from walking all rows there ever were, by id, instead of those that wait.
        .order_by(sa.text("+inbox.id"))
        .limit(sa.bindparam("most", type_=sa.Integer))
        .with_for_update(skip_locked=True, of=inbox)
    )


def _take(now: sa.ColumnElement[float]) -> Any:
    return (
        sa.update(inbox)
        .where(inbox.c.id == BY_TURN)
        .values(
            state=sa.literal_column("'running'"),
            owner=BY_OWNER,
            lease_until=now + _LEASE,
            attempts=inbox.c.attempts + 1,
            started_at=sa.func.coalesce(inbox.c.started_at, now),
            not_before=None,
            generation=sa.bindparam("stamped", type_=sa.Integer),
        )
    )


def _done(now: sa.ColumnElement[float], keep_text: bool) -> dict[str, Any]:
    done: dict[str, Any] = {
        "state": sa.literal_column("'done'"),
        "finished_at": now,
        "owner": None,
        "lease_until": None,
    }
    return done if keep_text else done | {"payload": None}


def _finish(now: sa.ColumnElement[float], keep_text: bool) -> Any:
    """The turn's own row; it says if there is more to be ended with it."""
    with_it = inbox.alias("with_it")
    has_joined = sa.exists().where(with_it.c.joined_to == BY_TURN, sa.text("with_it.state = 'joined'"))
    has_called = sa.exists().where(tool_calls.c.turn == BY_TURN)
    ended, error = sa.bindparam("how_ended", type_=sa.Text), sa.bindparam("what_error", type_=sa.Text)
    return (
        sa.update(inbox)
        .where(HELD)
        .values(**_done(now, keep_text), ended=ended, error=error, steps=_STEPS)
        .returning(has_joined.label("has_joined"), has_called.label("has_called"), inbox.c.interrupt)
    )


def _finish_joined(now: sa.ColumnElement[float], keep_text: bool) -> Any:
    return (
        sa.update(inbox).where(inbox.c.joined_to == BY_TURN, JOINED).values(**_done(now, keep_text), ended=Ended.MERGED)
    )


def _others_wait() -> Any:
    """Who says "stop" in a shared thread speaks for themselves: what others said with them waits by itself again."""
    its = inbox.alias("its")
    whose = sa.select(its.c.person).where(its.c.id == BY_TURN).scalar_subquery()
    others = sa.update(inbox).where(inbox.c.joined_to == BY_TURN, JOINED, inbox.c.person != whose)
    return others.values(state=sa.literal_column("'queued'"), joined_to=None)


def _close_approvals() -> Any:
    """What the turn asked for is open no more, and forgotten."""
    still = sa.case((approvals.c.state == "asked", "expired"), else_=approvals.c.state)
    return sa.update(approvals).where(approvals.c.turn == BY_TURN).values(arguments=None, state=still)


def _use(now: sa.ColumnElement[float]) -> Any:
    """What a turn adds to its thread. A run without a count of tokens, or without a summary, leaves what stands."""
    tokens = sa.bindparam("more_tokens", type_=sa.Integer)
    return (
        sa.update(threads)
        .where(threads.c.id == sa.bindparam("by_thread", type_=sa.Integer))
        .values(
            messages=threads.c.messages + sa.bindparam("more_messages", type_=sa.Integer),
            used_at=now,
            prompt_tokens=sa.func.coalesce(tokens, threads.c.prompt_tokens),
            summary=sa.func.coalesce(sa.bindparam("new_summary", type_=sa.Text), threads.c.summary),
        )
    )
