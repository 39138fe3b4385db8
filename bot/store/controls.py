"""What a control does to its lane, and what starts a lane over from outside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bot.store.database import OPEN, Database, Row
from bot.store.tables import inbox, lanes, threads
from bot.types import Accepted, Control, Ended, Entry, Interrupt, JsonObject

NO_THREAD: dict[str, object] = {"thread_id": None, "undo_thread_id": None, "undo_until": None, "withdrawn_at": None}


def apply(database: Database, connection: sa.Connection, entry: Entry, turn: int, undo_seconds: float) -> Accepted:
    """Do at once what a control says; `turn` is its own row, by which it is confirmed in the lane."""
    lane = connection.execute(sa.select(lanes).where(lanes.c.key == entry.lane).with_for_update()).one()
    effect: JsonObject = {}
    raised = lane.generation
    if entry.control is Control.STOP:
        dropped, interrupted = _revoke(
            database, connection, entry.lane, Interrupt.STOP, before=turn, person=entry.message.person.id
        )
        if interrupted:
            withdrawn = sa.update(lanes).where(lanes.c.key == entry.lane)
            connection.execute(withdrawn.values(withdrawn_at=database.now()))
    elif entry.control is Control.FORGET:
        return _forget(database, connection, entry, turn)
    elif entry.control is Control.UNDO and not _can_undo(database, connection, entry.lane):
        dropped, interrupted, effect = 0, (), {"nothing": True}
    else:
        raised += 1
        dropped, interrupted = _revoke(database, connection, entry.lane, Interrupt.SUPERSEDED, before=turn)
        connection.execute(
            sa.update(lanes)
            .where(lanes.c.key == entry.lane)
            .values(generation=raised, **_mapping(database, entry.control, lane.thread_id, undo_seconds))
        )
    effect |= {"dropped": dropped, "interrupted": list(interrupted)}
    connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(generation=raised, effect=effect))
    return Accepted(turn=turn, fresh=True, interrupted=interrupted, generation=raised, dropped=dropped)


def _mapping(
    database: Database, control: Control | None, thread_id: int | None, undo_seconds: float
) -> dict[str, object]:
    """How the lane's mapping changes with its generation."""
    if control is Control.UNDO:
        return NO_THREAD | {"thread_id": lanes.c.undo_thread_id}
    if thread_id is None:  # nothing was said since the last "start over": what that one left can still come back
        return {"thread_id": None, "withdrawn_at": None}
    return NO_THREAD | {"undo_thread_id": thread_id, "undo_until": database.now() + undo_seconds}


def _can_undo(database: Database, connection: sa.Connection, lane: str) -> bool:
    held = sa.select(lanes.c.key).where(
        lanes.c.key == lane, lanes.c.undo_thread_id.is_not(None), lanes.c.undo_until >= database.now()
    )
    return connection.execute(held).first() is not None


def _revoke(
    database: Database,
    connection: sa.Connection,
    lane: str,
    why: Interrupt,
    *,
    before: int | None = None,
    person: str | None = None,
    spare: int | None = None,
) -> tuple[int, tuple[int, ...]]:
    """Drop what waits before a turn, interrupt what has begun; how many dropped, and which were interrupted."""
    older = [inbox.c.lane == lane, inbox.c.control.is_(None)]
    if before is not None:
        older.append(inbox.c.id < before)
    if spare is not None:
        older.append(inbox.c.id != spare)
    if person is not None:  # in a shared thread, "stop" is about one's own questions
        older.append(inbox.c.person == person)
    dropped = connection.execute(
        sa.update(inbox)
        .where(*older, sa.text("state = 'queued'"), inbox.c.steps.is_(None))
        .values(
            state=sa.literal_column("'done'"),
            ended=Ended.DROPPED,
            payload=None,
            finished_at=database.now(),
        )
        .returning(inbox.c.id)
    )
    heads = [row.id for row in dropped]
    with_them = drop_joined(database, connection, heads, person)
    interrupted = connection.execute(
        sa.update(inbox)
        .where(*older, OPEN)
        .values(interrupt=why, not_before=None)  # one that waits for its time, or for an approval, ends now
        .returning(inbox.c.id, inbox.c.joins, inbox.c.steps)
    )
    # a command that runs is interrupted too, but it is no answer that was stopped
    return len(heads) + with_them, tuple(row.id for row in interrupted if row.joins or _asks(row.steps or {}))


def _asks(steps: JsonObject) -> bool:
    """Whether a command makes a run, as "retry" does: its own words it would have had at once."""
    return "run" in steps or "text:reply" not in steps


