"""Accepting a message, and what a control does, in one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.codec import encode, message_digest, message_key
from bot.store.database import Database
from bot.store.tables import inbox, lanes
from bot.types import MOST_WAITING, Accepted, Control, Ended, Entry, Interrupt, JsonObject, MessageKind


async def put(database: Database, connection: AsyncConnection, entry: Entry, undo_seconds: float) -> Accepted:
    """Store the message unless it is here already; a control acts at once."""
    message, now = entry.message, database.now()
    await connection.execute(
        database.insert(lanes).values(
            key=entry.lane,
            channel=message.conversation.channel,
            tenant=message.conversation.tenant,
            created_at=now,
        )
    )
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
    if entry.control is None:
        await _refuse_too_many(database, connection, entry, row.id)
        return Accepted(turn=row.id, fresh=True, generation=row.generation)
    return await _apply(database, connection, entry, row.id, undo_seconds)


async def _refuse_too_many(database: Database, connection: AsyncConnection, entry: Entry, turn: int) -> None:
    """Beyond so many waiting messages of a person, one says so in their place; what comes behind it is covered."""
    mine = [inbox.c.lane == entry.lane, inbox.c.person == entry.message.person.id, sa.text("state = 'queued'")]
    counted = sa.select(sa.func.count(), sa.func.count(inbox.c.effect)).where(*mine)
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
            database, connection, entry, turn, Interrupt.STOP, person=entry.message.person.id
        )
    elif entry.control is Control.UNDO and not await _can_undo(database, connection, entry.lane):
        dropped, interrupted, effect = 0, (), {"nothing": True}
    else:
        raised += 1
        dropped, interrupted = await _revoke(database, connection, entry, turn, Interrupt.SUPERSEDED)
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
        return {"thread_id": lanes.c.undo_thread_id, "undo_thread_id": None, "undo_until": None}
    if thread_id is None:  # nothing was said since the last "start over": what that one left can still come back
        return {"thread_id": None}
    return {"thread_id": None, "undo_thread_id": thread_id, "undo_until": database.now() + undo_seconds}


async def _can_undo(database: Database, connection: AsyncConnection, lane: str) -> bool:
    held = sa.select(lanes.c.key).where(
        lanes.c.key == lane, lanes.c.undo_thread_id.is_not(None), lanes.c.undo_until >= database.now()
    )
    return (await connection.execute(held)).first() is not None


async def _revoke(
    database: Database,
    connection: AsyncConnection,
    entry: Entry,
    turn: int,
    why: Interrupt,
    person: str | None = None,
) -> tuple[int, tuple[int, ...]]:
    """Drop what waits before `turn`, interrupt what has begun; how many dropped, and which were interrupted."""
    older = [inbox.c.lane == entry.lane, inbox.c.id < turn, inbox.c.control.is_(None)]
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
    interrupted = await connection.execute(
        sa.update(inbox)
        .where(*older, sa.text("state IN ('running', 'queued')"))
        .values(interrupt=why)
        .returning(inbox.c.id, inbox.c.joins)
    )
    # a command that runs is interrupted too, but it is no answer that was stopped
    return len(dropped.all()), tuple(row.id for row in interrupted if row.joins)
