"""Accepting a message, and what a control does, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.codec import encode, message_digest, message_key
from bot.store.database import Database, Row
from bot.store.people import met
from bot.store.tables import inbox, lanes, threads
from bot.types import (
    MOST_WAITING,
    Accepted,
    Control,
    ConversationKind,
    Ended,
    Entry,
    Interrupt,
    JsonObject,
    MessageKind,
)

NO_THREAD: dict[str, object] = {"thread_id": None, "undo_thread_id": None, "undo_until": None, "withdrawn_at": None}


async def put(database: Database, connection: AsyncConnection, entry: Entry, undo_seconds: float) -> Accepted:
    """Store the message unless it is here already; a control acts at once."""
    message, now = entry.message, database.now()
    await connection.execute(database.insert(lanes).values(**_lane(entry), created_at=now))
    key, digest = message_key(message), message_digest(message)
    generation = sa.select(lanes.c.generation).where(lanes.c.key == entry.lane).scalar_subquery()
    inserted = await connection.execute(
        database.insert(inbox)
        .values(
            key=key,
            digest=digest,
            lane=entry.lane,
            channel=message.conversation.channel,
            person=message.person.id,
            generation=generation,
            control=entry.control,
            joins=entry.joins,
            payload=encode(message),
            state=sa.literal_column("'queued'"),
            accepted_at=now,
        )
        .returning(inbox.c.id, inbox.c.generation)
    )
    row = inserted.first()
    if row is None:
        known = sa.or_(inbox.c.key == key, inbox.c.digest == digest) if digest else inbox.c.key == key
        earlier = (await connection.execute(sa.select(inbox.c.id).where(known))).scalars().first()
        return Accepted(turn=earlier or 0, fresh=False)
    await met(database, connection, message)
    if entry.control is None:
        await _refuse_too_many(database, connection, entry, row.id)
        return Accepted(turn=row.id, fresh=True, generation=row.generation)
    return await _apply(database, connection, entry, row.id, undo_seconds)


def _lane(entry: Entry) -> dict[str, object]:
    place = entry.message.conversation
    return {
        "key": entry.lane,
        "channel": place.channel,
        "tenant": place.tenant,
        "person": None if entry.shared else entry.message.person.id,
        "personal": place.kind is ConversationKind.PERSONAL,
    }


async def _refuse_too_many(database: Database, connection: AsyncConnection, entry: Entry, turn: int) -> None:
    """Beyond so many waiting messages of a person, one says so in their place; what comes behind it is covered."""
    mine = [inbox.c.lane == entry.lane, inbox.c.person == entry.message.person.id, sa.text("state = 'queued'")]
    refused = sa.func.count(inbox.c.effect).filter(inbox.c.control.is_(None))
    counted = sa.select(sa.func.count(), refused).where(*mine)
    waiting, refusals = (await connection.execute(counted)).one()
    if waiting <= MOST_WAITING:
        return
    if refusals:
        values: dict[str, Any] = {
            "state": sa.literal_column("'done'"),
            "ended": Ended.DROPPED,
            "finished_at": database.now(),
            "payload": None,
        }
    else:
        told = replace(entry.message, kind=MessageKind.TOO_MANY, text="")
        values = {"payload": encode(told), "joins": False, "effect": {"refused": True}}
    await connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(**values))


async def _apply(
    database: Database, connection: AsyncConnection, entry: Entry, turn: int, undo_seconds: float
) -> Accepted:
    lane = (await connection.execute(sa.select(lanes).where(lanes.c.key == entry.lane).with_for_update())).one()
    effect: JsonObject = {}
    raised = lane.generation
    if entry.control is Control.STOP:
        dropped, interrupted = await _revoke(
            database, connection, entry.lane, Interrupt.STOP, before=turn, person=entry.message.person.id
        )
        if interrupted:
            withdrawn = sa.update(lanes).where(lanes.c.key == entry.lane)
            await connection.execute(withdrawn.values(withdrawn_at=database.now()))
    elif entry.control is Control.FORGET:
        return await _forget(database, connection, entry, turn)
    elif entry.control is Control.UNDO and not await _can_undo(database, connection, entry.lane):
        dropped, interrupted, effect = 0, (), {"nothing": True}
    else:
        raised += 1
        dropped, interrupted = await _revoke(database, connection, entry.lane, Interrupt.SUPERSEDED, before=turn)
        await connection.execute(
            sa.update(lanes)
            .where(lanes.c.key == entry.lane)
            .values(generation=raised, **_mapping(database, entry.control, lane.thread_id, undo_seconds))
        )
    effect |= {"dropped": dropped, "interrupted": list(interrupted)}
    await connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(generation=raised, effect=effect))
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


async def _can_undo(database: Database, connection: AsyncConnection, lane: str) -> bool:
    held = sa.select(lanes.c.key).where(
        lanes.c.key == lane, lanes.c.undo_thread_id.is_not(None), lanes.c.undo_until >= database.now()
    )
    return (await connection.execute(held)).first() is not None


async def _revoke(
    database: Database,
    connection: AsyncConnection,
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
    dropped = await connection.execute(
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
    with_them = await drop_joined(database, connection, heads, person)
    interrupted = await connection.execute(
        sa.update(inbox)
        .where(*older, sa.text("state IN ('running', 'queued')"))
        .values(interrupt=why)
        .returning(inbox.c.id, inbox.c.joins)
    )
    # a command that runs is interrupted too, but it is no answer that was stopped
    return len(heads) + with_them, tuple(row.id for row in interrupted if row.joins)


async def drop_joined(database: Database, connection: AsyncConnection, heads: Sequence[int], person: str | None) -> int:
    """What joined turns that were dropped goes with them; what another person said waits by itself again."""
    if not heads:
        return 0
    joined = [inbox.c.joined_to.in_(heads), sa.text("state = 'joined'")]
    if person is not None:
        others = sa.update(inbox).where(*joined, inbox.c.person != person)
        await connection.execute(others.values(state=sa.literal_column("'queued'"), joined_to=None))
    gone = await connection.execute(
        sa.update(inbox)
        .where(*joined)
        .values(state=sa.literal_column("'done'"), ended=Ended.DROPPED, payload=None, finished_at=database.now())
    )
    return gone.rowcount


async def reset_lane(
    database: Database, connection: AsyncConnection, key: str, *, undo_seconds: float, told: bool, turn: int | None
) -> tuple[int, tuple[int, ...]]:
    """Start a lane over from outside it; the turn that asks for it goes on, also where the lane is its own.

    With `told` the person learns of it with their next answer, or at once where an answer was stopped for it. Without
    `undo_seconds` nothing brings the thread back.
    """
    lane = (await connection.execute(sa.select(lanes).where(lanes.c.key == key).with_for_update())).one()
    stopped = await _last_open(connection, key, turn)
    dropped, interrupted = await _revoke(database, connection, key, Interrupt.SUPERSEDED, spare=turn)
    raised = lane.generation + 1
    mapping = _mapping(database, Control.START_OVER, lane.thread_id, undo_seconds) if undo_seconds else NO_THREAD
    notice = {"notice_at": database.now()} if told else {}
    await connection.execute(sa.update(lanes).where(lanes.c.key == key).values(generation=raised, **mapping, **notice))
    await connection.execute(sa.update(inbox).where(inbox.c.id == turn, inbox.c.lane == key).values(generation=raised))
    if told and stopped is not None and (dropped or interrupted):
        effect = {"by_admin": True, "dropped": dropped, "interrupted": list(interrupted)}
        await connection.execute(
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


async def _last_open(connection: AsyncConnection, lane: str, turn: int | None) -> Row | None:
    """The last question of a lane that has no answer yet: it says where to tell of what became of it."""
    query = (
        sa.select(inbox.c.id, inbox.c.channel, inbox.c.person, inbox.c.payload)
        .where(inbox.c.lane == lane, inbox.c.joins, inbox.c.payload.is_not(None))
        .where(sa.text("state IN ('queued', 'running')"), inbox.c.id != (turn or 0))
        .order_by(inbox.c.id.desc())
        .limit(1)
    )
    return (await connection.execute(query)).first()


async def forget_lanes(
    database: Database, connection: AsyncConnection, keys: Sequence[str], turn: int | None
) -> tuple[int, tuple[int, ...]]:
    """End what runs in these lanes, let go of their threads, and mark every one of them to be deleted."""
    dropped, interrupted = 0, ()
    for key in keys:
        more, ended = await reset_lane(database, connection, key, undo_seconds=0, told=False, turn=turn)
        dropped, interrupted = dropped + more, interrupted + ended
    await connection.execute(sa.update(threads).where(threads.c.lane.in_(keys)).values(forget_at=database.now()))
    return dropped, interrupted


async def _forget(database: Database, connection: AsyncConnection, entry: Entry, turn: int) -> Accepted:
    """All of a person's conversations in this channel; never one that a group shares."""
    place = entry.message.conversation
    mine = sa.select(lanes.c.key).where(
        lanes.c.channel == place.channel, lanes.c.tenant == place.tenant, lanes.c.person == entry.message.person.id
    )
    keys = list((await connection.execute(mine.order_by(lanes.c.key))).scalars())
    dropped, interrupted = await forget_lanes(database, connection, keys, turn)
    generation = await connection.scalar(sa.select(inbox.c.generation).where(inbox.c.id == turn))
    effect: JsonObject = {"dropped": dropped, "interrupted": list(interrupted), "lanes": keys}
    await connection.execute(sa.update(inbox).where(inbox.c.id == turn).values(effect=effect))
    return Accepted(turn, fresh=True, interrupted=interrupted, generation=generation or 0, dropped=dropped)