def drop_joined(database: Database, connection: sa.Connection, heads: Sequence[int], person: str | None) -> int:
    """What joined turns that were dropped goes with them; what another person said waits by itself again."""
    if not heads:
        return 0
    joined = [inbox.c.joined_to.in_(heads), sa.text("state = 'joined'")]
    if person is not None:
        others = sa.update(inbox).where(*joined, inbox.c.person != person)
        connection.execute(others.values(state=sa.literal_column("'queued'"), joined_to=None))
    gone = connection.execute(
        sa.update(inbox)
        .where(*joined)
        .values(state=sa.literal_column("'done'"), ended=Ended.DROPPED, payload=None, finished_at=database.now())
    )
    return gone.rowcount


def reset_lane(
    database: Database, connection: sa.Connection, key: str, *, undo_seconds: float, told: bool, turn: int | None
) -> tuple[int, tuple[int, ...]]:
    """Start a lane over from outside it; the turn that asks for it goes on, also where the lane is its own.

    With `told` the person learns of it with their next answer, or at once where an answer was stopped for it. Without
    `undo_seconds` nothing brings the thread back.
    """
    lane = connection.execute(sa.select(lanes).where(lanes.c.key == key).with_for_update()).one()
    stopped = _last_open(connection, key, turn)
    dropped, interrupted = _revoke(database, connection, key, Interrupt.SUPERSEDED, spare=turn)
    raised = lane.generation + 1
    mapping = _mapping(database, Control.START_OVER, lane.thread_id, undo_seconds) if undo_seconds else NO_THREAD
    notice = {"notice_at": database.now()} if told else {}
    connection.execute(sa.update(lanes).where(lanes.c.key == key).values(generation=raised, **mapping, **notice))
    if turn is not None:
        connection.execute(sa.update(inbox).where(inbox.c.id == turn, inbox.c.lane == key).values(generation=raised))
    if told and stopped is not None and (dropped or interrupted):
        effect = {"by_admin": True, "dropped": dropped, "interrupted": list(interrupted)}
        connection.execute(
            sa.insert(inbox).values(
                key=f"reset/{stopped.id}/{raised}",
                lane=key,
                channel=stopped.channel,
                person=stopped.person,
                generation=raised,
                control=Control.START_OVER,
                joins=False,
                payload={**stopped.payload, "text": ""},
                effect=effect,
                state=sa.literal_column("'queued'"),
                accepted_at=database.now(),
            )
        )
    return dropped, interrupted


def _last_open(connection: sa.Connection, lane: str, turn: int | None) -> Row | None:
    """The last question of a lane that has no answer yet: it says where to tell of what became of it."""
    query = (
        sa.select(inbox.c.id, inbox.c.channel, inbox.c.person, inbox.c.payload)
        .where(inbox.c.lane == lane, inbox.c.control.is_(None), inbox.c.payload.is_not(None))
        .where(OPEN, inbox.c.id != (turn or 0))
        .order_by(inbox.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).first()


def forget_lanes(
    database: Database, connection: sa.Connection, keys: Sequence[str], turn: int | None
) -> tuple[int, tuple[int, ...]]:
    """End what runs in these lanes, let go of their threads, and mark every one of them to be deleted."""
    dropped, interrupted = 0, ()
    for key in keys:
        more, ended = reset_lane(database, connection, key, undo_seconds=0, told=False, turn=turn)
        dropped, interrupted = dropped + more, interrupted + ended
    connection.execute(sa.update(threads).where(threads.c.lane.in_(keys)).values(forget_at=database.now()))
    unsaid = sa.update(inbox).where(inbox.c.lane.in_(keys), inbox.c.control == Control.SAY, sa.text("state = 'queued'"))
    done: dict[str, Any] = {"state": sa.literal_column("'done'"), "ended": Ended.DROPPED, "payload": None}
    connection.execute(unsaid.values(**done, finished_at=database.now()))
    return dropped, interrupted


def _forget(database: Database, connection: sa.Connection, entry: Entry, turn: int) -> Accepted:
    """All of a person's conversations in this channel; never one that a group shares."""
    place = entry.message.conversation
    mine = sa.select(lanes.c.key).where(
        lanes.c.channel == place.channel, lanes.c.tenant == place.tenant, lanes.c.person == entry.message.person.id
    )
    keys = list(connection.execute(mine.order_by(lanes.c.key)).scalars())
    dropped, interrupted = forget_lanes(database, connection, keys, turn)
    generation = connection.scalar(sa.select(inbox.c.generation).where(inbox.c.id == turn))
    effect: JsonObject = {"dropped": dropped, "interrupted": list(interrupted), "lanes": keys}
    connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(effect=effect))
    return Accepted(turn, fresh=True, interrupted=interrupted, generation=generation or 0, dropped=dropped)
